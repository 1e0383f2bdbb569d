"""A verb in several processes of this machine by one command: they meet as torchrun's do, and end as one process does.

torchrun ends the other ranks as soon as one fails, before they can say why, and shows a traceback for each; here they
have the time to name it, the first one speaks, and the exit code is that of the rank that failed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from anmok.core.optional import need

POLL = 0.05  # seconds between two looks at the processes
# Seconds after a rank's failure, and what those get that have not ended by then.
MEASURES = ((30.0, signal.SIGTERM), (60.0, getattr(signal, "SIGKILL", signal.SIGTERM)))
INTERRUPTED, ENVIRONMENT = 5, 4  # exit codes of core.errors
FOLDER = "round-0/ready"  # where rank 0 says in which folder all learn, see stages.ranks.announce
SIGNALS = [s for name in ("SIGINT", "SIGTERM", "SIGHUP") if (s := getattr(signal, name, None)) is not None]


class Attempt(NamedTuple):
    """How the processes ended: the rank that failed first (None: none did), exit codes, what was said, signals."""

    failed: int | None
    codes: list[int]
    said: list[str]
    asked: bool

    @property
    def died(self) -> str:
        """The rank that a signal ended which did not come by us, as words; '' where none did."""
        killed = [] if self.asked else [rank for rank, code in enumerate(self.codes) if code < 0]
        return f"rank {killed[0]} ended with {signal.Signals(-self.codes[killed[0]]).name}" if killed else ""


def launch(ranks: int, arguments: Sequence[str]) -> int:
    """Run `anmok ARGUMENTS` in so many processes, signals passed on; the exit code of the first that failed, else 0.

    A rank that dies is named, and the run goes on from its last checkpoint, once. Rank 0 has the terminal. What the
    others say is shown where rank 0 could not say what happened, and where it holds a traceback.
    """
    found, folder = _attempt(ranks, arguments)
    if found.died and folder is not None:
        print(f"warning: {found.died}; all start again, once, from the last checkpoint of {folder}", file=sys.stderr)
        found, folder = _attempt(ranks, [arguments[0], "--resume", str(folder)])
    return 0 if found.failed is None else _ended(found, found.failed, folder)


def _attempt(ranks: int, arguments: Sequence[str]) -> tuple[Attempt, Path | None]:
    """Start the processes and wait for them; also the run's folder, where there is a checkpoint to go on from."""
    torch = need("torch", "train")
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    with tempfile.TemporaryDirectory(prefix="anmok-ranks-") as place, contextlib.ExitStack() as files:
        logs = [Path(place) / f"{rank}.txt" for rank in range(ranks)]
        started: list[subprocess.Popen[bytes]] = []
        with _passed_on(started) as asked:
            for rank, log in enumerate(logs):
                own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks}
                started.append(subprocess.Popen(
                    [sys.executable, "-m", "anmok", *arguments], start_new_session=True,  # a Ctrl-C comes by us alone
                    env={**os.environ, **meet, **{key: str(value) for key, value in own.items()}},
                    stderr=files.enter_context(log.open("wb")) if rank else None,
                ))  # fmt: skip
            failed = _wait(started)
        said = [log.read_text(encoding="utf-8", errors="replace") if log.is_file() else "" for log in logs]
        codes = [process.returncode for process in started]
    folder = Path(json.loads(store.get(FOLDER))) if store.check([FOLDER]) else None
    begun = folder is not None and any((folder / "checkpoints").glob("step-*"))
    return Attempt(failed, codes, said, bool(asked)), folder if begun else None


@contextlib.contextmanager
def _passed_on(started: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Within the block a signal goes to every rank; yields those that came.  At its end no rank is left."""
    asked: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        for process in started:
            process.send_signal(number)

    before = {s: signal.signal(s, pass_on) for s in SIGNALS}
    try:
        yield asked
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
        for process in started:
            process.kill()
            process.wait()


def _wait(started: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Wait for all; the rank that failed first, None where none did. One that was interrupted leaves the others time:
    they are saving.
    """
    first, since, measures = None, 0.0, list(MEASURES)
    while True:
        codes = [process.poll() for process in started]
        bad = [rank for rank, code in enumerate(codes) if code not in (None, 0, INTERRUPTED)]
        if first is None and bad:
            first, since = min(bad, key=lambda rank: codes[rank] not in (3, 2)), time.monotonic()
        if None not in codes:
            stopped = codes.index(INTERRUPTED) if INTERRUPTED in codes else None
            return stopped if first is None else first
        if first is not None and measures and time.monotonic() - since > measures[0][0]:
            number = measures.pop(0)[1]
            for process in started:
                process.send_signal(number)
        time.sleep(POLL)


def _ended(found: Attempt, failed: int, folder: Path | None) -> int:
    """Show what rank 0 has not; the exit code of the whole."""
    for rank, text in enumerate(found.said):
        if "most recent call" in text:  # a traceback, or where a rank stood that hung
            print(f"rank {rank}:\n{text}", file=sys.stderr)
    code = found.codes[failed]
    if found.asked and (code < 0 or code == INTERRUPTED):
        return INTERRUPTED
    if found.codes[0] <= 0:  # it was ended before it could say anything
        told = [line for line in found.said[failed].splitlines() if line.startswith("error [")]
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        after = f"Go on from the last checkpoint with --resume {folder}." if folder else "There is no checkpoint yet."
        print(told[-1] if told else f"error [rank] rank {failed} ended with {name}. {after}", file=sys.stderr)
    return code if code > 0 else ENVIRONMENT
