"""PNG, WebP, AVIF, GIF, BMP, TIFF and HEIC: Pillow's reader of exactly that format, never another one."""

from __future__ import annotations

import importlib
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from anmok.core.errors import ImageError, MachineError, UsageError
from anmok.core.optional import need
from anmok.data import header
from anmok.data.colour import by_range
from anmok.data.header import ImageInfo, check_size, cut_off, exif_orientation, png_chunks, tiff_tags
from anmok.data.warned import pillow_warnings_kept

_READERS = {
    "png": ("PIL.PngImagePlugin", "PngImageFile"),
    "webp": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "avif": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "gif": ("PIL.GifImagePlugin", "GifImageFile"),
    "bmp": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "tiff": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "heic": ("pi_heif", "HeifImageFile"),
}
# What Pillow's readers raise on damaged bytes; none of it says more than "damaged".
_DAMAGED = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, EOFError, ArithmeticError, AssertionError,
    RuntimeError, SystemError, MemoryError, struct.error, zlib.error,
)  # fmt: skip
_MODE_BITS = {"1": 1, "I;16": 16, "I;16L": 16, "I;16B": 16, "I;16N": 16, "I": 32, "F": 32}
_CHANNELS = {
    "I;16": 1,
    "I;16B": 1,
    "1": 1,
    "L": 1,
    "LA": 2,
    "La": 2,
    "PA": 4,
    "RGBA": 4,
    "RGBa": 4,
    "CMYK": 4,
    "I": 1,
    "F": 1,
}


class Raster(NamedTuple):
    """Pixels as a file stores them: uint8[H, W, 1 | 3 | 4] (gray, RGB, CMYK with 0 for no ink), alpha uint8[H, W] or
    None, the colour profile (b'' without), and the EXIF orientation that is still to be applied.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    icc: bytes
    orientation: int


def probe_raster(kind: str, data: bytes) -> ImageInfo:
    """What the header of a file of this kind says."""
    with pillow_warnings_kept():
        image = _open(kind, data)
        if image is None:
            tags = tiff_tags(data, {header.WIDTH, header.HEIGHT, header.BITS})
            width, height = tags[header.WIDTH][0], tags[header.HEIGHT][0]
            return ImageInfo(kind, header.EXTENSIONS[kind], width, height, "RGB", 3, tags[header.BITS][0])
        try:
            frames = int(getattr(image, "n_frames", 1))
        except _DAMAGED:
            frames = 1
        mode, orientation = image.mode, _orientation(kind, image, data)
        alpha = has_alpha(image)
        channels = _CHANNELS.get(mode, 3) + (alpha and mode in ("1", "L", "P", "RGB"))
        width, height = image.size
        if orientation > 4 and kind != "tiff":  # Pillow has turned a TIFF's size already
            width, height = height, width
        return ImageInfo(
            kind, header.EXTENSIONS[kind], width, height, mode, channels, _bits(kind, image, data), alpha, orientation,
            bool(image.info.get("icc_profile")), frames > 1, frames,
        )  # fmt: skip


def decode_raster(kind: str, data: bytes, *, allow_truncated: bool, note: Callable[[str], None]) -> Raster:
    """Decode the first picture of a file.  ImageError: `too-large`, `truncated`, `unsupported-format`, `unreadable`."""
    with pillow_warnings_kept():
        image = _open(kind, data)
        if image is None:
            return Raster(_by_opencv(data)[:, :, ::-1].copy(), None, b"", 1)
        try:
            if getattr(image, "is_animated", False):
                note("animated: the first of several pictures is used.")
        except _DAMAGED:
            pass  # only what follows the first picture is damaged
        _load(kind, image, data, allow_truncated, note)
        try:
            pixels, alpha = split_alpha(image)
            if kind == "png" and image.mode in ("RGB", "RGBA", "LA") and _bits(kind, image, data) == 16:
                pixels, alpha = _deep_png(data, pixels, alpha)
        except _DAMAGED as error:
            raise _damaged(kind, error) from error
        return Raster(pixels, alpha, image.info.get("icc_profile") or b"", _orientation(kind, image, data))


def from_pillow(image: Any) -> Raster:
    """The same of a PIL image, with the orientation and profile in its `info`.  UsageError for anything else."""
    from PIL import Image

    if not isinstance(image, Image.Image):
        raise UsageError(
            f"an image is a path, bytes, an array or a PIL image, found {type(image).__name__}.",
            remedy="anmok.predict(model, source) takes folders, files and tables of images.",
        )
    check_size(*image.size)
    kind = image.format or "image"
    with pillow_warnings_kept():
        try:
            image.load()
            pixels, alpha = split_alpha(image)
        except _DAMAGED as error:
            raise (_truncated(kind) if "truncat" in str(error) else _damaged(kind, error)) from error
    exif = image.info.get("exif")
    orientation = exif_orientation(exif) if isinstance(exif, bytes) and kind != "TIFF" else 1
    return Raster(pixels, alpha, image.info.get("icc_profile") or b"", orientation)


def _open(kind: str, data: bytes) -> Any:
    """Pillow's image, header read and size checked; None for a TIFF of floats in colour, which only OpenCV reads."""
    if kind == "webp" and (size := header.webp_size(data)):
        check_size(*size)  # its reader allocates the canvas at once
    module, name = _READERS[kind]
    try:
        reader = getattr(need(module, "heic") if kind == "heic" else importlib.import_module(module), name)
    except MachineError as error:
        raise ImageError("HEIC: " + error.message, remedy=error.remedy, code="unsupported-format") from error
    bomb = importlib.import_module("PIL.Image").DecompressionBombError
    try:
        image = reader(io.BytesIO(data))
    except bomb as error:
        raise ImageError(str(error), remedy="Scale it down first.", code="too-large") from error
    except _DAMAGED as error:
        if kind == "tiff" and _is_float_colour(data):
            return None
        if cut_off(kind, data) or "truncat" in str(error).lower():
            raise _truncated(kind) from error
        raise _damaged(kind, error) from error
    check_size(*image.size)
    return image


