from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.audit import hamming
from anmok.audit.hamming import affordable, blocks, near_across, near_pairs

Found = set[tuple[int, int, int]]


def all_pairs(left: np.ndarray, right: np.ndarray, radius: int) -> Found:
    """(first, second, distance) by the definition."""
    apart = [[(int(a) ^ int(b)).bit_count() for b in right] for a in left]
    return {(i, j, d) for i, row in enumerate(apart) for j, d in enumerate(row) if d <= radius}


def as_set(found: hamming.Pairs | hamming.Matches) -> Found:
    columns = (found.first.tolist(), found.second.tolist(), found.distance.tolist())
    pairs = list(zip(*columns, strict=True))
    assert len(set(pairs)) == len(pairs)
    assert pairs == sorted(pairs)
    return set(pairs)


def above(pairs: Found) -> Found:
    return {p for p in pairs if p[0] < p[1]}


@st.composite
def hashes(draw: st.DrawFn) -> np.ndarray:
    """Spread ones, clusters about a few, and such as blank pictures have: hardly a bit set, many of them the same."""
    bits = st.integers(0, 2**64 - 1)
    centres = [*draw(st.lists(bits, min_size=1, max_size=4)), 0]
    flips = st.lists(st.integers(0, 63), max_size=12)
    near = st.tuples(st.sampled_from(centres), flips).map(lambda c: c[0] ^ sum(1 << b for b in set(c[1])))
    values = draw(st.lists(st.one_of(near, near, bits, st.just(0)), max_size=60))
    return np.array(values, np.uint64)


@pytest.fixture(params=["numpy", "compiled"])
def search(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to search, whatever the number of hashes."""
    monkeypatch.setattr(hamming, "BRUTE", 1 << 20 if request.param == "numpy" else 0)
    return request.param


@pytest.mark.parametrize("compiled", [False, True])
@settings(deadline=None)
@given(values=hashes(), radius=st.integers(0, 20))
def test_exactly_the_pairs_of_the_definition(compiled: bool, values: np.ndarray, radius: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "BRUTE", 0 if compiled else 1 << 20)
        found = near_pairs(values, radius, threads=2)
    assert found.unique.tolist() == sorted(set(values.tolist()))
    assert found.unique[found.inverse].tolist() == values.tolist()
    assert as_set(found) == above(all_pairs(found.unique, found.unique, radius))
    assert found.radius == radius


@pytest.mark.parametrize("compiled", [False, True])
@settings(deadline=None)
@given(left=hashes(), right=hashes(), radius=st.integers(0, 20))
def test_exactly_the_pairs_between_two_sets(compiled: bool, left: np.ndarray, right: np.ndarray, radius: int) -> None:
    left, right = np.unique(left), np.unique(right)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "BRUTE", 0 if compiled else 1 << 20)
        assert as_set(near_across(left, right, radius)) == all_pairs(left, right, radius)
        mixed = np.random.default_rng(radius).permutation(left)
        assert as_set(near_across(mixed, left, radius, upper=True)) == above(all_pairs(mixed, left, radius))


def test_many_hashes_by_the_compiled_search_as_by_counting(search: str) -> None:
    rng = np.random.default_rng(1)
    spread = rng.integers(0, 2**64, 6000, np.uint64)
    planted = spread[:500] ^ (np.uint64(1) << rng.integers(0, 64, 500).astype(np.uint64))
    values = np.concatenate([spread, planted, planted[:50]])
    found = near_pairs(values, 12)
    apart = np.bitwise_count(found.unique[:, None] ^ found.unique[None])
    first, second = np.nonzero(np.triu(apart <= 12, 1))
    assert found.first.tolist() == first.tolist()
    assert found.second.tolist() == second.tolist()
    assert found.distance.tolist() == apart[first, second].tolist()
    assert (found.distance == 1).sum() >= 500
    assert len(found.unique) == 6500


def test_thousands_of_nearly_blank_hashes_stay_within_the_bound(search: str) -> None:
    rng = np.random.default_rng(2)
    blank = np.bitwise_or.reduce(np.uint64(1) << rng.integers(0, 64, (4, 5000)).astype(np.uint64), axis=0)
    values = np.concatenate([blank, np.zeros(5000, np.uint64)])
    apart = np.bitwise_count(np.unique(values)[:, None] ^ np.unique(values)[None])
    by_distance = np.bincount(apart[np.triu_indices(len(apart), 1)], minlength=65)
    most = int(by_distance[:4].sum())
    found = near_pairs(values, 12, most=most)
    assert found.radius == 3
    assert len(found.first) == most
    assert (np.bincount(found.distance, minlength=4)[:4] == by_distance[:4]).all()
    none = near_pairs(values, 12, most=0)
    assert (none.radius, len(none.first)) == (0, 0)
    assert near_across(values[:3], values[:3], 12, most=1).radius == -1


def test_copies_are_a_group_and_not_pairs(search: str) -> None:
    found = near_pairs(np.full(100_000, 7, np.uint64), 10)
    assert (len(found.unique), len(found.first)) == (1, 0)
    assert (found.inverse == 0).all()


def test_the_same_by_any_number_of_threads(search: str) -> None:
    values = np.random.default_rng(3).integers(0, 2**20, 3000, np.uint64)
    one, four = near_pairs(values, 4, threads=1), near_pairs(values, 4, threads=4)
    assert as_set(one) == as_set(four)
    assert len(one.first) > 10_000


@settings(deadline=None)
@given(st.integers(1, 10**9), st.integers(0, 24))
def test_blocks_miss_no_pair_within_the_radius(count: int, radius: int) -> None:
    cuts = blocks(count, radius)
    # Bits may differ in limit places of each block without a bucket being shared, and in all bits of none: the fewest
    # differences that no block sees are one more than its limit in each, and those of dropped blocks, limit -1, none.
    assert sum(b.limit + 1 for b in cuts) == radius + 1
    places = [bit for b in cuts for bit in range(b.shift, b.shift + b.width)]
    assert len(set(places)) == len(places)
    assert all(0 <= bit < 64 for bit in places)
    assert all(b.width <= 22 for b in cuts)


def test_a_radius_is_affordable_for_a_million_and_shrinks_for_more() -> None:
    assert affordable(1000, 12) == 12
    assert affordable(1_000_000, 12) == 12
    shrinking = [affordable(n, 16) for n in (10**5, 10**6, 10**7, 10**8)]
    assert shrinking == sorted(shrinking, reverse=True)
    assert shrinking[-1] < 12


@pytest.mark.parametrize("radius", [-1, 65])
def test_a_radius_outside_the_hash_is_refused(radius: int) -> None:
    with pytest.raises(ValueError, match="expected 0 to 64"):
        near_pairs(np.zeros(3, np.uint64), radius)


def test_a_small_search_does_without_the_compiler() -> None:
    code = (
        "import sys, numpy as np; from anmok.audit.hamming import near_pairs; "
        "near_pairs(np.arange(3000, dtype=np.uint64), 3); assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
