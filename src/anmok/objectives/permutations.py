"""Permutations that differ in as many places as possible, for puzzles whose orders are to be told apart."""

from __future__ import annotations

import functools
import itertools

import numpy as np

from anmok.core.errors import UsageError


@functools.cache
def permutation_set(tiles: int, count: int) -> np.ndarray:
    """uint8[count, tiles]: permutations chosen one by one, each as far as possible from those before it.

    Noroozi & Favaro 2016 (arXiv:1603.09246), algorithm 1, which takes the permutation of the largest summed Hamming
    distance to the chosen ones. Here the smallest distance to any of them comes first, and the sum decides among
    equals, then the lexicographic order; it begins with the identity, so that it is the same set everywhere. The first
    `tiles` permutations differ in every place. UsageError for more than there are.
    """
    if tiles > 9:
        raise UsageError(f"{tiles} tiles have too many orders to choose among; 9 at most.", code="setting")
    everything = np.array(list(itertools.permutations(range(tiles))), np.uint8)
    if not 2 <= count <= len(everything):
        raise UsageError(
            f"there are {len(everything):,} orders of {tiles} tiles, not {count:,}.", where="objective.permutations",
            remedy="Take fewer, but 2 at least.", code="setting",
        )  # fmt: skip
    columns = np.ascontiguousarray(everything.T)
    nearest, total = np.full(len(everything), tiles, np.int32), np.zeros(len(everything), np.int32)
    chosen = [0]
    for _ in range(count - 1):
        distance = np.zeros(len(everything), np.uint8)
        for column, value in zip(columns, everything[chosen[-1]], strict=True):
            distance += column != value
        nearest, total = np.minimum(nearest, distance), total + distance
        chosen.append(int(np.argmax(nearest.astype(np.int64) * (tiles * count + 1) + total)))
    out = everything[chosen]
    out.setflags(write=False)
    return out


def smallest_distance(permutations: np.ndarray) -> int:
    """The smallest Hamming distance between any two rows of uint8[P, N]."""
    apart = (permutations[:, None] != permutations[None]).sum(axis=2)
    return int(apart[~np.eye(len(permutations), dtype=bool)].min())