def _load(kind: str, image: Any, data: bytes, allow_truncated: bool, note: Callable[[str], None]) -> None:
    """Decode in place; of a truncated file keep what was decoded where that is allowed."""
    try:
        image.load()
        return
    except _DAMAGED as error:
        if not (cut_off(kind, data) or "truncat" in str(error).lower()):
            raise _damaged(kind, error) from error
        if not allow_truncated:
            raise _truncated(kind) from error
    try:
        image.tile = []  # nothing more to decode: the rows read so far stand
        image.load()
        image._size = image.im.size  # a TIFF's is turned before its pixels are
    except _DAMAGED as error:
        raise _truncated(kind) from error
    note(f"truncated: what is missing of the {kind.upper()} is blank.")


def _damaged(kind: str, error: BaseException) -> ImageError:
    reason = str(error) or type(error).__name__
    return ImageError(f"the {kind.upper()} is damaged ({reason.rstrip('.')}).", code="unreadable")


def _truncated(kind: str) -> ImageError:
    return ImageError(f"the {kind.upper()} is cut off.", remedy=header.TRUNCATED_REMEDY, code="truncated")


def _orientation(kind: str, image: Any, data: bytes) -> int:
    if kind == "tiff":  # once it is loaded: 1, as Pillow has applied it, unless the file was cut off
        value = image.tag_v2.get(header.ORIENTATION, 1)
        return value if value in range(1, 9) else 1
    if kind == "heic":
        return 1  # libheif turns the picture itself
    exif = image.info.get("exif", b"")
    if kind == "png":
        exif = png_chunks(data).get(b"eXIf", exif)
        text = image.info.get("Raw profile type exif")
        if not exif and isinstance(text, str):  # as ImageMagick writes it: '\nexif\n  length\nhex…'
            try:
                exif = bytes.fromhex("".join(text.split("\n")[3:]))
            except ValueError:
                exif = b""
    return exif_orientation(exif)


def _bits(kind: str, image: Any, data: bytes) -> int:
    """Bits of a channel in the file."""
    if image.mode in ("P", "PA"):
        return 8
    if kind == "png":
        return data[24]
    if kind == "tiff" and (bits := tiff_tags(data, {header.BITS}).get(header.BITS)):
        return max(bits)
    if kind == "heic":
        return int(image.info.get("bit_depth", 8))
    if kind == "avif":  # av1C: seq_profile…, then high_bitdepth (0x40) and twelve_bit (0x20) in its third byte
        at = data.find(b"av1C", 0, 4096)
        flags = data[at + 6] if 0 <= at < len(data) - 6 else 0
        return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10
    return _MODE_BITS.get(image.mode, 8)


def has_alpha(image: Any) -> bool:
    """Whether a Pillow image has an alpha channel or a transparent colour."""
    palette = image.palette.mode if image.mode == "P" and image.palette is not None else ""
    return "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or palette.endswith("A")


def split_alpha(image: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """(uint8[H, W, 1 | 3 | 4], alpha uint8[H, W] or None) of a Pillow image of any mode; 4 channels are CMYK."""
    mode, key = image.mode, image.info.get("transparency")
    if mode.startswith("I") or mode == "F":
        values = np.asarray(image)
        alpha = None if key is None else np.where(values == key, 0, 255).astype(np.uint8)
        return by_range(values)[:, :, None], alpha
    if has_alpha(image):
        gray = mode in ("1", "L", "LA", "La")
        if mode == "1":  # the transparent colour of a 1-bit PNG is 0 or 1, that of Pillow's mode 0 or 255
            values = np.asarray(image)
            return by_range(values)[:, :, None], np.where(values == bool(key), 0, 255).astype(np.uint8)
        both = np.asarray(image.convert("LA" if gray else "RGBA"))
        return both[:, :, :-1], both[:, :, -1]
    if mode not in ("L", "RGB", "CMYK"):
        image = image.convert("L" if mode == "1" else "RGB")
    pixels = np.asarray(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels, None


def _by_opencv(data: bytes) -> np.ndarray:
    """uint8[H, W, C], scaled by range, in OpenCV's order of channels (BGR, BGRA)."""
    import cv2

    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        values = None
    if values is None:
        raise ImageError("the pixels cannot be decoded.", code="unreadable")
    return by_range(values if values.ndim == 3 else values[:, :, None])


def _deep_png(data: bytes, pixels: np.ndarray, alpha: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """The same PNG with its 16 bits rounded by OpenCV, where Pillow has cut them to the upper 8."""
    if b"IEND" not in png_chunks(data):
        return pixels, alpha
    try:
        deep = _by_opencv(data)
    except ImageError:
        return pixels, alpha
    if deep.shape[:2] != pixels.shape[:2] or deep.shape[2] not in (3, 4):
        return pixels, alpha
    return np.ascontiguousarray(deep[:, :, 2::-1]), deep[:, :, 3] if deep.shape[2] == 4 else None


def _is_float_colour(data: bytes) -> bool:
    tags = tiff_tags(data, {header.WIDTH, header.HEIGHT, header.SAMPLES, header.BITS})
    if tags.get(header.SAMPLES) != (3,) or set(tags.get(header.BITS, ())) not in ({32}, {64}):
        return False
    if not (tags.get(header.WIDTH) and tags.get(header.HEIGHT)):
        return False
    check_size(tags[header.WIDTH][0], tags[header.HEIGHT][0])
    return True
