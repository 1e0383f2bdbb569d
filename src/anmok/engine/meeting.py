"""Where ranks meet before and beside their exchange: a store of small texts that torchrun keeps for them.

It outlives a rank, so that what ended one can be read by the others.
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from anmok.core.errors import AnmokError, MachineError
from anmok.core.files import write_json

POLL = 0.1  # seconds between two looks into the store
PATIENCE = 5.0  # seconds in which a rank that is alive is heard of, once the exchange broke
BROKEN = ("gloo", "nccl", "connection", "timed out", "socket")  # what torch's errors of an exchange speak of

_rounds = itertools.count()


class Meeting(NamedTuple):
    """This rank of how many, and the store; a process alone has none."""

    rank: int
    world: int
    store: Any


@functools.cache
def meeting() -> Meeting:
    """This process's place among those that torchrun started, by its environment."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Meeting(0, 1, None)
    from torch.distributed import rendezvous

    store, rank, world = next(rendezvous("env://", timeout=timedelta(minutes=10)))
    return Meeting(rank, world, store)


class Round:
    """One run that the ranks go through together: what rank 0 says, and who failed and why."""

    def __init__(self, place: Meeting):
        self.rank, self.world, self._store = place.rank, place.world, place.store
        self._name = f"round-{next(_rounds)}"  # all ranks count alike

    def say(self, key: str, text: str) -> None:
        """Put a text where all ranks can read it."""
        self._store.set(f"{self._name}/{key}", text)

    def heard(self, key: str) -> str | None:
        """The text, None if nobody has said it."""
        key = f"{self._name}/{key}"
        return self._store.get(key).decode() if self._store.check([key]) else None

    def wait(self, *keys: str) -> str:
        """The text of the first of these keys that is said.  MachineError if another rank failed meanwhile."""
        while True:
            for key in keys:
                if (text := self.heard(key)) is not None:
                    return text
            self.look()
            time.sleep(POLL)

    def look(self) -> None:
        """MachineError that names the rank that failed and why, if one did."""
        for rank in range(self.world):
            if rank != self.rank and (text := self.heard(f"error-{rank}")) is not None:
                raise _ended(f"rank {rank} ended the run: {text}")

    def fallen(self, error: BaseException) -> MachineError:
        """What broke the exchange: the error of another rank, or who of them is not heard of any more."""
        import torch

        try:
            with _deaf():
                silent = self._silent()
        except MachineError as found:
            return found
        except torch.distributed.DistError:  # the store went with the rank that kept it
            silent = [0]
        if silent:
            return _ended(f"rank {', '.join(map(str, silent))} died, or hangs, without a word.")
        return _ended(f"the exchange between the ranks broke: {str(error).splitlines()[0]}")

    def _silent(self) -> list[int]:
        """The ranks that are not heard of within PATIENCE.  MachineError as `look`."""
        self.say(f"alive-{self.rank}", "")
        until = time.monotonic() + PATIENCE
        while True:
            self.look()
            silent = [r for r in range(self.world) if self.heard(f"alive-{r}") is None]
            if not silent or time.monotonic() > until:
                return silent
            time.sleep(POLL)


@contextlib.contextmanager
def named(ranks: Round) -> Iterator[None]:
    """Within the block, what ends this rank is told to the others, and what ended another one is named here."""
    try:
        yield
    except AnmokError as error:
        _tell(ranks, str(error))
        raise
    except RuntimeError as error:
        if any(word in str(error).lower() for word in BROKEN):
            raise ranks.fallen(error) from error
        _tell(ranks, f"{type(error).__name__}: {error}")
        raise
    except BaseException as error:
        _tell(ranks, f"{type(error).__name__}: {error}")
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Within the block SIGTERM, by which torchrun ends the others when a rank died, waits until that is told."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def watch(seconds: float) -> None:
    """Say on standard error where this process stands unless it is called again within so many seconds; 0: no more."""
    faulthandler.cancel_dump_traceback_later()
    if seconds:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # standard error may be no file
            faulthandler.dump_traceback_later(seconds)


def _tell(ranks: Round, text: str) -> None:
    import torch

    if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):  # what torchrun shows of this rank at the end
        said = {"message": text, "extraInfo": {"timestamp": str(int(time.time()))}}
        write_json(file, {"message": said})
    with contextlib.suppress(torch.distributed.DistError):  # the store may be gone; the error is said here anyway
        ranks.say(f"error-{ranks.rank}", text)


def _ended(text: str) -> MachineError:
    return MachineError(text, where="ranks", remedy="The last checkpoint is kept; go on with --resume.", code="rank")
