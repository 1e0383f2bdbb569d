"""One image's row of measurements, and the memory account, as a report tells them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from anmok.core.text import visible
from anmok.report.audit_words import measured

if TYPE_CHECKING:
    import polars as pl

# What the viewer tells of an image first, and how it is called; every other column follows by its own name.
_FIRST = {
    "size": "size", "bytes": "file size", "format": "format", "mode": "colours", "jpeg_quality": "JPEG quality",
    "brightness": "brightness", "contrast": "contrast", "sharpness": "sharpness", "colorfulness": "colourfulness",
    "entropy": "entropy (bits)", "mean": "mean red, green, blue", "std": "their deviation", "mtime": "changed (UTC)",
    "group": "duplicate of", "image": "stored as",
}  # fmt: skip
_JOINED = {"size": ("width", "height"), **{m: tuple(f"{m}_{c}" for c in "rgb") for m in ("mean", "std")}}
_APART = {"id", "likely", "likely_prob", *(column for columns in _JOINED.values() for column in columns)}


def fields(images: pl.DataFrame) -> dict[str, str]:
    """{measurement: name} of what the viewer tells, in order; 'size', 'mean' and 'std' join several columns."""
    first = {
        name: said for name, said in _FIRST.items() if all(c in images.columns for c in _JOINED.get(name, (name,)))
    }
    rest = [name for name in images.columns if name not in first and name not in _APART]
    return first | {name: name.replace("_", " ") for name in rest}


def facts(row: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """The measurements of one image as text, '' where there is none, or where it would repeat the image's name."""
    return [_fact(row, name) for name in names]


def _fact(row: Mapping[str, Any], name: str) -> str:
    if name in _JOINED:
        values = [row[column] for column in _JOINED[name]]
        if None in values:
            return ""
        return f"{values[0]:,} × {values[1]:,}" if name == "size" else ", ".join(f"{v:.3f}" for v in values)
    value = row[name]
    if value is None or (name in ("image", "group") and value == row["id"]):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if not math.isfinite(value):
            return ""
        return f"{value:016x}" if isinstance(value, int) and value > 1 << 40 else measured(name, value)  # a hash
    return value.upper() if name == "format" else visible(str(value))


# The bars of the memory account, of the set and then of the machine, and how each is called.
_SIZES = {
    "files_bytes": "the files", "decoded_256_bytes": "decoded to 256 pixels, uint8", "uint8_bytes": "all pixels, uint8",
    "float32_bytes": "all pixels, float32", "batch_bytes": "one batch, float32", "ram_free_bytes": "free memory",
    "gpu_free_bytes": "free GPU memory",
}  # fmt: skip


def memory(account: Mapping[str, Any]) -> dict[str, int]:
    """{what: bytes} of a memory account: the set in each of its forms, and what is free."""
    return {said: account[name] for name, said in _SIZES.items() if account.get(name)}
