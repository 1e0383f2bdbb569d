"""What an image in memory and its border may be, and how its pixels are reached beyond its edges.

| border | beyond the edge of a b c d |
|---|---|
| constant | `fill` |
| edge | a a a, a b c d, d d d |
| reflect | d c b, a b c d, c b a: the edge's own pixels once |
| symmetric | c b a, a b c d, d c b: the edge's own pixels twice |
| wrap | b c d, a b c d, a b c |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np

from anmok.core.errors import UsageError, did_you_mean

Border = Literal["constant", "edge", "reflect", "symmetric", "wrap"]
Interpolation = Literal["nearest", "linear", "cubic", "lanczos"]
Fill = float | Sequence[float]
MOST = 1 << 28  # pixels of an output


def checked(image: np.ndarray) -> np.ndarray:
    """The image, contiguous.  UsageError unless it is uint8 or finite float32 [H, W] or [H, W, C] with pixels."""
    kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
    if not isinstance(image, np.ndarray) or image.dtype not in (np.uint8, np.float32):
        raise UsageError(
            f"expected an array of uint8 or float32, found {kind}.", code="image",
            remedy="Convert it with astype, or read the file with anmok.data.decode.to_rgb.",
        )  # fmt: skip
    if image.ndim not in (2, 3) or not image.size:
        raise UsageError(f"expected an image [H, W] or [H, W, C] with pixels, found {list(image.shape)}.", code="image")
    if image.dtype == np.float32 and not np.isfinite(image).all():
        raise UsageError("the image holds NaN or infinite values.", code="image")
    return np.ascontiguousarray(image)


def check_names(border: str, interpolation: str = "linear") -> None:
    """UsageError, with the nearest, for a border or an interpolation that there is not."""
    for name, found, known in (
        ("border", border, get_args(Border)), ("interpolation", interpolation, get_args(Interpolation)),
    ):  # fmt: skip
        if found not in known:
            raise UsageError(f"no such {name} as {found!r}.", remedy=did_you_mean(str(found), known), code="setting")


def checked_size(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) as whole numbers from 1.  UsageError otherwise, or above MOST pixels."""
    whole = isinstance(size, Sequence) and len(size) == 2 and all(isinstance(n, int | np.integer) for n in size)
    if not whole or min(size) < 1 or int(size[0]) * int(size[1]) > MOST:
        raise UsageError(
            f"a size is (width, height) in whole pixels from 1, {MOST:,} in all at most, found {size!r}.",
            code="setting",
        )  # fmt: skip
    return int(size[0]), int(size[1])


def fill_values(fill: Fill, pixels: np.ndarray) -> list[float]:
    """One number a channel of pixels, whole for uint8.  UsageError for another count, or what cannot be in it."""
    channels = pixels.shape[2]
    try:
        flat = np.asarray(fill, np.float64)
    except (TypeError, ValueError):
        flat = np.empty((0, 0))
    most = 255.0 if pixels.dtype == np.uint8 else float(np.finfo(np.float32).max)
    least = 0.0 if pixels.dtype == np.uint8 else -most
    if flat.shape not in ((), (1,), (channels,)) or not ((flat >= least) & (flat <= most)).all():
        span = "in [0, 255]" if pixels.dtype == np.uint8 else "finite"
        raise UsageError(f"fill is one number or {channels}, {span}, found {fill!r}.", code="setting")
    values = np.rint(flat) if pixels.dtype == np.uint8 else flat
    return [float(v) for v in np.broadcast_to(values, channels)]


def beyond(start: int, stop: int, length: int, border: Border) -> np.ndarray:
    """int64[stop − start]: the pixel, of `length` in a row, that stands at each place; −1 where it is the constant."""
    places = np.arange(start, stop)
    if border == "constant":
        return np.where((places >= 0) & (places < length), places, -1)
    if border == "edge":
        return places.clip(0, length - 1)
    if border == "wrap":
        return places % length
    period = 2 * length if border == "symmetric" else max(1, 2 * length - 2)
    places %= period
    return np.where(places < length, places, period - (border == "symmetric") - places)


def by_channels(pixels: np.ndarray, function: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
    """`function(group, first channel)` of [H, W, C], in groups of the numbers of channels that OpenCV is fast for.

    More than four at once crash some of its warps, and two have another, older path with shorter sides.
    """
    channels = pixels.shape[2]
    if channels in (1, 3, 4):
        out = function(pixels, 0)
        return out.reshape(*out.shape[:2], channels)
    cuts = [*range(0, channels - channels % 4, 4), *range(channels - channels % 4, channels)]
    ends = [*cuts[1:], channels]
    parts = [function(np.ascontiguousarray(pixels[:, :, a:b]), a) for a, b in zip(cuts, ends, strict=True)]
    return np.dstack(parts)
