"""All pairs of 64-bit hashes within a Hamming distance: exact, of a few or of ten million."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np

from anmok.core.machine import cores

BRUTE = 4096  # up to here all distances are computed: faster than importing the compiled search
_BITS = 64
_AT_ONCE = 1 << 16  # distances computed at a time
_ROOM = 4096  # pairs that a task may store before anything is known of their number
_WIDEST = 22  # bits of a block: a table of four million buckets
_PROBE, _COMPARE = 7.0, 0.085  # nanoseconds to look a bucket up, and to compare with one hash in it


class Pairs(NamedTuple):
    """Distinct hashes and the pairs among them; rows of one hash are a group, not pairs.

    unique: uint64[M], ascending; inverse: int64[N], the place of each row's hash in it; first < second: int64[P],
    places in `unique`, in ascending order; distance: uint8[P], 1 to radius; radius: the one searched, smaller than the
    one asked for where that has more pairs than wanted.
    """

    unique: np.ndarray
    inverse: np.ndarray
    first: np.ndarray
    second: np.ndarray
    distance: np.ndarray
    radius: int


class Matches(NamedTuple):
    """first, second: int64[P], places in the one array and in the other; distance: uint8[P]; radius as of `Pairs`."""

    first: np.ndarray
    second: np.ndarray
    distance: np.ndarray
    radius: int


class Block(NamedTuple):
    """`width` bits of a hash from bit `shift` on; hashes are joined that differ there in at most `limit` of them."""

    shift: int
    width: int
    limit: int


def near_pairs(hashes: np.ndarray, radius: int, *, most: int | None = None, threads: int | None = None) -> Pairs:
    """All pairs of different hashes of uint64[N] at a Hamming distance of `radius` or less, each once.

    Multi-index hashing (Norouzi, Punjani & Fleet 2012, arXiv:1307.2982): see `blocks`.  Exact.  Identical hashes are
    collapsed first, so copies cost nothing.  most: where there are more pairs than that, the radius shrinks until
    there are not (to 0 if need be), so that thousands of nearly identical hashes cannot fill the memory.

    Memory: 45 bytes a hash, 42 a pair, and 64 MiB.  ValueError for a radius outside 0 to 64.
    """
    unique, inverse = np.unique(hashes.astype(np.uint64, copy=False), return_inverse=True)
    return Pairs(unique, inverse, *_search(unique, unique, radius, True, most, threads))


def near_across(
    left: np.ndarray, right: np.ndarray, radius: int, *, most: int | None = None, threads: int | None = None,
    upper: bool = False,
) -> Matches:  # fmt: skip
    """All pairs of a hash of uint64[N] and one of uint64[M] at `radius` or less, each array without repeats.

    upper: of equally long arrays only the pairs with first < second.  Otherwise as `near_pairs`; the radius may shrink
    to -1, where equal hashes alone are more than `most`.
    """
    one, two = left.astype(np.uint64, copy=False), right.astype(np.uint64, copy=False)
    return _search(one, two, radius, upper, most, threads)


def affordable(count: int, radius: int, seconds: float = 120.0) -> int:
    """The largest radius up to `radius` at which `near_pairs` of so many random hashes should need so long of a core.

    Two million hashes at distance 12 and ten million at 6 do in two minutes.
    """

    def needed(radius: int) -> float:
        return count / 2 * _work(blocks(count, radius), count) / 1e9

    return next((r for r in range(radius, 0, -1) if needed(r) <= seconds), 0)


def blocks(count: int, radius: int) -> list[Block]:
    """How the bits are cut for `count` hashes: the cheapest of all numbers of blocks, by the work to expect.

    Two hashes that differ in at most `radius` bits cannot differ in more than t_k bits of every block k if the t_k + 1
    add up to radius + 1: so each t_k is ⌊radius / m⌋ or one less (the last radius tightened), and as few as can be are
    the larger.
    """

    def cut(number: int) -> list[Block]:
        edges = [_BITS * k // number for k in range(number + 1)]
        limits = [(radius + 1 + k) // number - 1 for k in range(number)]
        return [Block(a, b - a, t) for a, b, t in zip(edges, edges[1:], limits, strict=False) if t >= 0]

    return min((cut(m) for m in range(-(-_BITS // _WIDEST), 9)), key=lambda cuts: _work(cuts, count))


def _work(cuts: list[Block], count: int) -> float:
    """Nanoseconds a hash."""
    return sum(_probe_count(b) * (_PROBE + _COMPARE * count / 2**b.width) for b in cuts)


def _probe_count(block: Block) -> int:
    return sum(comb(block.width, flips) for flips in range(min(block.limit, block.width) + 1))


def _search(
    left: np.ndarray, right: np.ndarray, radius: int, upper: bool, most: int | None, threads: int | None
) -> Matches:
    """Pairs of places; upper: only those above the diagonal."""
    if not 0 <= radius <= _BITS:
        raise ValueError(f"radius is {radius}, expected 0 to {_BITS}")
    how = _brute if len(left) * len(right) <= BRUTE**2 else _indexed
    parts, counts = how(left, right, radius, upper, most, threads or cores())
    radius = _allowed(counts, most)
    first, second, distance = (np.concatenate(column) for column in zip(*parts, strict=True))
    keep = np.flatnonzero(distance.astype(np.int16) <= radius)
    first, second, distance = first[keep].astype(np.int64), second[keep].astype(np.int64), distance[keep]
    order = np.lexsort((second, first))
    return Matches(first[order], second[order], distance[order], radius)


def _allowed(counts: np.ndarray, most: int | None) -> int:
    """The largest radius up to which `counts` (pairs of each distance) add up to no more than `most`."""
    if most is None:
        return len(counts) - 1
    return int(np.searchsorted(np.cumsum(counts), most, side="right")) - 1


_Part = tuple[np.ndarray, np.ndarray, np.ndarray]  # first, second, distance


def _brute(
    left: np.ndarray, right: np.ndarray, radius: int, upper: bool, most: int | None, threads: int
) -> tuple[list[_Part], np.ndarray]:
    """Every distance, half a megabyte of them at a time, which stays in a core's cache."""
    rows = max(1, min(_AT_ONCE // max(len(right), 1), len(left)))

    def some(begin: int) -> _Part:
        """Of every `threads`-th run of rows, so that each task has its share of what lies above the diagonal."""
        apart, distance = np.empty(rows * len(right), np.uint64), np.empty(rows * len(right), np.uint8)
        parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8))]
        for start in range(begin, len(left), rows * threads):
            offset = start if upper else 0
            one, other = left[start : start + rows, None], right[None, offset:]
            size = one.size * other.size
            np.bitwise_xor(one, other, out=apart[:size].reshape(one.size, other.size))
            near = np.flatnonzero(np.bitwise_count(apart[:size], out=distance[:size]) <= radius)
            if near.size:
                first, second = np.divmod(near, other.size)
                parts.append((first + start, second + offset, distance[near]))
        first, second, distance = (np.concatenate(column) for column in zip(*parts, strict=True))
        keep = first < second if upper else slice(None)
        return first[keep], second[keep], distance[keep]

    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(some, range(0, rows * threads, rows)))
    counts = np.bincount(np.concatenate([p[2] for p in parts]), minlength=radius + 1)
    return parts, counts


