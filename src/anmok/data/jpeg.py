"""JPEG by libjpeg-turbo: markers read in Python, pixels decoded without the interpreter lock, scaled if wished."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from anmok.core.errors import ImageError
from anmok.data.header import EXTENSIONS, TRUNCATED_REMEDY, ImageInfo, check_size, exif_orientation
from anmok.data.warned import pillow_warnings_kept

_NO_LENGTH = {0x01, *range(0xD0, 0xD9)}  # markers that stand alone
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15


@dataclass(frozen=True)
class JpegHeader:
    """What the markers before the first scan say. adobe: transform of APP14, None without; scan: where that begins."""

    width: int
    height: int
    bits: int
    components: int
    adobe: int | None
    orientation: int
    icc: bytes
    scan: int

    @property
    def info(self) -> ImageInfo:
        """The same as an ImageInfo."""
        mode = {1: "L", 3: "RGB", 4: "YCCK" if self.adobe == 2 else "CMYK"}.get(self.components, "?")
        size = (self.height, self.width) if self.orientation > 4 else (self.width, self.height)
        return ImageInfo(
            "jpeg", EXTENSIONS["jpeg"], *size, mode, self.components, self.bits,
            orientation=self.orientation, icc=bool(self.icc),
        )  # fmt: skip


def read_header(data: bytes) -> JpegHeader:
    """Walk the markers up to the first scan (ITU-T T.81, annex B).

    ImageError: `truncated` where the file ends before it, `unreadable` where it does not follow the structure.
    """
    at, lost, frame, adobe, orientation = 2, False, None, None, 1
    profile: dict[int, bytes] = {}
    while True:
        lost = lost or data[at : at + 1] not in (b"\xff", b"")
        at = data.find(b"\xff", at)
        while at >= 0 and data[at : at + 2] == b"\xff\xff":
            at += 1
        if at < 0 or at + 4 > len(data):
            raise ImageError("the JPEG ends before its pixels begin.", code="unreadable" if lost else "truncated")
        marker = data[at + 1]
        if marker == 0 or marker in _NO_LENGTH:
            at += 2
            continue
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + size]
        if marker == 0xDA:
            break
        if marker == 0xD9:
            raise ImageError("the JPEG has no pixels.", code="unreadable")
        if marker in _FRAMES and len(body) >= 6 and frame is None:
            frame = (body[0], int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big"), body[5])
        elif marker == 0xE1 and body.startswith(b"Exif\0\0") and orientation == 1:
            orientation = exif_orientation(body)
        elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            profile[body[12]] = body[14:]
        elif marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            adobe = body[11]
        at += 2 + max(size, 2)
    if frame is None:
        raise ImageError("the JPEG has no frame header.", code="unreadable")
    bits, height, width, components = frame
    icc = b"".join(profile[i] for i in sorted(profile))
    return JpegHeader(width, height, bits, components, adobe, orientation, icc, at)


def halvings(short: int, min_side: int | None) -> int:
    """The largest of 8, 4, 2, 1 that a short side may be divided by and stay at `min_side` or above.

    Only powers of two: libjpeg-turbo's other scales (3/8, 5/8, …) are no faster than a full decode.
    """
    if min_side is None:
        return 1
    return next((f for f in (8, 4, 2) if -(-short // f) >= min_side), 1)


def decode_jpeg(
    data: bytes, header: JpegHeader, *, min_side: int | None, allow_truncated: bool, note: Callable[[str], None]
) -> np.ndarray:
    """uint8[H, W, 1 | 3 | 4] (gray, RGB, or CMYK with 0 for no ink), not yet oriented; header: of `read_header`.

    ImageError: `too-large`, `truncated`, `unsupported-format` (not 8 bits a channel) or `unreadable`.
    """
    check_size(header.width, header.height)
    if header.bits != 8:
        raise ImageError(f"a JPEG of {header.bits} bits a channel is not supported.", code="unsupported-format")
    if header.components not in (1, 3, 4):
        raise ImageError(f"a JPEG of {header.components} channels is not an image.", code="unreadable")
    factor = halvings(min(header.width, header.height), min_side)
    pixels = _pixels(data, header, factor, allow_truncated, note)
    if header.components == 4 and header.adobe is not None:
        pixels = 255 - pixels  # Adobe writes ink inverted, and says so by its marker
    return pixels


def _pixels(
    data: bytes, header: JpegHeader, factor: int, allow_truncated: bool, note: Callable[[str], None]
) -> np.ndarray:
    import simplejpeg

    space = {1: "GRAY", 3: "RGB", 4: "CMYK"}[header.components]
    scale = {} if factor == 1 else {"min_height": -(-header.height // factor), "min_width": -(-header.width // factor)}

    def attempt(content: bytes, strict: bool) -> np.ndarray:
        return simplejpeg.decode_jpeg(content, space, strict=strict, **scale)

    try:
        return attempt(data, True)
    except ValueError as error:
        reason = str(error)
    if "remature end" in reason:
        try:
            pixels = attempt(data + b"\xff\xd9", True)
            note("recovered: the JPEG lacks its end marker, its pixels are complete.")
            return pixels
        except ValueError:
            ended = False
    else:
        ended = data.find(b"\xff\xd9", header.scan) >= 0
    if not ended and not allow_truncated:
        raise ImageError("the JPEG is cut off.", remedy=TRUNCATED_REMEDY, code="truncated")
    try:
        pixels = attempt(data, False)
    except ValueError:
        return _by_pillow(data, header, reason)
    note(f"recovered: the JPEG is damaged ({reason})." if ended else "truncated: what is missing of the JPEG is grey.")
    return pixels


def _by_pillow(data: bytes, header: JpegHeader, reason: str) -> np.ndarray:
    """What TurboJPEG's interface refuses (rare subsampling), at full size."""
    import io

    from PIL import Image, JpegImagePlugin

    try:
        with pillow_warnings_kept():
            image: Image.Image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
            pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError, MemoryError) as error:
        raise ImageError(f"the JPEG cannot be decoded ({reason}).", code="unreadable") from error
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    # Pillow has taken CMYK for inverted; the caller decides that by Adobe's marker.
    return 255 - pixels if header.components == 4 else pixels
