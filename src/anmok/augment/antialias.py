"""What keeps a warp that shrinks from leaving pixels out: the image is smoothed first, by as much as each axis shrinks.

The filter is the triangle that Pillow resizes with, less what the warp itself smooths. Means of 255 off Pillow's
antialiased bilinear resize, on photos of 200 × 270 pixels: about 0.9 for factors of 0.87 to 0.6, where a plain warp is
off by 1 to 3, and 0.2 to 0.7 below, where that is off by 3 to 16. A perspective is judged at its output's centre.
"""

from __future__ import annotations

import math

import numpy as np

from anmok.augment.arrays import Border, beyond, by_channels
from anmok.augment.matrices import resizing
from anmok.augment.resample import ALIAS


def shrinks(forward: np.ndarray, back: np.ndarray, size: tuple[int, int]) -> tuple[float, float]:
    """How many source pixels, along x and along y, one pixel's length of the output's centre holds."""
    x, y, w = (back @ np.array([(size[0] - 1) / 2, (size[1] - 1) / 2, 1.0])).tolist()
    if w <= 0:
        return 1.0, 1.0
    u, v, w = (forward @ np.array([x / w, y / w, 1.0])).tolist()
    (a, b, _), (d, e, _), (g, h, _) = forward.tolist()
    along_x = math.hypot(a - u / w * g, d - v / w * g) / abs(w)
    along_y = math.hypot(b - u / w * h, e - v / w * h) / abs(w)
    return 1 / along_x if along_x else math.inf, 1 / along_y if along_y else math.inf


def antialiased(
    pixels: np.ndarray, back: np.ndarray, steps: tuple[float, float], border: Border
) -> tuple[np.ndarray, np.ndarray]:
    """The image smoothed along the axes that shrink by more than ALIAS, first averaged down where that is by 8 or more.

    `back`, source from output, is returned for the image that is.
    """
    import cv2

    if max(steps) <= ALIAS:
        return pixels, back
    lengths = (pixels.shape[1], pixels.shape[0])
    new = tuple(max(1, round(n / (s // 4))) if s >= 8 else n for n, s in zip(lengths, steps, strict=True))
    if new != lengths:
        pixels = by_channels(pixels, lambda group, _: cv2.resize(group, new, interpolation=cv2.INTER_AREA))
        back = resizing(lengths, new) @ back
    kernels = [
        _kernel(s * to / n, to, averaged=to != n) for s, n, to in zip(steps, lengths, new, strict=True)
    ]  # fmt: skip
    rx, ry = (len(kernel) // 2 for kernel in kernels)
    around: Border = "edge" if border == "constant" else border
    rows, columns = beyond(-ry, new[1] + ry, new[1], around), beyond(-rx, new[0] + rx, new[0], around)
    wide = pixels.take(rows, 0).take(columns, 1)
    smooth = by_channels(wide, lambda group, _: cv2.sepFilter2D(group, -1, kernels[0], kernels[1]))
    return np.ascontiguousarray(smooth[ry : ry + new[1], rx : rx + new[0]]), back


def _kernel(shrink: float, length: int, averaged: bool) -> np.ndarray:
    """float32 of odd length, sum 1: the smoothing along an axis that shrinks by `shrink`.

    Pillow's triangle over ± s pixels has a variance of s² / 6. The warp's own is 1 / 6, averages have 1 / 12, and a
    triangle's samples lose 0 to 1 / 6.
    """
    if shrink <= ALIAS:
        return np.ones(1, np.float32)
    # More than the axis's own length has nothing to smooth.
    half = min(math.sqrt(shrink * shrink - (1.0 if averaged else 0.5)), max(2.0, length))
    if shrink < 1.3:  # the samples of so narrow a triangle lose too much
        side = (shrink * shrink - 1) / 12
        return np.array([side, 1 - 2 * side, side], np.float32)
    reach = math.ceil(half) - 1
    weights = 1 - np.abs(np.arange(-reach, reach + 1)) / half
    return (weights / weights.sum()).astype(np.float32)
