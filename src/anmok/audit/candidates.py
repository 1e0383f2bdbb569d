"""Which pairs of pictures are worth a look: by their hashes, as they are, turned, or one in a window of the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from anmok.audit.hamming import affordable, near_across, near_pairs
from anmok.audit.hashes import FLAT, HASHES, TURNS, WINDOWS, turned
from anmok.audit.near_config import NearConfig

# How the first picture of a pair may become the second: by a turn; by being cut to a window; by being that window.
FITS = (*TURNS, *WINDOWS, *(f"in {name}" for name in WINDOWS))
_FIT = {name: np.uint8(number) for number, name in enumerate(FITS)}
_CENTRE, _DHASH = HASHES.index("phash_centre"), HASHES.index("dhash")
_STEPS = 24  # bits of the dhash in which a picture and its crop by a tenth may differ


class Candidates(NamedTuple):
    """Pairs of rows, each once, the nearest first: first < second int64[P]; fit: places in FITS, uint8[P]; bits: in how
    many their hashes differ, uint8[P].
    """

    first: np.ndarray
    second: np.ndarray
    fit: np.ndarray
    bits: np.ndarray


_Found = tuple[np.ndarray, np.ndarray, str, np.ndarray]  # what becomes, of what, by which fit, bits


def candidates(hashes: np.ndarray, config: NearConfig, threads: int) -> Candidates:
    """Of uint64[N, len(HASHES)]; at most config.candidates · N pairs.

    Pictures of one phash are each paired with the first of them, and with the one before in the order of the other
    hashes; of every phash only the first picture is compared with other phashes, so copies cost nothing.
    """
    _, rows = np.unique(hashes[:, 0], return_index=True)
    rows = np.sort(rows[hashes[rows, 0] != FLAT])
    distinct = hashes[rows]
    found = list(_twins(hashes))
    if len(rows) > 1:
        searches = [_upright(distinct, config, threads)]
        searches += [_windows(distinct, config, threads)] if config.crops else []
        searches += [_turned(distinct, config, threads)] if config.turns else []
        found += [(rows[i], rows[j], fit, bits) for search in searches for i, j, fit, bits in search]
    return _merged(found, config.candidates * len(hashes))


def _merged(found: list[_Found], most: int) -> Candidates:
    """Each pair once, by the fit of the fewest bits, in the order of bits."""
    columns = [Candidates(*(np.empty(0, t) for t in (np.int64, np.int64, np.uint8, np.uint8)))]
    for a, b, fit, bits in found:
        back = np.where(a < b, _FIT[fit], _FIT[_reverse(fit)])
        columns.append(Candidates(np.minimum(a, b), np.maximum(a, b), back, bits.astype(np.uint8)))
    first, second, fits, bits = (np.concatenate(c) for c in zip(*columns, strict=True))
    order = np.lexsort((fits, bits, second, first))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(first[order]) != 0) | (np.diff(second[order]) != 0)
    order = order[new]
    order = order[np.argsort(bits[order], kind="stable")][:most]
    return Candidates(first[order], second[order], fits[order], bits[order])


def _reverse(fit: str) -> str:
    """How the second picture becomes the first."""
    turns = {"left": "right", "right": "left"}
    if fit in TURNS:
        return turns.get(fit, fit)
    return fit.removeprefix("in ") if fit.startswith("in ") else f"in {fit}"


def _twins(hashes: np.ndarray) -> Iterator[_Found]:
    """Pictures of the same phash: a star and a chain, not all pairs."""
    order = np.lexsort((np.arange(len(hashes)), *hashes[:, :0:-1].T, hashes[:, 0]))
    same = np.flatnonzero(hashes[order[1:], 0] == hashes[order[:-1], 0]) + 1
    if not same.size:
        return
    begins = np.ones(len(order), bool)
    begins[same] = False
    group = np.cumsum(begins) - 1
    head = np.full(group[-1] + 1, len(order))
    np.minimum.at(head, group, order)
    for a, b in ((head[group], order), (order[same - 1], order[same])):
        a, b = a[a != b], b[a != b]
        apart = sum(_apart(hashes[a, column], hashes[b, column]) for column in range(1, len(HASHES)))
        yield a, b, "upright", np.minimum(apart, 12)


def _upright(hashes: np.ndarray, config: NearConfig, threads: int) -> Iterator[_Found]:
    """Where the whole pictures are near, or their middles, and both are on average."""
    radius = affordable(len(hashes), config.radius)
    most = config.candidates * len(hashes)
    found = []
    for column in (0, _CENTRE):
        values = hashes[:, column]
        rows = np.flatnonzero(values != FLAT)
        pairs = near_pairs(values[rows], radius, most=most, threads=threads)
        _, head = np.unique(values[rows], return_index=True)
        found.append((rows[head[pairs.first]], rows[head[pairs.second]]))
        found.append((rows[head[pairs.inverse]], rows))
    first, second = (np.concatenate(c) for c in zip(*found, strict=True))
    apart = _apart(hashes[first, 0], hashes[second, 0]) + _apart(hashes[first, _CENTRE], hashes[second, _CENTRE])
    keep = (first != second) & (apart <= 2 * radius)
    yield first[keep], second[keep], "upright", (apart[keep] + 1) // 2


def _windows(hashes: np.ndarray, config: NearConfig, threads: int) -> Iterator[_Found]:
    """Where a window of one picture is near the whole of another: what a crop is to its original, or a border adds."""
    radius = affordable(2 * len(hashes), config.window_radius)
    for name in WINDOWS:
        values, rows = np.unique(hashes[:, HASHES.index(name)], return_index=True)
        values, rows = values[values != FLAT], rows[values != FLAT]
        match = near_across(values, hashes[:, 0], radius, most=config.candidates * len(hashes), threads=threads)
        first = rows[match.first]
        steps = _apart(hashes[first, _DHASH], hashes[match.second, _DHASH])
        keep = (first != match.second) & (steps <= _STEPS)
        yield first[keep], match.second[keep], name, np.maximum(match.distance[keep], 1)


def _turned(hashes: np.ndarray, config: NearConfig, threads: int) -> Iterator[_Found]:
    """Where a picture is near another one mirrored or turned, and so are their middles."""
    radius = affordable(2 * len(hashes), config.turn_radius)
    for turn in TURNS:
        if turn in ("upright", "left"):  # what 'right' finds from the other side
            continue
        whole, centre = turned(hashes[:, 0], turn), turned(hashes[:, _CENTRE], turn)
        most = config.candidates * len(hashes)
        match = near_across(whole, hashes[:, 0], radius, most=most, threads=threads, upper=turn != "right")
        apart = match.distance + _apart(centre[match.first], hashes[match.second, _CENTRE])
        keep = (match.first != match.second) & (apart <= 2 * radius)
        yield match.first[keep], match.second[keep], turn, (apart[keep] + 1) // 2


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.bitwise_count(a ^ b).astype(np.int64)
