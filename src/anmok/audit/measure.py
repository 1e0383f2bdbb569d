"""The measurements of one image: one row, from its bytes, read once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from anmok.audit.hashes import HASHES, hashes_of, thumbnail
from anmok.audit.jpeg_quality import quality_of, read_markers
from anmok.audit.pixels import PERCENTILES, SIDE, color, edges, histogram, light_of, reduce
from anmok.data.decode import decode
from anmok.data.header import ImageInfo, png_chunks
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


class Seen(NamedTuple):
    """The measurements of a picture as far as they are, and its luma uint8[H, W] as `reduce` gives it for the rest."""

    found: dict[str, Any]
    small: np.ndarray


def measure(data: bytes, found: dict[str, Any]) -> None:
    """Fill `found` with the measurements of one image, as far as it can be read.  ImageError where it ends early."""
    complete([inspect(data, found)])


def inspect(data: bytes, found: dict[str, Any]) -> Seen:
    """`measure` but for what `complete` adds."""
    import cv2

    found["bytes"], found["hash"] = len(data), content_hash(data)
    notes: list[str] = []
    pixels = decode(data, min_side=SIDE, on_note=notes.append, on_info=lambda info: _header(info, data, found))
    found["notes"] = "\n".join(notes) or None
    found |= color(pixels)
    return Seen(found, reduce(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)))


def _header(info: ImageInfo, data: bytes, found: dict[str, Any]) -> None:
    """Fill `found` with what stands before the pixels."""
    for key in _HEADER:
        found[key] = getattr(info, key)
    if info.format == "jpeg":
        markers = read_markers(data)
        found["exif"], found["jpeg_quality"] = markers.exif, quality_of(markers.tables)
    else:
        found["exif"] = has_exif(data, info.format)


def complete(pictures: Sequence[Seen]) -> None:
    """The rest of the measurements, of some pictures together.

    Step by step, not picture by picture: what a step needs stays in the caches, and numpy is called once for all.
    """
    for seen in pictures:
        seen.found.update(edges(seen.small))
    lights = light_of([histogram(seen.small) for seen in pictures])
    hashes = hashes_of([thumbnail(seen.small) for seen in pictures])
    for seen, shades, values in zip(pictures, lights, hashes, strict=True):
        seen.found.update(shades)
        seen.found.update(zip(HASHES, values, strict=True))


def has_exif(data: bytes, kind: str) -> bool | None:
    """Whether a PNG or WebP holds EXIF; None for a format where that is not read."""
    if kind == "png":
        return b"eXIf" in png_chunks(data)
    if kind == "webp":
        return data[12:16] == b"VP8X" and bool(data[20] & 8)
    return None
