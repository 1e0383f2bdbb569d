from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import DisjointSet

from anmok.audit.union import Union

PAIRS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40)


@given(PAIRS)
def test_the_sets_are_those_of_scipy_named_by_their_smallest_member(pairs: list[tuple[int, int]]) -> None:
    ours, theirs = Union(), DisjointSet(range(31))
    for one, other in pairs:
        ours.join(one, other)
        theirs.merge(one, other)
    names = ours.names(31)
    for member in range(31):
        assert ours.find(member) == names[member] == min(theirs.subset(member))


def test_at_first_every_number_is_alone() -> None:
    assert Union().names(4).tolist() == [0, 1, 2, 3]
    assert Union().find(10**9) == 10**9
