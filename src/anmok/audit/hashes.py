"""Perceptual hashes, 64 bits each, near for pictures that look alike: of the whole and of five windows in it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

# The columns that `perceptual` fills, in its order.  phash_*: the same hash of a window: the middle 90 % of the width
# and height, and the four corners of 93 %, so that a picture meets what was cropped out of it or framed by a border.
HASHES = (
    "phash", "dhash", "phash_centre", "phash_top_left", "phash_top_right", "phash_bottom_left", "phash_bottom_right",
)  # fmt: skip
WINDOWS = HASHES[2:]
FLAT = 0  # the hash of a picture without structure
TURNS = ("upright", "mirrored", "half-turn", "upside-down", "transposed", "right", "anti-transposed", "left")

_SIDE = 32
_FAINT = 1.0  # root mean square, in levels of 255, that no frequency of a flat picture exceeds
_WHOLE, _FIRST, _LAST, _MIDDLE = _SPANS = ((0.0, 1.0), (0.0, 0.93), (0.07, 1.0), (0.05, 0.95))
# Of each window its span down and across, as shares of the height and width.
SPANS = dict(zip(WINDOWS, ((_MIDDLE, _MIDDLE), (_FIRST, _FIRST), (_FIRST, _LAST), (_LAST, _FIRST), (_LAST, _LAST)),
                 strict=True))  # fmt: skip
# (v, u), cycles down and across in half periods: within this radius there are 64 but for the mean, and with each its
# transpose, so that the hash of a turned picture is a permutation of the bits.
_FREQUENCIES = sorted(
    ((v, u) for v in range(9) for u in range(9) if 0 < v * v + u * u <= 72), key=lambda f: (f[0] ** 2 + f[1] ** 2, f)
)


def perceptual(gray: np.ndarray) -> tuple[int, ...]:
    """The hashes of HASHES, each below 2^64, of luma uint8[H, W] or [H, W, 1]; a short side of 128 pixels is plenty.

    phash: bit k is set where the k-th lowest frequency of the discrete cosine transform is positive (of 32 x 32 pixels;
    the mean left out; Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", 3.2.1).  The
    threshold is 0 and not the median, from which it hardly differs, so that `turned` is exact.  Where none of the 64
    frequencies contributes more than 1 level of 255 (root mean square), the picture, or the window, is FLAT.
    dhash: bit k is set where the k-th of 8 x 8 cells is darker than its right neighbour (of 8 x 9).
    """
    return hashes_of([thumbnail(gray)])[0]


def thumbnail(gray: np.ndarray) -> np.ndarray:
    """What the hashes are of: uint8[32, 32] of luma uint8[H, W].

    By at most half to a multiple of 32, then by whole pixels: a third of the time of doing it at once.
    """
    import cv2

    height, width = gray.shape[:2]
    between = (_SIDE * -(-width // (2 * _SIDE)), _SIDE * -(-height // (2 * _SIDE)))
    half = cv2.resize(gray, between, interpolation=cv2.INTER_LINEAR)
    return cv2.resize(half, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)


def hashes_of(thumbnails: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
    """`perceptual` of each thumbnail; all at once, as most of the time for one goes into calling numpy."""
    import cv2

    if not thumbnails:
        return []
    basis, places = _basis()
    waves = (basis @ np.array(thumbnails, np.float32) @ basis.T).reshape(len(thumbnails), -1)[:, places]
    bits = waves > 0
    bits[np.abs(waves).max(axis=2) <= _FAINT] = False
    cells = np.array([cv2.resize(small, (9, 8), interpolation=cv2.INTER_AREA) for small in thumbnails])
    steps = (cells[:, :, 1:] > cells[:, :, :-1]).reshape(-1, 1, 64)
    packed = _pack(np.concatenate([bits[:, :1], steps, bits[:, 1:]], axis=1))
    return [tuple(row) for row in packed.tolist()]


def turned(hashes: np.ndarray, turn: str) -> np.ndarray:
    """The phash of each picture after a mirroring or a turn of TURNS ('right': by 90 degrees clockwise); uint64[N].

    Exact but for frequencies of 0.  FLAT stays so.  ValueError for another turn.
    """
    swap, mask = _turn(turn)
    out = hashes.astype(np.uint64)
    if swap:
        bits = np.unpackbits(out[:, None].view(np.uint8), axis=1, bitorder="little")
        out = np.packbits(bits.take(_transposed(), axis=1), axis=1, bitorder="little").view(np.uint64)[:, 0]
    return np.where(hashes == FLAT, hashes, out ^ mask)


def _pack(bits: np.ndarray) -> np.ndarray:
    """uint64[...] of bool[..., 64], the first bit the lowest."""
    return np.packbits(bits, axis=-1, bitorder="little").view("<u8")[..., 0]


@lru_cache(maxsize=1)
def _basis() -> tuple[np.ndarray, np.ndarray]:
    """Cosines 0 to 8 over each span as float32[4 · 9, 32], and where in their outer product the waves are, int[6, 64].

    Orthonormal cosines, integrated over each pixel exactly, so that a span may end within one.
    """
    edges = np.linspace(0, 1, _SIDE + 1)
    rows = []
    for low, high in _SPANS:
        inside = np.clip((edges - low) / (high - low), 0, 1)
        integrals = [inside] + [np.sqrt(2) * np.sin(np.pi * u * inside) / (np.pi * u) for u in range(1, 9)]
        rows += [np.diff(values) for values in integrals]
    places = [
        [(_SPANS.index(down) * 9 + v) * len(rows) + _SPANS.index(across) * 9 + u for v, u in _FREQUENCIES]
        for down, across in ((_WHOLE, _WHOLE), *SPANS.values())
    ]
    return np.asarray(rows, np.float32), np.asarray(places)


def _turn(name: str) -> tuple[bool, np.uint64]:
    """(whether height and width swap first, the bits that change sign after that)."""
    number = TURNS.index(name)
    across, down = ((False, False), (True, False), (True, True), (False, True))[number % 4]
    odd: Sequence[bool] = [bool((v * down + u * across) & 1) for v, u in _FREQUENCIES]
    return number >= 4, np.packbits(odd, bitorder="little").view("<u8")[0]


@lru_cache(maxsize=1)
def _transposed() -> np.ndarray:
    places = {f: k for k, f in enumerate(_FREQUENCIES)}
    return np.asarray([places[u, v] for v, u in _FREQUENCIES])
