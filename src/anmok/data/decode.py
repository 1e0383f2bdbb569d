"""From the bytes of an image to uint8 sRGB pixels: one function for audit, training, prediction, server and export.

What a file is, its bytes say, not its name. Upright by EXIF, colours to sRGB by the ICC profile, transparency on one
colour, CMYK converted, 16-bit and floating values scaled by their range (see `colour.by_range`), of an animation the
first picture. Gray is the luma of that sRGB picture (ITU-R 601), never a JPEG's own Y channel: the two differ by up to
17 levels of 255 where a saturated colour lies outside RGB.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from anmok.core.errors import ImageError, UsageError
from anmok.data import colour
from anmok.data.header import MAX_PIXELS, ImageInfo, check_size
from anmok.data.jpeg import JpegHeader, decode_jpeg, read_header
from anmok.data.raster import Raster, decode_raster, from_pillow, probe_raster
from anmok.data.sniff import HEAD, REFUSED, sniff
from anmok.data.storage import reason_of

__all__ = ["MAX_PIXELS", "ImageInfo", "decode", "probe", "to_rgb"]

Channels = Literal["rgb", "gray"]
Note = Callable[[str], None]
WHITE = (255, 255, 255)


def decode(
    data: bytes, *, channels: Channels = "rgb", background: tuple[int, int, int] = WHITE, allow_truncated: bool = False,
    min_side: int | None = None, on_note: Note | None = None, on_info: Callable[[ImageInfo], None] | None = None,
) -> np.ndarray:  # fmt: skip
    """uint8[H, W, 3], or [H, W, 1] for gray: upright, sRGB, transparency composited on `background`.

    min_side: a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, so long as its short side stays at min_side or more.
    allow_truncated: of a file that is cut off, keep what is there (what is missing is gray in a JPEG, black or
    transparent elsewhere).  on_note hears what was done about an odd file, as 'kind: text' with kind `animated`,
    `bad-profile`, `truncated` or `recovered`.  on_info hears what `probe` says, before a pixel is decoded.

    ImageError, whose code says why: `empty`, `unreadable`, `truncated`, `too-large` (MAX_PIXELS or more, by the header,
    before any decoding), `unsupported-format` (a format outside the list; its parser is never reached).
    """
    note = on_note or _ignore
    kind = _kind(data)
    if kind == "jpeg":
        header = read_header(data)
        if on_info is not None:
            on_info(_info(header))
        pixels = decode_jpeg(data, header, min_side=min_side, allow_truncated=allow_truncated, note=note)
        raster = Raster(pixels, None, header.icc, header.orientation)
    else:
        if on_info is not None:
            on_info(probe_raster(kind, data))
        raster = decode_raster(kind, data, allow_truncated=allow_truncated, note=note)
    return _finish(raster, channels, background, note)


def probe(data: bytes) -> ImageInfo:
    """What the header says, without decoding a pixel; ImageError as `decode` raises it (`too-large` included)."""
    kind = _kind(data)
    if kind != "jpeg":
        return probe_raster(kind, data)
    return _info(read_header(data))


def _info(header: JpegHeader) -> ImageInfo:
    check_size(header.width, header.height)
    return header.info


def to_rgb(
    image: str | os.PathLike[str] | bytes | np.ndarray | Any, *, channels: Channels = "rgb",
    background: tuple[int, int, int] = WHITE, allow_truncated: bool = False, min_side: int | None = None,
    on_note: Note | None = None,
) -> np.ndarray:  # fmt: skip
    """uint8[H, W, 3], or [H, W, 1] for gray, of a path, the bytes of a file, an array, or a PIL image.

    Arrays: [H, W], [H, W, 1], [H, W, 3] (RGB) or [H, W, 4] (RGBA), of uint8 (0 to 255), uint16 (0 to 65535), bool, or
    float (0 to 1 where all values lie within it, else minimum to maximum).  A PIL image is treated as its file would
    be: its EXIF orientation and colour profile are applied.  ImageError as `decode`, also `io-error` for a path that
    cannot be read; UsageError for anything else than an image.
    """
    note = on_note or _ignore
    if isinstance(image, str | os.PathLike):
        image = _read(image)
    if isinstance(image, bytes | bytearray | memoryview):
        return decode(
            bytes(image), channels=channels, background=background, allow_truncated=allow_truncated, min_side=min_side,
            on_note=on_note,
        )  # fmt: skip
    raster = _from_array(image) if isinstance(image, np.ndarray) else from_pillow(image)
    return _finish(raster, channels, background, note)


def _ignore(text: str) -> None:
    pass


def _kind(data: bytes) -> str:
    """The format of a file that may be decoded."""
    if not data:
        raise ImageError("the file is empty.", code="empty")
    kind = sniff(data[:HEAD])
    if kind is None:
        raise ImageError("no image format is recognised in its first bytes.", code="unreadable")
    if kind in REFUSED:
        raise ImageError(
            f"{kind.upper()} files are not read.", remedy="Convert it to PNG or JPEG.", code="unsupported-format"
        )
    return kind


def _finish(raster: Raster, channels: Channels, background: tuple[int, int, int], note: Note) -> np.ndarray:
    """Colour, transparency, orientation, channels: the same steps for every source, in this order."""
    pixels = colour.to_srgb(raster.pixels, raster.icc, note)
    if raster.alpha is not None and raster.alpha.min(initial=255) < 255:
        pixels = colour.composite(colour.to_rgb(pixels), raster.alpha, background)
    pixels = colour.oriented(pixels, raster.orientation)
    if channels == "rgb":
        pixels = colour.to_rgb(pixels)
    elif pixels.shape[2] == 3:
        pixels = colour.to_gray(pixels)
    return np.require(pixels, requirements=("C", "W"))


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        with open(path, "rb") as handle:  # noqa: PTH123 - a str, bytes that are no Unicode included
            return handle.read()
    except OSError as error:
        raise ImageError(f"cannot be read: {reason_of(error)}.", where=os.fspath(path), code="io-error") from error


def _from_array(image: np.ndarray) -> Raster:
    shape, kind = image.shape, image.dtype.kind
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or not image.size:
        hint = "Move the channels to the end." if len(shape) == 3 and shape[0] in (1, 3, 4) else None
        forms = "[H, W], [H, W, 1], [H, W, 3] or [H, W, 4]"
        raise UsageError(f"an image array is {forms}, found {list(shape)}.", remedy=hint)
    if image.dtype not in (np.uint8, np.uint16) and kind not in "bf":
        raise UsageError(f"an image array is of uint8, uint16, float or bool, found {image.dtype}.")
    check_size(image.shape[1], image.shape[0])
    if image.shape[2] < 4:
        return Raster(np.ascontiguousarray(colour.by_range(image)), None, b"", 1)
    pixels = np.ascontiguousarray(colour.by_range(image[:, :, :3]))
    return Raster(pixels, colour.by_range(image[:, :, 3]), b"", 1)
