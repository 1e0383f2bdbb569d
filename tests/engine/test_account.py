"""Where time went: every step on the CPU, a sample on a GPU, and what is left over."""

from __future__ import annotations

import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anmok.engine.account import Account, epoch_account, timed, told


def test_every_step_of_the_cpu_is_timed() -> None:
    account = Account(torch.device("cpu"))
    for _ in range(3):
        account.step()
        with account.phase("forward"):
            time.sleep(0.004)
        with account.phase("backward"):
            time.sleep(0.002)
    seconds = account.read()
    assert seconds["forward"] >= 0.012
    assert seconds["backward"] >= 0.006
    assert account.read() == {}


def test_a_gpu_is_sampled_and_never_waited_for_in_between() -> None:
    queue: list[float] = []
    read: list[tuple[float, float]] = []

    def mark() -> float:
        queue.append(float(len(queue)))
        return queue[-1]

    def between(began: float, ended: float) -> float:
        read.append((began, ended))
        return ended - began

    account = Account(torch.device("cpu"), every=4, mark=mark, between=between)
    for _ in range(10):
        account.step()
        with account.phase("forward"):
            pass
    assert len(queue) == 6  # steps 0, 4 and 8, begin and end
    assert not read
    assert account.read() == {"forward": pytest.approx(3 * 10 / 3)}  # scaled up to all ten


@given(st.dictionaries(st.sampled_from(["forward", "backward", "optimizer"]), st.floats(0, 10)), st.floats(0, 5))
def test_the_parts_make_the_whole(seconds: dict[str, float], wait: float) -> None:
    training = sum(seconds.values()) + wait + 1.5
    parts = epoch_account(seconds, training, wait)
    assert sum(parts.values()) == pytest.approx(training, abs=0.01)
    assert parts["other"] == pytest.approx(1.5, abs=1e-3)


def test_told_by_share_and_booked_even_where_it_fails() -> None:
    assert told({"forward": 1.0, "backward": 3.0, "saving": 0.001}) == "75% backward, 25% forward"
    assert told({}) == ""
    booked: dict[str, float] = {}
    with pytest.raises(ZeroDivisionError), timed(booked.update, "evaluation"):
        raise ZeroDivisionError
    assert booked["evaluation"] >= 0
