"""Matrices of the plane: float64[3, 3] that give the place in the output of a place in the source.

Places are (x, y) in pixel centres: the first pixel's centre is (0, 0), an image of width W has its middle at
(W − 1) / 2 and its edges at −0.5 and W − 0.5. y runs down. `inverse` gives source from output, which a warp needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from anmok.core.errors import UsageError

Point = tuple[float, float]
_FLAT = 1e-9  # of the square of a quadrilateral's extent: corners that turn by less are on one line
_SINGULAR = 1e-15  # of the product of the rows' lengths: a smaller determinant is rounding


def translation(dx: float, dy: float) -> np.ndarray:
    """Moved by dx pixels to the right and dy down."""
    return np.array([[1.0, 0.0, dx], [0.0, 1.0, dy], [0.0, 0.0, 1.0]])


def rotation(degrees: float, center: Point, scale: float = 1.0) -> np.ndarray:
    """Turned counter-clockwise, as one sees it, about `center`, and enlarged by `scale`; quarter turns are exact."""
    angle = math.radians(degrees % 360)
    # 15 digits, as Pillow: the sine of 180 degrees is 0.
    cos, sin = scale * round(math.cos(angle), 15), scale * round(math.sin(angle), 15)
    x, y = center
    return np.array([
        [cos, sin, x - cos * x - sin * y], [-sin, cos, y + sin * x - cos * y], [0.0, 0.0, 1.0],
    ])  # fmt: skip


def scaling(sx: float, sy: float, center: Point) -> np.ndarray:
    """Enlarged about `center` by the factors sx and sy; a negative one mirrors, 0 has no inverse."""
    x, y = center
    return np.array([[sx, 0.0, x - sx * x], [0.0, sy, y - sy * y], [0.0, 0.0, 1.0]])


def shearing(x: float, y: float, center: Point) -> np.ndarray:
    """Sheared about `center` by factors, the tangents of angles: x' = x + kx y, and then y' = y + ky x'.

    Areas stay as they are. torchvision's `affine` has both signs reversed.
    """
    cx, cy = center
    return np.array([[1.0, x, -x * cy], [y, 1.0 + x * y, -y * (cx + x * cy)], [0.0, 0.0, 1.0]])


def hflip(width: int) -> np.ndarray:
    """Mirrored left to right in a frame of that width."""
    return np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def vflip(height: int) -> np.ndarray:
    """Mirrored upside down in a frame of that height."""
    return np.array([[1.0, 0.0, 0.0], [0.0, -1.0, height - 1.0], [0.0, 0.0, 1.0]])


def cropping(left: float, top: float) -> np.ndarray:
    """The pixel (left, top) becomes the first."""
    return translation(-left, -top)


def resizing(from_size: tuple[float, float], to_size: tuple[float, float]) -> np.ndarray:
    """A frame (width, height) becomes another, edges on edges (half-pixel centres, as Pillow's and torch's)."""
    sx, sy = to_size[0] / from_size[0], to_size[1] / from_size[1]
    return np.array([[sx, 0.0, sx / 2 - 0.5], [0.0, sy, sy / 2 - 0.5], [0.0, 0.0, 1.0]])


def perspective(source_points: Sequence[Point], target_points: Sequence[Point]) -> np.ndarray:
    """The homography that takes four points to four others, in order around a convex quadrilateral.

    By way of the unit square (Heckbert 1989, Fundamentals of Texture Mapping and Image Warping, section 2.2.3). The
    third coordinate of a place, before the division by it, is positive on the source's side of the horizon.

    UsageError where three of either four points are on a line, sides cross, or a corner points inwards.
    """
    a, b, c, d, e, f, g, h, i = _from_square(source_points, "source").ravel().tolist()
    # The adjugate of a convex quadrilateral's matrix is its inverse up to the sign of the determinant.
    matrix = _from_square(target_points, "target") @ np.array([
        [e * i - f * h, c * h - b * i, b * f - c * e],
        [f * g - d * i, a * i - c * g, c * d - a * f],
        [d * h - e * g, b * g - a * h, a * e - b * d],
    ])  # fmt: skip
    determinant = a * (e * i - f * h) + b * (f * g - d * i) + c * (d * h - e * g)
    size = abs(float(matrix[2, 2]))
    # 1 in the last place where the origin is not on the horizon, as others have it.
    return matrix / math.copysign(size if size > 1e-12 * abs(determinant) else abs(determinant), determinant)


def compose(*matrices: np.ndarray) -> np.ndarray:
    """One matrix for several, the first applied first; that of no change for none."""
    if not matrices:
        return np.eye(3)
    out = matrices[0]
    for matrix in matrices[1:]:
        out = matrix @ out
    return out


def inverse(matrix: np.ndarray) -> np.ndarray:
    """Source from output.  UsageError for a matrix without an inverse, or with a number that is not finite."""
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    if g == h == 0.0 and i == 1.0:  # affine: how far it moves says nothing about its inverse
        determinant = a * e - b * d
        size = math.hypot(a, b) * math.hypot(d, e)
        rows = [[e, -b, b * f - c * e], [-d, a, c * d - a * f], [0.0, 0.0, determinant]]
    else:
        rows = [
            [e * i - f * h, c * h - b * i, b * f - c * e],
            [f * g - d * i, a * i - c * g, c * d - a * f],
            [d * h - e * g, b * g - a * h, a * e - b * d],
        ]  # fmt: skip
        determinant = a * rows[0][0] + b * rows[1][0] + c * rows[2][0]
        size = math.hypot(a, b, c) * math.hypot(d, e, f) * math.hypot(g, h, i)
    if not math.isfinite(size) or not math.isfinite(c + f) or abs(determinant) <= _SINGULAR * size:
        raise UsageError(
            f"the matrix {matrix.tolist()} has no inverse.", code="setting",
            remedy="Factors of scale must not be 0, and every number finite.",
        )  # fmt: skip
    return np.array(rows) / determinant


def _from_square(points: Sequence[Point], which: str) -> np.ndarray:
    """The matrix from the square (0, 0), (1, 0), (1, 1), (0, 1) to a convex quadrilateral, its denominator positive."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = _four(points, which)
    ax, ay, bx, by = x1 - x2, y1 - y2, x3 - x2, y3 - y2
    turn = ax * by - bx * ay
    turns = (
        (x1 - x0) * (y2 - y1) - (y1 - y0) * (x2 - x1), -turn,
        (x3 - x2) * (y0 - y3) - (y3 - y2) * (x0 - x3), (x0 - x3) * (y1 - y0) - (y0 - y3) * (x1 - x0),
    )  # fmt: skip
    extent = max(x0, x1, x2, x3) - min(x0, x1, x2, x3) + max(y0, y1, y2, y3) - min(y0, y1, y2, y3)
    if not min(turns) * max(turns) > 0 or min(map(abs, turns)) <= _FLAT * extent * extent:
        raise UsageError(
            f"the {which} points {[(x0, y0), (x1, y1), (x2, y2), (x3, y3)]} are no convex quadrilateral.",
            code="setting", remedy="Name four corners in order around it, none between two others.",
        )  # fmt: skip
    sx, sy = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    g, h = (sx * by - bx * sy) / turn, (ax * sy - sx * ay) / turn
    return np.array([
        [x1 - x0 + g * x1, x3 - x0 + h * x3, x0], [y1 - y0 + g * y1, y3 - y0 + h * y3, y0], [g, h, 1.0],
    ])  # fmt: skip


def _four(points: Sequence[Point], which: str) -> list[Point]:
    try:
        found = [(float(x), float(y)) for x, y in points]
    except (TypeError, ValueError):
        found = []
    if len(found) != 4 or not all(math.isfinite(v) for point in found for v in point):
        raise UsageError(f"expected four finite {which} points (x, y), found {points!r}.", code="setting")
    return found
