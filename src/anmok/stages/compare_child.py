"""A process of its own for each model of a comparison, so that its memory is its own and its end is nobody else's.

python -m anmok.stages.compare_child FOLDER NAME goes on with a model's row.json.  Exit codes are the command line's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from anmok.core.config import read_toml, resolve
from anmok.core.errors import AnmokError, Interrupted
from anmok.data.table import Table
from anmok.stages.baseline_names import baseline_name
from anmok.stages.compare_entry import Entry
from anmok.stages.compare_row import Row, load_row
from anmok.stages.compare_settings import CompareTree

POLL = 0.2  # seconds between two looks at whether a signal asked to end


def folder_of(folder: Path, name: str) -> Path:
    """A model's folder in the comparison's."""
    return folder / "".join(c if c.isalnum() or c in "._-" else "-" for c in name)


def run_child(folder: Path, name: str, stop: Callable[[], bool]) -> Row:
    """A model's row, filled by a process of its own; with its error where that failed.

    Interrupted when asked to stop: the process then saves and ends.
    """
    command = [sys.executable, "-m", "anmok.stages.compare_child", os.fspath(folder), name]
    # Of a session of its own: a Ctrl-C reaches this process alone, which asks the other one once, as twice would force.
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
        asked = False
        while process.poll() is None:
            if stop() and not asked:
                asked = True
                process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL)
    if stop() or process.returncode == Interrupted.exit_code:
        raise Interrupted("stopped as asked.")
    row = load_row(folder_of(folder, name), name)
    if process.returncode and not row.error:
        row = row.with_(error=_ended(process.returncode), code="process").save(folder_of(folder, name))
    return row


def _ended(code: int) -> str:
    """Why a process ended that said nothing."""
    if code >= 0:
        return f"its process ended with exit code {code}; what it said stands above"
    name = signal.Signals(-code).name if -code in {*signal.Signals} else f"signal {-code}"
    why = ", most likely as the machine's memory was full" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{why}"


def fill(folder: Path, name: str) -> Row:
    """A model's row, filled in this process."""
    config = resolve(CompareTree, read_toml(folder / "config.toml"))
    entry = Entry(name, folder_of(folder, name), config, Table.load(folder / "table.parquet"))
    row = load_row(entry.folder, name).with_(error="", code="")
    if baseline_name(name) is not None:
        from anmok.stages.compare_simple import simple

        return simple(entry, row)
    from anmok.stages.compare_network import network

    return network(entry, row)


def main(folder: Path, name: str) -> int:
    """Fill the row; an error of ours is kept in it.  The exit code."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        fill(folder, name)
    except Interrupted:
        return Interrupted.exit_code
    except AnmokError as error:
        own = folder_of(folder, name)
        load_row(own, name).with_(error=str(error), code=error.code).save(own)
        return error.exit_code
    return 0


def _end_with_parent() -> None:
    """Ask this process to end politely when the one that started it is gone: its end of the pipe closes."""
    while os.read(0, 1):  # not by sys.stdin, whose lock a thread must not hold at the interpreter's end
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), sys.argv[2]))
