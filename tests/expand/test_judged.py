"""Verdicts by hand and by their promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from anmok.expand.judged import Near, copy_bound, is_blank, nearest, refused_lines, text_scores, verdicts

CLASSES = ["can", "glass", "paper"]
PROBS = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.45, 0.4, 0.15], [np.nan] * 3, [0.8, 0.1, 0.1], [0.9, 0.1, 0.0]])


def test_verdicts_by_hand() -> None:
    intended = np.zeros(6, np.int64)
    scores = text_scores(PROBS, intended)
    np.testing.assert_allclose(scores.margin[:3], [0.5, -0.3, 0.05])
    assert scores.rival.tolist() == [1, 1, 1, -1, 1, 1]
    near = {4: Near("memorised", "7.jpg", "re-encoded: 0.990 alike")}
    found = verdicts(["", "", "", "", "", "blank"], near, scores, intended, CLASSES, least_margin=0.1)
    assert [one.reason for one in found] == ["", "wrong-class", "unsure", "unreadable", "memorised", "blank"]
    assert found[1].evidence == "can 0.300, glass 0.600"
    assert found[4].evidence == "7.jpg: re-encoded: 0.990 alike"
    assert [one.reason for one in verdicts([""] * 6, {}, scores, intended, CLASSES)][2] == ""
    assert refused_lines(one.reason for one in found)[:2] == [
        "1 refused: the file cannot be read", "1 refused: of one colour",
    ]  # fmt: skip


@given(raw=npst.arrays(np.float64, st.tuples(st.integers(1, 20), st.integers(2, 5)), elements=st.floats(0.01, 1)),
       least=st.floats(0, 0.9), data=st.data())  # fmt: skip
def test_its_promises(raw: np.ndarray, least: float, data: st.DataObject) -> None:
    probs = raw / raw.sum(1, keepdims=True)
    n, k = probs.shape
    intended = np.array(data.draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n)))
    scores = text_scores(probs, intended)
    found = verdicts([""] * n, {}, scores, intended, [str(i) for i in range(k)], least)
    for row, one in enumerate(found):
        others = np.delete(probs[row], intended[row])
        own = probs[row, intended[row]]
        assert (one.reason == "") == bool(own > others.max() and own - others.max() >= least)


def test_blank() -> None:
    rng = np.random.default_rng(0)
    assert is_blank(np.full((8, 8, 3), 200, np.uint8))
    assert is_blank((200 + rng.integers(0, 3, (8, 8, 3))).astype(np.uint8))
    assert not is_blank(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8))


def test_nearest_and_the_bound() -> None:
    known = np.array([[1.0, 0], [0, 1], [np.nan, np.nan]])
    cosine, row = nearest(np.array([[0.6, 0.8], [np.nan, 0]]), known)
    assert cosine[0] == pytest.approx(0.8)
    assert row.tolist() == [1, -1]
    assert np.isnan(cosine[1])
    assert nearest(np.ones((2, 2)), known[2:])[1].tolist() == [-1, -1]
    turns = np.deg2rad(np.arange(0, 90, 5.0))  # each 5 degrees from its neighbour
    fan = np.stack([np.cos(turns), np.sin(turns)], 1)
    assert copy_bound(fan) == pytest.approx(np.cos(np.deg2rad(5)))
    assert copy_bound(np.eye(4)) == 0.95
    assert copy_bound(np.concatenate([fan, fan[:1]])) == pytest.approx(np.cos(np.deg2rad(5)))  # a file twice
    assert copy_bound(known[:1]) == 0.95
