"""Distances in a class tree, against a shortest-path search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import shortest_path

from anmok.core.errors import DataError
from anmok.evaluate.hierarchy import class_distances


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 9999), n=st.integers(2, 25))
def test_distances_are_shortest_paths(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    above = [int(rng.integers(0, i)) if i and rng.random() < 0.8 else -1 for i in range(n)]
    parents = {f"n{i}": f"n{p}" for i, p in enumerate(above) if p >= 0}
    named = sorted(set(parents) | set(parents.values()))
    if not named:
        return
    edges = np.zeros((n + 1, n + 1))
    for i, p in enumerate(above):
        edges[i, p if p >= 0 else n] = 1  # what has nothing above hangs from one root
    want = shortest_path(edges, directed=False)
    index = [int(name[1:]) for name in named]
    np.testing.assert_array_equal(class_distances(named, parents), want[np.ix_(index, index)])


def test_what_is_no_tree() -> None:
    with pytest.raises(DataError, match=r"'poodel' has no parent\. Did you mean poodle"):
        class_distances(["poodel"], {"poodle": "dog"})
    with pytest.raises(DataError, match="own ancestor"):
        class_distances(["a"], {"a": "b", "b": "a"})
