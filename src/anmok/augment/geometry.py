"""Geometry of one image: moved, turned, scaled, sheared, seen in perspective, mirrored, cropped, padded.

Images are uint8 or float32 [H, W] or [H, W, C] of any number of channels, and stay what they are. Places are (x, y) in
pixel centres: the first pixel's centre is (0, 0), the image's middle ((W − 1) / 2, (H − 1) / 2), its edges −0.5 and
W − 0.5. What comes from outside the image is said by `border`, with `fill` for "constant", and the places between
pixels by `interpolation`; arrays.py lists the borders, and what shrinks is kept from aliasing (antialias.py). All raise
UsageError for what is no such image, numbers that are not finite, and names that there are not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from anmok.augment import matrices
from anmok.augment.arrays import (
    Border,
    Fill,
    Interpolation,
    beyond,
    by_channels,
    check_names,
    checked,
    checked_size,
    fill_values,
)
from anmok.augment.matrices import Point
from anmok.augment.warp import warp
from anmok.core.errors import UsageError


def translate(
    image: np.ndarray, dx: float, dy: float, *, border: Border = "constant", fill: Fill = 0,
    interpolation: Interpolation = "linear",
) -> np.ndarray:  # fmt: skip
    """Moved by dx pixels to the right and dy down; whole pixels are exact."""
    _check_finite(dx=dx, dy=dy)
    return warp(image, matrices.translation(dx, dy), border=border, fill=fill, interpolation=interpolation)


def rotate(
    image: np.ndarray, degrees: float, center: Point | None = None, scale: float = 1.0, expand: bool = False, *,
    border: Border = "constant", fill: Fill = 0, interpolation: Interpolation = "linear",
) -> np.ndarray:  # fmt: skip
    """Turned counter-clockwise by `degrees` about `center` (by default the middle), and enlarged by `scale` (> 0).

    expand: the frame grows, or shrinks, to just hold the whole of it, as Pillow's; it has no center then.
    """
    image = checked(image)
    _check_finite(degrees=degrees, scale=scale)
    if scale <= 0:
        raise UsageError(f"scale must be above 0, found {scale:g}.", code="setting")
    if expand and center is not None:
        raise UsageError("expand holds the whole image wherever the center is.", code="setting", remedy="Give one.")
    matrix = matrices.rotation(degrees, _center(image, center), scale)
    size = _size(image)
    if expand:
        new = _turned_size(size, matrix)
        matrix = matrices.compose(matrix, matrices.translation((new[0] - size[0]) / 2, (new[1] - size[1]) / 2))
        size = new
    return warp(image, matrix, size, border=border, fill=fill, interpolation=interpolation)


def scale(
    image: np.ndarray, sx: float, sy: float | None = None, center: Point | None = None, *,
    border: Border = "constant", fill: Fill = 0, interpolation: Interpolation = "linear",
) -> np.ndarray:  # fmt: skip
    """Enlarged by the factors sx and sy (by default sx), both above 0, about `center` (by default the middle).

    The frame stays: below 1 the border shows, and below 1 / 1.15 the image is smoothed first.
    """
    image = checked(image)
    sy = sx if sy is None else sy
    _check_finite(sx=sx, sy=sy)
    if min(sx, sy) <= 0:
        raise UsageError(f"factors of scale must be above 0, found {sx:g} and {sy:g}.", code="setting")
    matrix = matrices.scaling(sx, sy, _center(image, center))
    return warp(image, matrix, border=border, fill=fill, interpolation=interpolation)


def shear(
    image: np.ndarray, x: float = 0.0, y: float = 0.0, center: Point | None = None, *, border: Border = "constant",
    fill: Fill = 0, interpolation: Interpolation = "linear",
) -> np.ndarray:  # fmt: skip
    """Sheared by degrees within ±89 about `center` (by default the middle): first along x, and then along y.

    x > 0 moves what is below to the right, y > 0 what is right downwards; torchvision's signs are the opposite.
    """
    image = checked(image)
    _check_finite(x=x, y=y)
    if max(abs(x), abs(y)) > 89:
        raise UsageError(f"a shear lies within 89 degrees, found {x:g} and {y:g}.", code="setting")
    factors = math.tan(math.radians(x)), math.tan(math.radians(y))
    matrix = matrices.shearing(*factors, _center(image, center))
    return warp(image, matrix, border=border, fill=fill, interpolation=interpolation)


def perspective(
    image: np.ndarray, source: Sequence[Point], target: Sequence[Point] | None = None,
    size: tuple[int, int] | None = None, *, border: Border = "constant", fill: Fill = 0,
    interpolation: Interpolation = "linear",
) -> np.ndarray:  # fmt: skip
    """Seen so that four source points come to lie on four target points, in order around a convex quadrilateral.

    target: by default the output's own corners, clockwise from the top left, so that the region within the source
    points becomes a rectangle that fills it. Corners are edges: (−0.5, −0.5) to (width − 0.5, height − 0.5), and a
    pixel's outer corner lies half a pixel from its centre. size: (width, height) of the output, by default the image's.
    """
    image = checked(image)
    size = checked_size(_size(image) if size is None else size)
    right, bottom = size[0] - 0.5, size[1] - 0.5
    if target is None:
        target = [(-0.5, -0.5), (right, -0.5), (right, bottom), (-0.5, bottom)]
    matrix = matrices.perspective(source, target)
    return warp(image, matrix, size, border=border, fill=fill, interpolation=interpolation)


def flip(image: np.ndarray, horizontal: bool = True, vertical: bool = False) -> np.ndarray:
    """Mirrored left to right, upside down, or both."""
    import cv2

    image = checked(image)
    if not (horizontal or vertical):
        return image.copy()
    code = -1 if horizontal and vertical else int(horizontal)
    pixels = image.reshape(*image.shape[:2], -1)
    return by_channels(pixels, lambda group, _: cv2.flip(group, code)).reshape(image.shape)


def crop(
    image: np.ndarray, left: int, top: int, width: int, height: int, *, border: Border | None = None, fill: Fill = 0
) -> np.ndarray:
    """The box of `width` × `height` pixels whose first pixel is (left, top), a copy.

    UsageError for a box that leaves the image, unless a border is named.
    """
    image = checked(image)
    left, top = _whole(left=left, top=top)
    width, height = checked_size((width, height))
    own_w, own_h = _size(image)
    if border is None and not (0 <= left <= own_w - width and 0 <= top <= own_h - height):
        raise UsageError(
            f"the box from ({left}, {top}), {width} × {height}, leaves the image of {own_w} × {own_h}.",
            code="setting", remedy='Name what lies outside, as border="reflect".',
        )  # fmt: skip
    return _window(image, left, top, width, height, border or "edge", fill)


def pad(
    image: np.ndarray, left: int, top: int, right: int, bottom: int, *, border: Border = "constant", fill: Fill = 0
) -> np.ndarray:
    """With so many pixels more on each side, all from 0; a border may be wider than the image."""
    image = checked(image)
    left, top, right, bottom = _whole(left=left, top=top, right=right, bottom=bottom)
    if min(left, top, right, bottom) < 0:
        raise UsageError(
            f"a pad is 0 pixels or more, found {left}, {top}, {right}, {bottom}.", code="setting",
            remedy="crop takes pixels away.",
        )  # fmt: skip
    width, height = _size(image)
    size = checked_size((width + left + right, height + top + bottom))
    return _window(image, -left, -top, *size, border, fill)


def _window(image: np.ndarray, left: int, top: int, width: int, height: int, border: Border, fill: Fill) -> np.ndarray:
    check_names(border)
    values = fill_values(fill, image.reshape(*image.shape[:2], -1))
    rows = beyond(top, top + height, image.shape[0], border)
    columns = beyond(left, left + width, image.shape[1], border)
    inner = image.take(rows[rows >= 0], 0).take(columns[columns >= 0], 1)
    if inner.shape[:2] == (height, width):
        return inner
    out = np.empty((height, width, *image.shape[2:]), image.dtype)
    out[:] = values if image.ndim == 3 else values[0]
    out[np.ix_(rows >= 0, columns >= 0)] = inner
    return out


def _turned_size(size: tuple[int, int], matrix: np.ndarray) -> tuple[int, int]:
    """(width, height) of the whole pixels that the turned frame touches, with Pillow's rounding."""
    # Pillow measures the frame turned the other way, whose extent is the same, from its own corner.
    (cos, minus, _), (sin, _, _), _ = matrix.T.tolist()
    width, height = size
    if cos == 0:  # a quarter turn, on which Pillow exchanges the sides without more
        return math.ceil(height * abs(sin)), math.ceil(width * abs(sin))
    x, y = width / 2, height / 2
    shift_x, shift_y = -cos * x - minus * y + x, -sin * x - cos * y + y
    corners = ((0, 0), (width, 0), (width, height), (0, height))
    xs = [cos * a + minus * b + shift_x for a, b in corners]
    ys = [sin * a + cos * b + shift_y for a, b in corners]
    return math.ceil(max(xs)) - math.floor(min(xs)), math.ceil(max(ys)) - math.floor(min(ys))


def _size(image: np.ndarray) -> tuple[int, int]:
    return image.shape[1], image.shape[0]


def _center(image: np.ndarray, center: Point | None) -> Point:
    if center is None:
        return (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2
    try:
        x, y = (float(v) for v in center)
    except (TypeError, ValueError):
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y)):
        raise UsageError(f"a center is two finite numbers (x, y), found {center!r}.", code="setting")
    return x, y


def _check_finite(**numbers: float) -> None:
    for name, value in numbers.items():
        if not isinstance(value, int | float | np.integer | np.floating) or not math.isfinite(value):
            raise UsageError(f"{name} must be a finite number, found {value!r}.", code="setting")


def _whole(**numbers: int) -> list[int]:
    for name, value in numbers.items():
        if not isinstance(value, int | np.integer):
            raise UsageError(f"{name} is in whole pixels, found {value!r}.", code="setting")
    return [int(value) for value in numbers.values()]
