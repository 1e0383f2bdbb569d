"""The matrices of drawn geometry for many images at once: what `warps` gives for one, without a loop over images."""

from __future__ import annotations

import numpy as np

from anmok.augment.params import Op

Number = float | np.ndarray
_FLAT = 1e-9  # as in matrices.py: corners that turn by less are on one line


def crop_boxes(values: np.ndarray, width: np.ndarray, height: np.ndarray) -> np.ndarray:
    """int64[n, 4], (left, top, width, height), of CROPs with numbers [n, 8] in frames of width and height [n]."""
    area, log_ratio, relative, x, y = values[:, :5].astype(np.float64).T
    ratio = np.exp(log_ratio) * np.where(relative != 0, width / height, 1.0)
    size = area * width * height
    box_w = np.clip(np.rint((size * ratio) ** 0.5), 1, width)
    box_h = np.clip(np.rint((size / ratio) ** 0.5), 1, height)
    return np.stack([np.rint((width - box_w) * x), np.rint((height - box_h) * y), box_w, box_h], 1).astype(np.int64)


def erased_boxes(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """int64[n, 4], (left, top, width, height), of ERASEs with numbers [n, 8] in frames of one size."""
    u = values[:, :4].astype(np.float64)
    area, aspect = (0.02 + 0.23 * u[:, 0]) * width * height, (1 / 0.3) ** (2 * u[:, 1] - 1)
    box_w = np.minimum(width, np.rint((area * aspect) ** 0.5))
    box_h = np.minimum(height, np.rint((area / aspect) ** 0.5))
    left, top = np.rint((width - box_w) * u[:, 2]), np.rint((height - box_h) * u[:, 3])
    return np.stack([left, top, box_w, box_h], 1).astype(np.int64)


def codes(ops: np.ndarray) -> list[int]:
    """The codes that occur, in order."""
    return np.nonzero(np.bincount(ops))[0].tolist()


def steps(
    ops: np.ndarray, values: np.ndarray, width: np.ndarray, height: np.ndarray, output: tuple[int, int]
) -> np.ndarray:
    """float64[n, 3, 3], source from output, of one geometry operation an image in its own frame of width × height.

    The frame after it is of the same size, after a CROP of the size `output`.  A PERSPECTIVE whose corners are no
    convex quadrilateral changes nothing.
    """
    out = np.zeros((len(ops), 3, 3))
    for op in codes(ops):
        i = np.nonzero(ops == op)[0]
        out[i] = _OF[op](values[i].astype(np.float64), width[i].astype(float), height[i].astype(float), output)
    return out


def affine(sx: Number, kx: Number, x: Number, ky: Number, sy: Number, y: Number, n: int) -> np.ndarray:
    """float64[n, 3, 3] with the rows (sx, kx, x), (ky, sy, y), (0, 0, 1): numbers, or arrays [n]."""
    out = np.zeros((n, 3, 3))
    out[:, 2, 2] = 1
    for (row, column), number in zip(np.ndindex(2, 3), (sx, kx, x, ky, sy, y), strict=True):
        out[:, row, column] = number
    return out


def _rotate(v: np.ndarray, w: np.ndarray, h: np.ndarray, _: object) -> np.ndarray:
    cos, sin = np.cos(v[:, 0]), np.sin(v[:, 0])
    x, y = (w - 1) / 2, (h - 1) / 2
    return affine(cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y, len(v))


def _shear(v: np.ndarray, w: np.ndarray, h: np.ndarray, vertical: bool) -> np.ndarray:
    middle = ((w if vertical else h) - 1) / 2
    moved = v[:, 0] * np.where(v[:, 1] != 0, -0.5, middle)
    if vertical:
        return affine(1, 0, 0, -v[:, 0], 1, moved, len(v))
    return affine(1, -v[:, 0], moved, 0, 1, 0, len(v))


def _translate(v: np.ndarray, w: np.ndarray, h: np.ndarray, _: object) -> np.ndarray:
    return affine(1, 0, -np.trunc(v[:, 0] * w + v[:, 2]), 0, 1, -np.trunc(v[:, 1] * h + v[:, 3]), len(v))


def _scale(v: np.ndarray, w: np.ndarray, h: np.ndarray, _: object) -> np.ndarray:
    sx, sy = 1 / v[:, 0], 1 / v[:, 1]
    return affine(sx, 0, (1 - sx) * (w - 1) / 2, 0, sy, (1 - sy) * (h - 1) / 2, len(v))


def _crop(v: np.ndarray, w: np.ndarray, h: np.ndarray, output: tuple[int, int]) -> np.ndarray:
    left, top, box_w, box_h = crop_boxes(v, w, h).T
    sx, sy = box_w / output[0], box_h / output[1]
    return affine(sx, 0, left + sx / 2 - 0.5, 0, sy, top + sy / 2 - 0.5, len(v))


def _perspective(v: np.ndarray, w: np.ndarray, h: np.ndarray, _: object) -> np.ndarray:
    """By way of the unit square (Heckbert 1989), as matrices.perspective."""
    px, py = (v[:, 0:8:2] * w[:, None]).T, (v[:, 1:8:2] * h[:, None]).T
    x0, x1, x2, x3 = px[0] - 0.5, w - 0.5 - px[1], w - 0.5 - px[2], px[3] - 0.5
    y0, y1, y2, y3 = py[0] - 0.5, py[1] - 0.5, h - 0.5 - py[2], h - 0.5 - py[3]
    ax, ay, bx, by = x1 - x2, y1 - y2, x3 - x2, y3 - y2
    turn = ax * by - bx * ay
    turns = np.stack([
        (x1 - x0) * (y2 - y1) - (y1 - y0) * (x2 - x1), -turn,
        (x3 - x2) * (y0 - y3) - (y3 - y2) * (x0 - x3), (x0 - x3) * (y1 - y0) - (y0 - y3) * (x1 - x0),
    ])  # fmt: skip
    good = turns.min(0) > _FLAT * (w + h) ** 2
    turn = np.where(good, turn, 1)
    sx, sy = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    g, k = (sx * by - bx * sy) / turn, (ax * sy - sx * ay) / turn
    square = affine(x1 - x0 + g * x1, x3 - x0 + k * x3, x0, y1 - y0 + g * y1, y3 - y0 + k * y3, y0, len(v))
    square[:, 2] = np.stack([g, k, np.ones_like(g)], 1)
    square[~good] = np.eye(3)
    out = affine(w, 0, -0.5, 0, h, -0.5, len(v)) @ np.linalg.inv(square)
    out /= out[:, 2:, 2:]
    out[~good] = np.eye(3)
    return out


_OF = {
    int(Op.HFLIP): lambda v, w, h, _: affine(-1, 0, w - 1, 0, 1, 0, len(v)),
    int(Op.VFLIP): lambda v, w, h, _: affine(1, 0, 0, 0, -1, h - 1, len(v)),
    int(Op.ROTATE): _rotate,
    int(Op.SHEAR_X): lambda v, w, h, _: _shear(v, w, h, vertical=False),
    int(Op.SHEAR_Y): lambda v, w, h, _: _shear(v, w, h, vertical=True),
    int(Op.TRANSLATE): _translate,
    int(Op.SCALE): _scale,
    int(Op.PERSPECTIVE): _perspective,
    int(Op.CROP): _crop,
}
