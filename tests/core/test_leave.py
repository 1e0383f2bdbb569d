"""A process that leaves: its exit code, its output and its exit functions."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import atexit, threading, time
from anmok.core.leave import leave
atexit.register(print, "last")
threading.Thread(target=time.sleep, args=(60,)).start()  # an ordinary end would wait for it
print("said", end=" ")
leave({code})
"""


@pytest.mark.parametrize("code", [0, 3])
def test_output_is_written_and_nothing_is_waited_for(code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(code=code)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "said last\n", "")
