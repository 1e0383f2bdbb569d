"""An audit in plain sentences: what it comes to, what to do first, and its measurements with their units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from anmok.report.audit_content import AuditContent
from anmok.report.audit_kinds import counted, kind_of, ordered
from anmok.report.words import count


class Verdict(NamedTuple):
    """Whether to train on the set: 'unsafe', 'care' or 'safe', in a few words, and why in a sentence."""

    level: str
    said: str
    why: str


_UNSAFE = {"leakage": "in two splits", "conflicting-labels": "under two labels"}


def verdict(content: AuditContent) -> Verdict:
    """What the audit comes to."""
    sure = {k: n - content.alike.get(k, 0) for k, n in content.found.items() if kind_of(k).level == "unsafe"}
    found = {k: sure[k] for k in ordered(sure) if sure[k]}
    if found:
        why = f"The same image stands {_where(found)}, so a score on this set would mislead."
        more = f" Images that are almost the same stand {_where(content.alike)}." if any(content.alike.values()) else ""
        return Verdict("unsafe", "Not safe to train on yet", why + more)
    if not content.readable:
        return Verdict("unsafe", "Nothing to train on", "No image can be read.")
    if not any(content.classes.values()):
        return Verdict("care", "Nothing to learn from yet", "No image has a label.")
    checked = "No image stands under two labels" + (", none in two splits" if _split(content) else "")
    why = f"{checked}."
    lost = content.images - content.readable
    if lost:
        why += f" {count(lost, 'image')} cannot be used and {'is' if lost == 1 else 'are'} left out."
    if any(content.alike.values()):
        why += f" Images that are almost the same stand {_where(content.alike)}: look at them."
        return Verdict("care", "Safe to train on, with care", why)
    doubts = [k for k in ("suspect-label", "shortcut") if content.found.get(k)]
    if doubts:
        doubt = " and ".join(_lower(kind_of(k).title) for k in doubts)
        return Verdict("care", "Safe to train on, with care", f"{why} But look at the {doubt}.")
    return Verdict("safe", "Safe to train on", why)


def _where(found: Mapping[str, int]) -> str:
    return " and ".join(
        f"{_UNSAFE.get(k, 'where it must not')} ({counted(k, found[k])})" for k in ordered(found) if found[k]
    )


def advice(content: AuditContent, most: int = 3) -> list[tuple[str, str, str]]:
    """(kind, what it is about, what to do) of the most important things to do, at most `most`."""
    out = [
        (kind, f"{kind_of(kind).title} ({counted(kind, content.found[kind])})", kind_of(kind).do)
        for kind in ordered(content.found)
        if kind_of(kind).level != "know"
    ]
    if content.classes and not _split(content):
        out.insert(
            min(len(out), most - 1),
            ("", "There is no split yet", "Make one that keeps duplicates together: `anmok split DATA --audit AUDIT`."),
        )
    return out[:most]


def _split(content: AuditContent) -> bool:
    return bool(set(content.splits) - {"none"})


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


class Measure(NamedTuple):
    """A measurement: heading, what it means, the words for its low and its high end, decimals (None: three digits)."""

    title: str
    means: str
    low: str = "lowest"
    high: str = "highest"
    decimals: int | None = None


MEASURES: dict[str, Measure] = {
    "brightness": Measure("Brightness", "mean grey, from 0 (black) to 1 (white)", "darkest", "brightest", 2),
    "contrast": Measure("Contrast", "how much grey varies within an image", "flattest", "richest in contrast", 2),
    "sharpness": Measure("Sharpness", "of the strongest edges; blurry ones stand left", "blurriest", "sharpest", 2),
    "detail": Measure("Detail", "how much neighbouring pixels differ", "plainest", "busiest", 3),
    "colorfulness": Measure("Colourfulness", "0 is grey, 33 moderate, 82 high", "greyest", "most colourful", 0),
    "entropy": Measure("Entropy", "of grey, in bits; near 0 is all one colour", "emptiest", "richest", 1),
    "bytes": Measure("File size", "bytes of a file", "smallest", "largest"),
    "jpeg_quality": Measure("JPEG quality", "as the file was saved; low ones show blocks", "coarsest", "finest", 0),
    "width": Measure("Width", "pixels", "narrowest", "widest", 0),
    "height": Measure("Height", "pixels", "lowest", "tallest", 0),
    "pixels": Measure("Number of pixels", "width times height", "smallest", "largest", 0),
    "aspect": Measure("Shape", "width over height", "tallest", "widest", 2),
    "mtime": Measure("File time", "when the file was last changed", "oldest", "newest"),
    "format": Measure("Format", "what the bytes of the file say"),
    "chroma": Measure("Colour", "how far the channels are apart", "greyest", "most colourful", 2),
}


def measure_of(name: str) -> Measure:
    """A measurement by the name of its column."""
    return MEASURES.get(name) or Measure(name.replace("_", " ").capitalize(), "")


def measured(name: str, value: float) -> str:
    """A value of a measurement as text, with its unit."""
    if name == "bytes":
        return size(value)
    if name == "mtime":
        return moment(value)
    decimals = measure_of(name).decimals
    if decimals is None:
        decimals = 0 if value == int(value) else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def tick(name: str, value: float) -> str:
    """A round value as text under an axis: no zeros behind the point."""
    if name == "bytes":
        return size(value).replace(".0 ", " ")
    return moment(value)[:10] if name == "mtime" else f"{value:,.6g}"


def moment(seconds: float) -> str:
    """A time (seconds since 1970, UTC) as text, '' of one that no calendar holds."""
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return ""


def size(n: float) -> str:
    """Bytes as text: '48 B', '23.4 kB', '1.2 GB'."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(n) < 999.5 or unit == "TB":
            return f"{n:.0f} {unit}" if unit == "B" or n >= 99.95 else f"{n:.1f} {unit}"
        n /= 1000
    return ""


def ends(name: str, medians: Mapping[str, float]) -> str:
    """The classes at the two ends of a property: 'Smallest in glass (median 14 kB), largest in paper (23 kB).'"""
    if len(medians) < 2:
        return ""
    m, low, high = measure_of(name), min(medians, key=medians.__getitem__), max(medians, key=medians.__getitem__)
    least, most = measured(name, medians[low]), measured(name, medians[high])
    if least == most:
        return ""
    return f"{m.low.capitalize()} in {low} (median {least}), {m.high} in {high} ({most})."
