"""One image through one matrix, with the border and the interpolation named, antialiased where it shrinks.

A warp looks at a few neighbours: where one shrinks by more than 1.15, antialias.py smooths the image first. `nearest`
never smooths: its values are the image's own, as labels need.
"""

from __future__ import annotations

import math

import numpy as np

from anmok.augment.antialias import antialiased, shrinks
from anmok.augment.arrays import (
    Border,
    Fill,
    Interpolation,
    by_channels,
    check_names,
    checked,
    checked_size,
    fill_values,
)
from anmok.augment.matrices import inverse
from anmok.core.errors import UsageError

_LONGEST = 32766  # pixels of a side in OpenCV's Lanczos
_REPEATS = 1000  # image sides that a border is followed outwards: OpenCV folds a place back once for each
_FARTHEST = 1e9  # pixels, within its integers


def warp(
    image: np.ndarray, matrix: np.ndarray, size: tuple[int, int] | None = None, *, border: Border = "constant",
    fill: Fill = 0, interpolation: Interpolation = "linear",
) -> np.ndarray:  # fmt: skip
    """The image through `matrix` float[3, 3], output from source in pixel centres (see matrices.py).

    image: uint8 or float32 [H, W] or [H, W, C]; the result has the same type and rank. size: (width, height) of the
    output, by default the image's. fill: one value, or one a channel, of the image's range, for `constant` and for
    what lies behind the horizon of a perspective. cubic (a = −0.75) and lanczos (8 × 8) may leave a float's range.

    UsageError for another type or shape, an empty image, numbers that are not finite, an unknown border or
    interpolation (with the nearest), a matrix without inverse, or an output that is too large.
    """
    image = checked(image)
    check_names(border, interpolation)
    height, width = image.shape[:2]
    size = checked_size((width, height) if size is None else size)
    _check_lengths(interpolation, width, height, *size)
    forward = np.asarray(matrix, np.float64)
    if forward.shape != (3, 3):
        raise UsageError(f"expected a matrix [3, 3], found {list(forward.shape)}.", code="setting")
    back = inverse(forward)
    pixels = image.reshape(height, width, -1)
    values = fill_values(fill, pixels)
    if interpolation != "nearest":
        pixels, back = antialiased(pixels, back, shrinks(forward, back, size), border)
    pixels, back = _thickened(pixels, back, border)
    ahead = _check_places(back, size, pixels.shape, border)
    out = _sampled(pixels, back, size, border, values, interpolation)
    if not ahead:
        _hide_behind(out, back, values)
    return out[:, :, 0] if image.ndim == 2 else out


def _sampled(
    pixels: np.ndarray, back: np.ndarray, size: tuple[int, int], border: Border, fill: list[float],
    interpolation: Interpolation,
) -> np.ndarray:  # fmt: skip
    import cv2

    borders = {
        "constant": cv2.BORDER_CONSTANT, "edge": cv2.BORDER_REPLICATE, "reflect": cv2.BORDER_REFLECT_101,
        "symmetric": cv2.BORDER_REFLECT, "wrap": cv2.BORDER_WRAP,
    }  # fmt: skip
    kinds = {
        "nearest": cv2.INTER_NEAREST, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC,
        "lanczos": cv2.INTER_LANCZOS4,
    }  # fmt: skip
    flags, mode = kinds[interpolation] | cv2.WARP_INVERSE_MAP, borders[border]
    affine = back[2].tolist() == [0.0, 0.0, 1.0]

    def one(group: np.ndarray, first: int) -> np.ndarray:
        # Four channels of bytes warp to the same pixels in half the time of three, conversion included.
        widen = group.shape[2] == 3 and group.dtype == np.uint8
        source = cv2.cvtColor(group, cv2.COLOR_RGB2RGBA) if widen else group
        value = tuple(fill[first : first + group.shape[2]]) + (0.0,) * (4 - group.shape[2])
        if affine:
            out = cv2.warpAffine(source, back[:2], size, flags=flags, borderMode=mode, borderValue=value)
        else:
            out = cv2.warpPerspective(source, back, size, flags=flags, borderMode=mode, borderValue=value)
        return cv2.cvtColor(out, cv2.COLOR_RGBA2RGB) if widen else out

    return by_channels(pixels, one)


def _thickened(pixels: np.ndarray, back: np.ndarray, border: Border) -> tuple[np.ndarray, np.ndarray]:
    """A side of one pixel, made two that are equal, where the border is the image itself: it goes on unchanged.

    OpenCV 5.0 never ends when it reflects a single pixel in a cubic warp.
    """
    if border in ("constant", "edge") or min(pixels.shape[:2]) > 1:
        return pixels, back
    back = back.copy()
    for axis, row in ((0, 1), (1, 0)):
        if pixels.shape[axis] == 1:
            pixels = pixels.repeat(2, axis)
            back[row] = 0.0
    return np.ascontiguousarray(pixels), back


def _check_places(back: np.ndarray, size: tuple[int, int], shape: tuple[int, ...], border: Border) -> bool:
    """Whether all of the output lies before the horizon.  UsageError where it shows places too far from the image."""
    right, bottom = size[0] - 1.0, size[1] - 1.0
    x, y, w = back @ np.array([[0.0, right, 0.0, right], [0.0, 0.0, bottom, bottom], [1.0, 1.0, 1.0, 1.0]])
    ahead = w > 1e-9 * np.abs(w).max()
    repeats = border in ("reflect", "symmetric", "wrap")
    if repeats and not ahead.all():
        raise UsageError(
            f'border="{border}" has no end at the horizon, which the output shows.', code="setting",
            remedy='Use border="edge" or "constant".',
        )  # fmt: skip
    for places, length in ((x[ahead] / w[ahead], shape[1]), (y[ahead] / w[ahead], shape[0])):
        far = float(np.abs(places).max(initial=0.0))
        if not far <= min(_FARTHEST, _REPEATS * length if repeats else math.inf):
            raise UsageError(
                f"the output shows places {far:.3g} pixels from an image of {length}.", code="setting",
                remedy="Move, shrink or distort it less" + (', or use border="edge".' if repeats else "."),
            )  # fmt: skip
    return bool(ahead.all())


def _check_lengths(interpolation: str, *lengths: int) -> None:
    if interpolation == "lanczos" and max(lengths) > _LONGEST:
        raise UsageError(
            f"lanczos takes sides of up to {_LONGEST:,} pixels, found {max(lengths):,}.", code="setting",
            remedy='Use interpolation="cubic".',
        )  # fmt: skip


def _hide_behind(out: np.ndarray, back: np.ndarray, fill: list[float]) -> None:
    """Fill, in place, what lies behind a perspective's horizon, where the formula shows the image a second time."""
    g, h, i = back[2].tolist()
    behind = g * np.arange(out.shape[1]) + (h * np.arange(out.shape[0]) + i)[:, None] <= 0
    out[behind] = fill
