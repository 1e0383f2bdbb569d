"""How alike the structure of two pictures is, one laid over the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from anmok.audit.picture import Picture
from anmok.audit.warp import warp

LEAST = 0.4  # share of the square that must be compared
_NOISE = 4.0  # variance in levels² within which two plain patches are the same
_STRUCTURE = 36.0  # variance in levels² at which a patch weighs half of what it can
_PATCH = 7  # pixels a side
_SAME = 0.9  # likeness of a patch from which it counts as covered
_EDGE = np.ones((5, 5), np.uint8)


class Likeness(NamedTuple):
    """score: 1 for the same structure, about 0 for unrelated; covered: the larger of the shares of one picture's
    structure that is the same in the other; structure: how much there is, 0 (plain) to 1; difference: mean of the
    absolute differences, in levels of 255; light: mean of the second over that of the first.
    """

    score: float
    covered: float
    structure: float
    difference: float
    light: float


def likeness(first: Picture, second: Picture, where: np.ndarray, *, halved: bool = False) -> Likeness | None:
    """How alike two pictures are under a map, at 96 or 48 pixels; None where they overlap too little.

    Patches are compared by contrast and structure as SSIM does (Wang et al. 2004, IEEE TIP 13(4), eq. 9 and 10), after
    one gain for the whole picture, and weigh by the structure in them: v / (v + 36) of the variance, so that the white
    around two objects does not make them alike.
    """
    return likenesses([(first, second, where)], halved=halved)[0]


def likenesses(pairs: Sequence[tuple[Picture, Picture, np.ndarray]], *, halved: bool = False) -> list[Likeness | None]:
    """`likeness` of each pair under its map."""
    found: list[Likeness | None] = [None] * len(pairs)
    if not pairs:
        return found
    firsts, seconds = (
        [p.halved if halved else p.pixels for p in side] for side in zip(*(p[:2] for p in pairs), strict=True)
    )
    a, b = np.array(firsts), warp(seconds, np.array([p[2] for p in pairs]), outside=np.nan)
    inside = _inside(b)
    total = inside.sum(axis=(1, 2))
    rows = np.flatnonzero(total >= LEAST * inside[0].size)
    if not rows.size:
        return found
    if rows.size < len(pairs):
        a, b, inside, total = (part[rows] for part in (a, b, inside, total))
    for k, values in zip(rows, _compared(a, b, inside, total), strict=True):
        found[k] = Likeness(*values)
    return found


def _inside(moved: np.ndarray) -> np.ndarray:
    """float32[P, S, S]: 1 where a moved picture is compared; what is not seen of it (NaN) is set to 0.

    A neighbour's colour bleeds into the edge of either.  The rows at the edge of each picture are left out, so that one
    erosion does for all of them on top of each other.
    """
    import cv2

    seen = ~np.isnan(moved)
    np.copyto(moved, 0, where=~seen)
    seen[:, [0, -1]] = False
    seen[:, :, [0, -1]] = False
    stack = seen.view(np.uint8).reshape(-1, moved.shape[2])
    return cv2.erode(stack, _EDGE).reshape(moved.shape).astype(np.float32)


def _compared(a: np.ndarray, b: np.ndarray, inside: np.ndarray, total: np.ndarray) -> list[list[float]]:
    """The numbers of a Likeness of each pair of float32[P, S, S]; total: the sum of inside, float32[P]."""
    difference = _sum(np.abs(a - b), inside) / total
    light_a, light_b = _sum(a, inside) / total, _sum(b, inside) / total
    a, b = (a - light_a[:, None, None]) * inside, (b - light_b[:, None, None]) * inside
    scale = 1 / np.maximum(_box(inside), 1)
    mean_a, mean_b = _box(a) * scale, _box(b) * scale
    var_a, var_b = _box(a * a) * scale - mean_a * mean_a, _box(b * b) * scale - mean_b * mean_b
    both = _box(a * b) * scale - mean_a * mean_b
    sum_a, sum_b = (np.maximum(_sum(v, inside), 1e-6) for v in (var_a, var_b))
    gain = np.clip(np.sqrt(sum_b / sum_a), 0.25, 4)[:, None, None]
    var_a *= gain * gain
    var_a, var_b = np.maximum(var_a, 0), np.maximum(var_b, 0)
    either = var_a + var_b
    alike = (2 * gain * both + _NOISE) / (either + _NOISE)
    weight = either / (either + 2 * _STRUCTURE) * inside
    agree = (alike > _SAME).astype(np.float32)
    shares = []
    for variance in (var_a, var_b):
        weights = variance / (variance + _STRUCTURE) * inside
        shares.append(_sum(agree, weights) / np.maximum(weights.sum(axis=(1, 2)), 1e-6))
    structure = weight.sum(axis=(1, 2))
    score = _sum(alike, weight) / np.maximum(structure, 1e-6)
    light = (light_b + 1) / (light_a + 1)
    return np.stack([score, np.maximum(*shares), structure / total, difference, light], axis=1).astype(float).tolist()


def _box(values: np.ndarray) -> np.ndarray:
    """Sums over patches.  Every picture is 0 near its edge, so that one call does for all, on top of each other."""
    import cv2

    stack = values.reshape(-1, values.shape[2])
    return cv2.boxFilter(stack, -1, (_PATCH, _PATCH), normalize=False, borderType=cv2.BORDER_CONSTANT).reshape(
        values.shape
    )


def _sum(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float32[P] of float32[P, S, S]."""
    count = len(values)
    return np.matmul(values.reshape(count, 1, -1), weights.reshape(count, -1, 1))[:, 0, 0]
