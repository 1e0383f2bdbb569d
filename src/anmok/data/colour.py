"""From what a file stores to sRGB: value ranges, colour profiles, transparency, orientation, grey."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

_IDENTITY = 2  # levels of 255 by which a profile may differ from sRGB and still be taken for it


def by_range(values: np.ndarray) -> np.ndarray:
    """uint8 of any shape from values of another type, scaled by their range and never clipped.

    bool: 0, 255.  uint16: / 257, so that 65535 is 255.  Other integers: as uint16 where all values lie within it, else
    minimum to maximum.  float: [0, 1] where all values lie within it, else minimum to maximum (infinities count as the
    nearest bound, NaN as the minimum; a constant outside [0, 1] is 0).
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    if values.size == 0:
        return np.zeros(values.shape, np.uint8)
    if values.dtype.kind in "iu":
        if values.min() >= 0 and values.max() <= 65535:
            return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
        return _stretch(values.astype(np.float64))
    finite = np.isfinite(values)
    if not finite.all():
        known = values[finite]
        low, high = (known.min(), known.max()) if known.size else (0, 0)
        values = np.nan_to_num(values, nan=low, neginf=low, posinf=high)
    if values.min() >= 0 and values.max() <= 1:
        return np.rint(values.astype(np.float64) * 255).astype(np.uint8)
    return _stretch(values.astype(np.float64))


def _stretch(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if high == low:
        return np.zeros(values.shape, np.uint8)
    half = high / 2 - low / 2  # halves, so that the range of the largest floats does not overflow
    return np.rint(np.clip((values / 2 - low / 2) / half, 0, 1) * 255).astype(np.uint8)


def composite(pixels: np.ndarray, alpha: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    """uint8[H, W, 3] of uint8[H, W, 3] with alpha uint8[H, W] over one colour; where alpha is 0, exactly that."""
    a = alpha.astype(np.uint16)[:, :, None]
    mixed = pixels * a
    mixed += (255 - a) * np.array(background, np.uint16)
    mixed += 128
    mixed += mixed >> 8  # (x + 128 + ((x + 128) >> 8)) >> 8 is x / 255, rounded
    mixed >>= 8
    return mixed.astype(np.uint8)


def oriented(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """uint8[H, W, C] turned upright from an EXIF orientation (CIPA DC-008, 4.6.4 A); 5 to 8 swap H and W."""
    import cv2

    if orientation == 1:
        return pixels
    turns: dict[int, Callable[[Any], Any]] = {
        2: lambda x: cv2.flip(x, 1),
        3: lambda x: cv2.rotate(x, cv2.ROTATE_180),
        4: lambda x: cv2.flip(x, 0),
        5: cv2.transpose,
        6: lambda x: cv2.rotate(x, cv2.ROTATE_90_CLOCKWISE),
        7: lambda x: cv2.rotate(cv2.transpose(x), cv2.ROTATE_180),
        8: lambda x: cv2.rotate(x, cv2.ROTATE_90_COUNTERCLOCKWISE),
    }
    out = turns[orientation](pixels)
    return out[:, :, None] if out.ndim == 2 else out


def to_gray(pixels: np.ndarray) -> np.ndarray:
    """uint8[H, W, 1] luma (ITU-R 601, rounded as Pillow and `core.pixels.luma` do) of uint8[H, W, 3] sRGB."""
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]


def to_rgb(pixels: np.ndarray) -> np.ndarray:
    """uint8[H, W, 3] of uint8[H, W, 1 | 3]."""
    import cv2

    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if pixels.shape[2] == 1 else pixels


def to_srgb(pixels: np.ndarray, icc: bytes, note: Callable[[str], None]) -> np.ndarray:
    """uint8[H, W, 1 | 3] in sRGB of uint8[H, W, 1 | 3 | 4] (gray, RGB, CMYK with 0 for no ink).

    A profile that is broken, or of another colour space than the pixels, is ignored and noted (`bad-profile`). Without
    one, gray and RGB are taken for sRGB, and CMYK is converted as (255 − C)(255 − K) / 255.
    """
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[pixels.shape[2]]
    transform = None
    if icc:
        try:
            source, transform = _transform(icc, mode)
        except ValueError as error:
            note(f"bad-profile: the colour profile is ignored ({error}).")
    if transform is not None:
        return np.asarray(transform.apply(_image(to_rgb(pixels) if source == "RGB" else pixels)))
    if mode == "CMYK":
        return np.asarray(_image(pixels).convert("RGB"))
    return pixels


@lru_cache(maxsize=64)
def _transform(icc: bytes, mode: str) -> tuple[str, Any]:
    """(the mode a profile applies to, its transform to sRGB or None where it changes nothing).

    ValueError where the profile is broken or not for such pixels. Gray pixels with an RGB profile are taken as RGB.
    """
    import io

    from PIL import ImageCms

    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        space = str(profile.profile.xcolor_space).strip()
        source = {"GRAY": "L"}.get(space, space)
        if source != mode and (source, mode) != ("RGB", "L"):
            raise ValueError(f"it is for {space}, the pixels are {mode}")
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), source, "RGB")
        if source == "CMYK":
            return source, transform
        steps = np.arange(256, dtype=np.uint8).reshape(1, 256, 1)
        probe = steps
        if source == "RGB":
            grid = np.linspace(0, 255, 17).astype(np.uint8)
            cube = np.stack(np.meshgrid(grid, grid, grid), -1).reshape(1, -1, 3)
            probe = np.concatenate([cube, np.repeat(steps, 3, axis=2)], axis=1)
        change = np.abs(np.asarray(transform.apply(_image(probe))).astype(int) - probe)
    except (ImageCms.PyCMSError, OSError, TypeError, AttributeError) as error:
        raise ValueError(str(error) or "unknown structure") from error
    return source, None if change.max() <= _IDENTITY else transform


def _image(pixels: np.ndarray) -> Any:
    from PIL import Image

    if pixels.shape[2] == 4:
        return Image.fromarray(pixels, "CMYK")
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
