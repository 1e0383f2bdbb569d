"""What is to be made is a pure function of the seed; paintings as pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.core.errors import DataError, UsageError
from anmok.expand.generate import Start, Strokes, finished, orders, seed_of

STARTS = [Start(f"{n}.png", f"{n}.png", f"caption {n}") for n in range(4)]


@given(count=st.integers(1, 30), more=st.integers(0, 10), seed=st.integers(0, 99))
def test_more_orders_begin_with_the_same(count: int, more: int, seed: int) -> None:
    def made(n: int) -> list:
        return orders(1, "can", n, ["a can", "a tin"], seed=seed, starts=STARTS, mode="image")

    few, many = made(count), made(count + more)
    assert many[:count] == few
    assert len({one.seed for one in many}) == len(many)
    assert all(0 <= one.seed < 2**63 for one in many)
    uses = [sum(one.start == start for one in many) for start in STARTS]
    assert max(uses) - min(uses) <= 1  # they take turns
    assert all(one.start and one.prompt == one.start.prompt for one in many)


def test_prompts_take_turns() -> None:
    found = orders(0, "can", 5, ["a", "b"], seed=3)
    assert [one.prompt for one in found] == ["a", "b", "a", "b", "a"]
    assert all(one.start is None for one in found)
    captioned = orders(0, "can", 4, ["a"], starts=STARTS)  # captions of training images, painted from texts alone
    assert {one.prompt for one in captioned} == {s.prompt for s in STARTS}
    assert all(one.start is None for one in captioned)
    assert seed_of(0, "can", 1) != seed_of(0, "cam", 1) != seed_of(1, "cam", 1)
    with pytest.raises(DataError, match="to begin with"):
        orders(0, "can", 1, ["a"], mode="image")


def test_paintings() -> None:
    made = finished(np.array([[[0.0, 0.5, 1.0]]]))
    assert made.image.tolist() == [[[0, 128, 255]]]
    assert made.fault == ""
    broken = finished(np.array([[[np.nan, 2.0, -1.0]]]))
    assert broken.image.tolist() == [[[0, 255, 0]]]
    assert broken.fault == "not-finite"
    assert finished(np.zeros((2, 2, 3)), flagged=True).fault == "flagged"


@pytest.mark.parametrize(
    ("strokes", "where"),
    [(Strokes(steps=0), "--steps"), (Strokes(size=4), "--size"), (Strokes(strength=0), "--strength"),
     (Strokes(strength=1.2), "--strength"), (Strokes(steps=2, strength=0.3), "step is left")],
)  # fmt: skip
def test_values_out_of_bounds(strokes: Strokes, where: str) -> None:
    Strokes().check()
    with pytest.raises(UsageError, match=where):
        strokes.check()
