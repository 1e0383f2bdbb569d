"""The measurements of one image: one row, from its bytes, read once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anmok.audit.hashes import HASHES, perceptual
from anmok.audit.jpeg_quality import quality_of, read_markers
from anmok.audit.pixels import PERCENTILES, SIDE, color, edges, light, reduce
from anmok.data.decode import decode, probe
from anmok.data.header import png_chunks
from anmok.data.table import content_hash

if TYPE_CHECKING:
    import numpy as np

_HEADER = (
    "format", "width", "height", "mode", "channels", "bits", "alpha", "orientation", "icc", "animated", "frames",
)  # fmt: skip

# What the pass measures, and the polars type of each; a later measurement is one more entry here and in `measure`.
MEASURES: dict[str, str] = {
    **dict.fromkeys(("bytes", "width", "height", "channels", "bits", "orientation", "frames", "jpeg_quality"), "Int64"),
    **dict.fromkeys(("hash", "format", "mode", "fault", "reason", "notes"), "String"),
    **dict.fromkeys(("alpha", "exif", "icc", "animated"), "Boolean"),
    **dict.fromkeys(
        (
            "mtime", "brightness", "contrast", *PERCENTILES, "entropy", "colorfulness", "chroma", "sharpness",
            "detail", "mean_r", "mean_g", "mean_b", "std_r", "std_g", "std_b",
        ),
        "Float64",
    ),
    **dict.fromkeys(HASHES, "UInt64"),
}  # fmt: skip


def measure(data: bytes, found: dict[str, Any]) -> None:
    """Fill `found` with the measurements of one image, as far as it can be read.  ImageError where it ends early."""
    found["bytes"], found["hash"] = len(data), content_hash(data)
    info = probe(data)
    for key in _HEADER:
        found[key] = getattr(info, key)
    if info.format == "jpeg":
        markers = read_markers(data)
        found["exif"], found["jpeg_quality"] = markers.exif, quality_of(markers.tables)
    else:
        found["exif"] = has_exif(data, info.format)
    notes: list[str] = []
    pixels = decode(data, min_side=SIDE, on_note=notes.append)
    found["notes"] = "\n".join(notes) or None
    look(pixels, found)


def look(pixels: np.ndarray, found: dict[str, Any]) -> None:
    """Fill `found` with what the pixels say.  uint8[H, W, 3]."""
    import cv2

    small = reduce(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
    found |= color(pixels)
    found |= light(small)
    found |= edges(small)
    found |= zip(HASHES, perceptual(small), strict=True)


def has_exif(data: bytes, kind: str) -> bool | None:
    """Whether a PNG or WebP holds EXIF; None for a format where that is not read."""
    if kind == "png":
        return b"eXIf" in png_chunks(data)
    if kind == "webp":
        return data[12:16] == b"VP8X" and bool(data[20] & 8)
    return None
