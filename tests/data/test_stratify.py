from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anmok.data.stratify import apportion, divide, iterative, totals_of, units_of


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def test_units_join_through_each_other() -> None:
    groups = ["g", "g", None, None, "h", None]
    hashes = ["1", "2", "2", "3", None, "3"]
    assert units_of(groups, hashes).tolist() == [0, 0, 0, 1, 2, 1]


@pytest.mark.parametrize(
    ("n", "shares", "expected"),
    [
        (100, [0.7, 0.15, 0.15], [70, 15, 15]),
        (10, [0.7, 0.15, 0.15], [6, 2, 2]),
        (2521, [0.7, 0.15, 0.15], [1765, 378, 378]),
        (10, [1 / 3] * 3, [4, 3, 3]),
        (3, [0.7, 0.15, 0.15], [3, 0, 0]),
    ],
)
def test_totals(n: int, shares: list[float], expected: list[int]) -> None:
    assert totals_of(n, np.array(shares)).tolist() == expected


def test_apportion_by_hand() -> None:
    cells = apportion(np.array([10, 4]), np.array([10, 2, 2]), generator())
    assert cells.sum(axis=1).tolist() == [10, 4]
    assert cells.sum(axis=0).tolist() == [10, 2, 2]
    assert cells[0].tolist() in ([7, 2, 1], [7, 1, 2], [8, 1, 1], [6, 2, 2])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 60), min_size=1, max_size=8), st.integers(0, 5))
def test_single_rows_divide_exactly(counts: list[int], seed: int) -> None:
    codes = np.repeat(np.arange(len(counts)), counts)
    member = codes[:, None] == np.arange(len(counts))
    shares = np.array([0.7, 0.15, 0.15])
    part = divide(member, np.arange(len(codes)), shares, generator(seed))
    assert np.bincount(part, minlength=3).tolist() == totals_of(len(codes), shares).tolist()
    for c, n in enumerate(counts):
        got = np.bincount(part[codes == c], minlength=3)
        assert (np.abs(got - n * shares) <= 2).all()
        assert got[0] >= 1


@example([14, 14, 14, 14], 5)  # a quota without a remainder: nothing is rounded up in that fold
@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(2, 40), min_size=1, max_size=6), st.integers(2, 6))
def test_folds_differ_by_one(counts: list[int], k: int) -> None:
    codes = np.repeat(np.arange(len(counts)), counts)
    member = codes[:, None] == np.arange(len(counts))
    part = divide(member, np.arange(len(codes)), np.full(k, 1 / k), generator(), folds=True)
    sizes = np.bincount(part, minlength=k)
    assert sizes.max() - sizes.min() <= 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), min_size=6, max_size=120), st.booleans())
def test_units_stay_whole(rows: list[tuple[int, int]], several: bool) -> None:
    codes = np.array([c for c, _ in rows])
    units = np.unique([u for _, u in rows], return_inverse=True)[1]
    member = codes[:, None] == np.arange(3)
    part = divide(member, units, np.array([0.7, 0.15, 0.15]), generator(), multilabel=several)
    for unit in np.unique(units):
        assert len(set(part[units == unit].tolist())) == 1


def test_lone_rows_are_kept_back() -> None:
    member = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], bool)
    part = divide(member, np.arange(4), np.array([0.5, 0.5]), generator())
    assert part[3] == -1
    assert sorted(part[:3].tolist()) == [0, 1, 1]  # row 3 counts as the first part's second
    fold = divide(member, np.arange(4), np.array([0.5, 0.5]), generator(), folds=True)
    assert fold[3] == -1
    assert sorted(fold[:3].tolist()) == [0, 0, 1]


def test_iterative_keeps_the_share_of_every_label() -> None:
    """Beside plain chance the share of each label must come closer, as Sechidis et al. (2011, table 3) find."""
    rng = generator(3)
    member = rng.random((1000, 6)) < np.array([0.5, 0.3, 0.1, 0.05, 0.02, 0.01])
    totals = np.array([700, 150, 150])
    part = iterative(member, np.arange(1000), totals, generator())
    assert np.bincount(part).tolist() == totals.tolist()
    got = np.stack([member[part == s].sum(axis=0) for s in range(3)], axis=1)
    want = member.sum(axis=0)[:, None] * totals / 1000
    assert (np.abs(got - want) <= 1.5).all()
    chance = rng.permutation(np.repeat([0, 1, 2], totals))
    by_chance = np.stack([member[chance == s].sum(axis=0) for s in range(3)], axis=1)
    assert np.abs(got - want).sum() < np.abs(by_chance - want).sum() / 3


def test_the_seed_decides() -> None:
    member = np.ones((200, 1), bool)
    draw = [divide(member, np.arange(200), np.array([0.8, 0.2]), generator(s)).tolist() for s in (0, 0, 1)]
    assert draw[0] == draw[1] != draw[2]
