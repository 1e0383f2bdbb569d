"""Affine maps between the squares of two pictures, in units of half a side, and pictures seen through them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

IDENTITY = np.eye(3)
_FLAGS = 1 | 16  # cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


def warp(pictures: Sequence[np.ndarray], where: np.ndarray, outside: float | None = None) -> np.ndarray:
    """float32[P, S, S]: each picture float32[S, S] as its map float64[P, 3, 3] sees it.

    outside: the value of what lies outside the picture; None: that of the nearest pixel.
    """
    import cv2

    side = len(pictures[0])
    border = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
    out = np.empty((len(pictures), side, side), np.float32)
    centre, half = (side - 1) / 2, side / 2
    matrices = where[:, :2].copy()
    matrices[:, :, 2] = where[:, :2, 2] * half + centre * (1 - where[:, :2, 0] - where[:, :2, 1])
    for picture, matrix, moved in zip(pictures, matrices, out, strict=True):
        cv2.warpAffine(picture, matrix, (side, side), moved, _FLAGS, border, outside or 0)
    return out


def compose(where: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Maps float64[P, 3, 3] after the inverse of what the six numbers float64[P, 6] change the identity to."""
    a, b, c, d, e, f = change.T
    a, e = 1 + a, 1 + e
    size = a * e - b * d
    usable = np.abs(size) >= 1e-3
    undo = np.zeros_like(where)
    undo[:, 0] = np.stack([e, -b, b * f - c * e], axis=1)
    undo[:, 1] = np.stack([-d, a, c * d - a * f], axis=1)
    undo[:, 2, 2] = size
    undo[usable] /= size[usable, None, None]
    undo[~usable] = IDENTITY
    return where @ undo