def _indexed(
    left: np.ndarray, right: np.ndarray, radius: int, upper: bool, most: int | None, threads: int
) -> tuple[list[_Part], np.ndarray]:
    """By the buckets of each block in turn; a task runs twice only where it finds more than it has room for."""
    parts: list[_Part] = []
    total = np.zeros(radius + 1, np.int64)
    cuts = blocks(max(len(left), len(right)), radius)
    with ThreadPoolExecutor(threads) as pool:
        for k, block in enumerate(cuts):
            one = _buckets(left, block)
            run = _task(one, one if left is right else _buckets(right, block), upper, cuts[: k + 1])
            spans = _spans(one[2])
            results = list(pool.map(partial(run, radius=radius, room=_ROOM), spans))
            total += sum(counts for _, counts in results)
            allowed = _allowed(total, most)
            for span, (part, counts) in zip(spans, results, strict=True):
                if counts.sum() <= _ROOM:
                    parts.append(part)
                elif allowed >= 0:
                    parts.append(run(span, radius=allowed, room=int(counts[: allowed + 1].sum()))[0])
    return parts, total


_Buckets = tuple[np.ndarray, np.ndarray, np.ndarray]  # hashes by bucket, their rows int32, where each bucket starts


def _buckets(hashes: np.ndarray, block: Block) -> _Buckets:
    keys = ((hashes >> np.uint64(block.shift)) & np.uint64((1 << block.width) - 1)).astype(np.uint32)
    order = np.argsort(keys, kind="stable").astype(np.int32)
    sizes = np.bincount(keys, minlength=1 << block.width)
    return hashes[order], order, np.concatenate([[0], np.cumsum(sizes)])


def _spans(starts: np.ndarray, tasks: int = 256) -> list[tuple[int, int]]:
    """Ranges of buckets that hold about as many hashes each."""
    shares = np.linspace(0, starts[-1], tasks + 1)[1:-1]
    edges = np.unique(np.concatenate([[0], np.searchsorted(starts, shares), [len(starts) - 1]]))
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def _task(one: _Buckets, two: _Buckets, upper: bool, cuts: list[Block]) -> Callable[..., tuple[_Part, np.ndarray]]:
    """Join the last of the cuts: of (range of buckets, radius, room) a part, and how many pairs of each distance."""
    from anmok.audit.hamming_kernel import join

    *before, block = cuts
    flips = [c for n in range(block.limit + 1) for c in combinations(range(block.width), n)]
    probes = np.array([sum(1 << bit for bit in c) for c in flips], np.int64)
    shifts, masks, limits = (
        np.array(column, np.uint64)
        for column in ([b.shift for b in before], [(1 << b.width) - 1 for b in before], [b.limit for b in before])
    )

    def run(span: tuple[int, int], radius: int, room: int) -> tuple[_Part, np.ndarray]:
        out = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.uint8)
        counts = np.zeros(radius + 1, np.int64)
        same = one is two
        found = join(*one, *two, *span, probes, same, upper, np.uint64(radius), shifts, masks, limits, *out, counts)
        first, second, distance = (column[: min(found, room)].copy() for column in out)
        return (first, second, distance), counts

    return run
