"""The compiled inner loop of the hash search.  Imported only where there is enough to search: numba takes 0.4 s."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

_1, _2, _4, _56 = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)
_PAIRS, _FOURS = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_EIGHTS, _ONES = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)


def _compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """numba.njit, kept on disk between runs where there is a place to write to."""

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # neither beside the source nor in the user's cache
            return numba.njit(**options)(function)

    return wrap


@_compiled(inline="always")
def popcount(x: np.uint64) -> np.uint64:
    """Bits set, in the form that LLVM knows as one instruction of the processor, on vectors too."""
    x = x - ((x >> _1) & _PAIRS)
    x = (x & _FOURS) + ((x >> _2) & _FOURS)
    x = (x + (x >> _4)) & _EIGHTS
    return (x * _ONES) >> _56


@_compiled(nogil=True, boundscheck=False)
def join(
    left: np.ndarray, left_row: np.ndarray, left_start: np.ndarray, right: np.ndarray, right_row: np.ndarray,
    right_start: np.ndarray, first_bucket: int, last_bucket: int, probes: np.ndarray, same: bool, upper: bool,
    radius: np.uint64, shifts: np.ndarray, widths: np.ndarray, limits: np.ndarray, out_first: np.ndarray,
    out_second: np.ndarray, out_distance: np.ndarray, counts: np.ndarray,
) -> int:  # fmt: skip
    """Pairs of a range of buckets of one block with the buckets that differ by a probe; returns how many there are.

    left, right uint64[N] in the order of their bucket, *_row their places int32[N], *_start int64[buckets + 1];
    probes int64: buckets are joined with `bucket ^ probe`; same: left is right, each pair once, the lower place first;
    upper: no pair whose place on the left is not below that on the right;
    shifts, widths (masks), limits uint64: the blocks before this one, whose pairs have been found already.
    Fills out_* as far as they reach, and adds to counts int64[radius + 1] of each distance in any case.
    """
    found, room, earlier = 0, out_first.size, shifts.size
    for bucket in range(first_bucket, last_bucket):
        begin, end = left_start[bucket], left_start[bucket + 1]
        if begin == end:
            continue
        for p in range(probes.size):
            other = bucket ^ probes[p]
            if same and other < bucket:
                continue
            low, high = right_start[other], right_start[other + 1]
            if low == high:
                continue
            for i in range(begin, end):
                here = left[i]
                start = max(low, i + 1) if same and other == bucket else low
                those = right[start:high]
                near = 0
                for j in range(those.size):  # no branch, no index that could be negative: it runs on vectors
                    near += popcount(here ^ those[j]) <= radius
                if near == 0:
                    continue
                for j in range(start, high):
                    difference = here ^ right[j]
                    distance = popcount(difference)
                    if distance > radius:
                        continue
                    one, two = left_row[i], right_row[j]
                    if same and two < one:
                        one, two = two, one
                    if upper and two <= one:
                        continue
                    known = False
                    for q in range(earlier):
                        if popcount((difference >> shifts[q]) & widths[q]) <= limits[q]:
                            known = True
                            break
                    if known:
                        continue
                    counts[distance] += 1
                    if found < room:
                        out_first[found] = one
                        out_second[found] = two
                        out_distance[found] = distance
                    found += 1
    return found
