"""What the first bytes of an image say: size, kind, orientation. Nothing here decodes a pixel."""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass

from anmok.core.errors import ImageError

MAX_PIXELS = 89_478_485  # an image of this many pixels or more is refused (256 MiB of RGB)
TRUNCATED_REMEDY = "Fetch it again, or take what is there with --allow-truncated."
ORIENTATION = 0x0112
WIDTH, HEIGHT, BITS, STRIPS, SAMPLES, STRIP_SIZES, TILES, TILE_SIZES = 256, 257, 258, 273, 277, 279, 324, 325


@dataclass(frozen=True)
class ImageInfo:
    """What `probe` reads from a file's header.

    format: as `sniff` names it; extensions: endings that fit it; width, height: in pixels, as decoded (after the EXIF
    orientation); mode: as Pillow names it (JPEG also 'YCCK'); channels: of the decoded file, alpha included; bits: of a
    channel's values; orientation: EXIF 1 to 8 that decoding still applies or has applied; icc: has a colour profile;
    animated, frames: how many pictures (pages of a TIFF) it holds.
    """

    format: str
    extensions: tuple[str, ...]
    width: int
    height: int
    mode: str
    channels: int
    bits: int = 8
    alpha: bool = False
    orientation: int = 1
    icc: bool = False
    animated: bool = False
    frames: int = 1


EXTENSIONS = {
    "jpeg": ("jpg", "jpeg", "jpe", "jfif"),
    "png": ("png", "apng"),
    "webp": ("webp",),
    "avif": ("avif", "avifs"),
    "heic": ("heic", "heif", "hif"),
    "gif": ("gif",),
    "bmp": ("bmp", "dib"),
    "tiff": ("tif", "tiff"),
}


def check_size(width: int, height: int) -> None:
    """Refuse what is too large to decode; ImageError code `too-large`."""
    if width * height >= MAX_PIXELS:
        raise ImageError(
            f"{width:,} × {height:,} pixels are too many (the limit is {MAX_PIXELS:,}).",
            remedy="Scale it down first.",
            code="too-large",
        )


def tiff_tags(block: bytes, wanted: Collection[int]) -> dict[int, tuple[int, ...]]:
    """Values of SHORT and LONG tags in the first directory of a TIFF or of EXIF (TIFF 6.0, section 2)."""
    found: dict[int, tuple[int, ...]] = {}
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return found
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (entries,) = struct.unpack_from(f"{order}H", block, start)
        for at in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind, count = struct.unpack_from(f"{order}HHI", block, at)
            if tag not in wanted or tag in found or kind not in (3, 4):
                continue
            size, form = (2, "H") if kind == 3 else (4, "I")
            place = at + 8 if count * size <= 4 else struct.unpack_from(f"{order}I", block, at + 8)[0]
            if place + count * size <= len(block):
                found[tag] = struct.unpack_from(f"{order}{count}{form}", block, place)
    except struct.error:
        pass
    return found


def exif_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, in a block of EXIF (tag 0x0112); 1 where there is none or it is broken."""
    value = tiff_tags(exif.removeprefix(b"Exif\0\0"), {ORIENTATION}).get(ORIENTATION, (1,))
    return value[0] if len(value) == 1 and 1 <= value[0] <= 8 else 1


def webp_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) of a WebP's canvas (RFC 9649), None where its header is cut off or unknown."""
    kind, body = data[12:16], data[20:30]
    if kind == b"VP8X" and len(body) == 10:
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L" and len(body) >= 5 and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a" and len(body) == 10:
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    return None


def png_chunks(data: bytes) -> dict[bytes, bytes]:
    """The first chunk of each kind (IDAT without its content), as far as the file goes."""
    found: dict[bytes, bytes] = {}
    at = 8
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if at + 12 + size > len(data) and kind != b"IEND":
            break
        if kind not in found:
            found[kind] = b"" if kind == b"IDAT" else data[at + 8 : at + 8 + size]
        at += 12 + size
    return found


def cut_off(kind: str, data: bytes) -> bool:
    """Whether a file's container says that it should be longer than it is."""
    if kind == "png":
        return b"IEND" not in png_chunks(data)
    if kind == "webp":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if kind == "gif":
        return not data.rstrip(b"\0").endswith(b";")
    if kind == "tiff":
        tags = tiff_tags(data, {WIDTH, STRIPS, STRIP_SIZES, TILES, TILE_SIZES})
        starts, sizes = tags.get(STRIPS, tags.get(TILES, ())), tags.get(STRIP_SIZES, tags.get(TILE_SIZES, ()))
        return WIDTH not in tags or any(at + size > len(data) for at, size in zip(starts, sizes, strict=False))
    return kind in ("avif", "heic") and _boxes_end(data) > len(data)


def _boxes_end(data: bytes) -> int:
    """Where the top-level boxes of an ISO base media file say it ends."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8:  # 0: to the end of the file
            return len(data)
        at += size
    return at
