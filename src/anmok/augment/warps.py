"""The matrices of drawn geometry: source from output, in pixel centres, of a frame of W × H pixels."""

from __future__ import annotations

import math

import numpy as np

from anmok.augment import matrices as m
from anmok.augment.params import Op, crop_box


def source_from_output(
    op: int, numbers: list[float], width: int, height: int, output: tuple[int, int]
) -> tuple[np.ndarray, tuple[int, int]]:
    """float64[3, 3] of one operation, and the size (width, height) of the frame after it: `output` after a CROP."""
    size = (width, height)
    centre = ((width - 1) / 2, (height - 1) / 2)
    if op == Op.ROTATE:
        return m.rotation(-math.degrees(numbers[0]), centre), size
    if op == Op.TRANSLATE:
        dx, dy = int(numbers[0] * width + numbers[2]), int(numbers[1] * height + numbers[3])
        return m.translation(-dx, -dy), size
    if op in (Op.SHEAR_X, Op.SHEAR_Y):
        about = (-0.5, -0.5) if numbers[1] else centre
        x, y = (-numbers[0], 0.0) if op == Op.SHEAR_X else (0.0, -numbers[0])
        return m.shearing(x, y, about), size
    if op == Op.SCALE:
        return m.scaling(1 / numbers[0], 1 / numbers[1], centre), size
    if op == Op.HFLIP:
        return m.hflip(width), size
    if op == Op.VFLIP:
        return m.vflip(height), size
    if op == Op.CROP:
        left, top, box_w, box_h = crop_box(numbers, width, height)
        sx, sy = box_w / output[0], box_h / output[1]
        return np.array([[sx, 0, left + sx / 2 - 0.5], [0, sy, top + sy / 2 - 0.5], [0, 0, 1]]), output
    return m.perspective(_corners(numbers, width, height), _corners([0.0] * 8, width, height)).copy(), size


def _corners(moved: list[float], width: int, height: int) -> list[tuple[float, float]]:
    """The frame's corners, clockwise from top left, each moved inwards by shares of the width and the height."""
    right, bottom = width - 0.5, height - 0.5
    x, y = [v * width for v in moved[0:8:2]], [v * height for v in moved[1:8:2]]
    return [
        (x[0] - 0.5, y[0] - 0.5),
        (right - x[1], y[1] - 0.5),
        (right - x[2], bottom - y[2]),
        (x[3] - 0.5, bottom - y[3]),
    ]
