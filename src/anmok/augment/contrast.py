"""Contrast: histogram equalisation, and the range or the mean and spread of pixels brought to a norm.

Images are uint8 (equalisation knows no other) or floating, [H, W], [H, W, 1], [H, W, 3] in RGB, or a batch of them
[N, H, W, C]; every image of a batch is treated by itself. UsageError for anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from anmok.augment.color import checked, convert
from anmok.core.errors import UsageError, did_you_mean

LUMINANCE = {"ycrcb": 0, "ycbcr": 0, "lab": 0, "luv": 0, "hls": 1, "hsv": 2}  # space: channel that says how light


def equalize(image: np.ndarray) -> np.ndarray:
    """Every channel by itself so that its levels come equally often, as far as they can: colours shift.

    Level v becomes round(255 (c(v) − c0) / (n − c0)) with c the cumulative histogram of n pixels and c0 that of the
    darkest level present; an image of one level stays as it is. uint8 of the same shape.
    """
    import cv2

    return _each_plane(image, cv2.equalizeHist)


def equalize_luminance(image: np.ndarray, space: str = "ycrcb") -> np.ndarray:
    """Only how light a pixel is, in `space` (a name of LUMINANCE), equalised over the image; its colour is kept."""
    import cv2

    return _luminance(image, space, cv2.equalizeHist)


def clahe(image: np.ndarray, clip_limit: float = 2.0, tiles: int = 8, space: str = "ycrcb") -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994, Graphics Gems IV) of the luminance.

    tiles: a side of the grid of tiles that are equalised each by its own histogram, between which is interpolated;
    clip_limit: bins of a histogram are cut at so many times their mean, above 0. uint8 of the same shape.
    """
    import cv2

    if not clip_limit > 0 or tiles < 1:
        raise UsageError(
            f"clip_limit must be above 0 and tiles at least 1, found {clip_limit} and {tiles}.", code="setting"
        )
    return _luminance(image, space, cv2.createCLAHE(float(clip_limit), (tiles, tiles)).apply)


def minmax(image: np.ndarray, *, per_channel: bool = False) -> np.ndarray:
    """The smallest value of the image to 0, the largest to 255 (uint8) or to 1 (floating); of one value, all 0.

    per_channel: each channel by its own range, which shifts colours.
    """
    return stretch(image, 0, 100, per_channel=per_channel)


def stretch(image: np.ndarray, low: float = 1.0, high: float = 99.0, *, per_channel: bool = False) -> np.ndarray:
    """As `minmax`, from the percentile `low` to the percentile `high`; what lies beyond is cut."""
    if not 0 <= low < high <= 100:
        raise UsageError(f"percentiles must be 0 <= low < high <= 100, found {low:g} and {high:g}.", code="setting")
    pixels = _pixels(image)
    axes = (-3, -2) if per_channel else (-3, -2, -1)
    values = pixels.astype(np.float32, copy=False)
    if not values.size:
        return pixels.reshape(image.shape)
    if (low, high) == (0, 100):
        bounds = values.min(axis=axes, keepdims=True), values.max(axis=axes, keepdims=True)
    else:
        bounds = tuple(np.percentile(values, [low, high], axis=axes, keepdims=True).astype(np.float32))
    span = bounds[1] - bounds[0]
    shares = np.clip((values - bounds[0]) / np.where(span > 0, span, 1), 0, 1)
    shares = np.where(span > 0, shares, 0)
    out = np.rint(shares * 255).astype(np.uint8) if pixels.dtype == np.uint8 else shares.astype(np.float32)
    return out.reshape(image.shape)


def zscore(
    image: np.ndarray, mean: float | Sequence[float] | None = None, std: float | Sequence[float] | None = None, *,
    per_channel: bool = False,
) -> np.ndarray:  # fmt: skip
    """(x − mean) / std, float32 of the same shape.

    mean, std: of values in [0, 1], one or one a channel; by default the image's own, over all its values or (with
    per_channel) over each channel's; an image of one value becomes 0. std is the population's (divided by n).
    """
    pixels = _pixels(image)
    if (mean is None) != (std is None):
        raise UsageError("mean and std are given both or neither.", code="setting")
    values = pixels.astype(np.float32) / np.float32(255) if pixels.dtype == np.uint8 else pixels
    if not values.size:
        return values.reshape(image.shape)
    if mean is None:
        axes = (-3, -2) if per_channel else (-3, -2, -1)
        middle = values.mean(axis=axes, keepdims=True, dtype=np.float64)
        spread = values.std(axis=axes, keepdims=True, dtype=np.float64)
        flat = np.ptp(values, axis=axes, keepdims=True) == 0
        spread = np.where(flat, np.inf, spread)
    else:
        middle, spread = np.asarray(mean, np.float64), np.asarray(std, np.float64)
        if not {middle.shape, spread.shape} <= {(), (1,), (pixels.shape[-1],)} or not (spread > 0).all():
            raise UsageError(
                f"mean and std are one number or {pixels.shape[-1]}, std above 0; found {mean} and {std}.",
                code="setting",
            )  # fmt: skip
    out = (values - middle.astype(np.float32)) / spread.astype(np.float32)
    return out.reshape(image.shape)


def _pixels(image: np.ndarray) -> np.ndarray:
    pixels = checked(image, (1, 3))
    if pixels.dtype != np.uint8 and not np.isfinite(pixels).all():
        raise UsageError("the image holds NaN or infinite values.", code="image")
    return pixels


def _bytes(image: np.ndarray) -> np.ndarray:
    pixels = checked(image, (1, 3))
    if pixels.dtype != np.uint8:
        raise UsageError(
            f"histograms are equalised on uint8, found {pixels.dtype}.", code="image", remedy="Pass levels 0 to 255."
        )
    return pixels


def _each_plane(image: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The function of uint8[H, W] on every channel of every image."""
    pixels = _bytes(image)
    out = np.empty_like(pixels)
    for one, into in zip(_images(pixels), _images(out), strict=True):
        for channel in range(pixels.shape[-1]):
            into[..., channel] = function(np.ascontiguousarray(one[..., channel]))
    return out.reshape(image.shape)


def _luminance(image: np.ndarray, space: str, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The function of uint8[H, W] on the channel that says how light a pixel is; gray is that channel."""
    if space not in LUMINANCE:
        raise UsageError(f"no luminance in {space}.", remedy=did_you_mean(space, LUMINANCE), code="setting")
    pixels = _bytes(image)
    if pixels.shape[-1] == 1:
        return _each_plane(image, function)
    apart = convert(pixels, "rgb", space)
    for one in _images(apart):
        channel = LUMINANCE[space]
        one[..., channel] = function(np.ascontiguousarray(one[..., channel]))
    return convert(apart, space, "rgb").reshape(image.shape)


def _images(pixels: np.ndarray) -> list[np.ndarray]:
    """The images of a batch, or the one, as views; none where there are no pixels."""
    if not pixels.size:
        return []
    return list(pixels) if pixels.ndim == 4 else [pixels]
