"""Row 38 of the faults: the first signal asks, the second one forces."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from anmok.stages.signals import polite_stop

TWICE = """
import os, signal, sys
from anmok.stages.signals import polite_stop
number = signal.Signals[sys.argv[1]]
with polite_stop() as stop:
    os.kill(os.getpid(), number)
    print("asked" if stop() else "deaf", flush=True)
    os.kill(os.getpid(), number)
    print("survived", flush=True)
"""


def test_the_first_signal_only_asks_and_handlers_come_back() -> None:
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with polite_stop() as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before


def test_the_second_ctrl_c_interrupts() -> None:
    with pytest.raises(KeyboardInterrupt), polite_stop() as stop:  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second one was not heard")


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", -signal.SIGTERM), ("SIGINT", -signal.SIGINT)])
def test_a_second_signal_ends_the_process(name: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TWICE, name], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "ANMOK_QUIET": ""},
    )  # fmt: skip
    assert done.stdout == "asked\n"
    assert "once more ends at once" in done.stderr
    assert done.returncode == code


def test_outside_of_the_main_thread_nothing_is_caught() -> None:
    def inside() -> bool:
        with polite_stop() as stop:
            return stop() or threading.current_thread() is threading.main_thread()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(inside).result() is False
