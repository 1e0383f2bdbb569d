"""The page of an audit: one HTML file, everything inside, that shows a set to somebody who has never seen it.

As for a run's page: every text is escaped, data travel as JSON that no text can break out of, and a content security
policy allows the page's own script by its hash and nothing from anywhere else.  The page can be read without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from anmok.core.files import write_atomic
from anmok.report import audit_figures, words
from anmok.report.audit_content import AuditContent, Histogram, Image, Listed, Shortcut
from anmok.report.audit_kinds import BALANCE, SAME, counted, kind_of, ordered
from anmok.report.audit_words import advice, ends, measure_of, measured, size, tick, verdict
from anmok.report.shell import asset, block, picture_address, script_hash, style, template

OPEN_SHEETS = 16  # contact sheets that are not folded away
OPEN_GROUPS = 6
OPEN_ROWS = 40  # classes listed without a scroll bar
FORMS = {
    "format": "Format", "mode": "Colours", "bits": "Bits a channel", "orientation": "EXIF orientation",
    "alpha": "Transparency", "icc": "Colour profile", "exif": "EXIF", "animated": "Animated",
}  # fmt: skip


def write_audit_report(path: Path | str, content: AuditContent) -> Path:
    """Write the page atomically and return its path."""
    return write_atomic(path, render_audit(content))


def render_audit(content: AuditContent) -> str:
    """The page as text."""
    script = asset("audit.js")
    filters = {"told": _told, "coded": _coded, "address": picture_address, "readable": _readable}
    found = ordered(content.found)
    parts, shortcuts = _parts(content), [_shortcut(s) for s in content.shortcuts]
    return template("audit.html.j2", filters).render(
        content=content,
        verdict=verdict(content),
        advice=[(_place(kind, parts), *said) for kind, *said in advice(content)],
        tiles=_tiles(content),
        overview=[(name, kind_of(name), counted(name, content.found[name]), _place(name, parts)) for name in found],
        kind_of=kind_of,
        counted=counted,
        parts=parts,
        picture=_Pictures(content.shown),
        classes=_class_rows(content),
        open_sheets=OPEN_SHEETS,
        open_groups=OPEN_GROUPS,
        open_rows=OPEN_ROWS,
        figures=audit_figures,
        histograms=[_histogram(h) for h in content.histograms],
        forms=_forms(content.forms, content.readable),
        shortcuts=shortcuts,
        told_shortcuts=[s for s in shortcuts if s["evidence"]] or ([] if parts["shortcuts"] else shortcuts[:1]),
        memory=[(name, n, size(n)) for name, n in content.memory.items()],
        style=style("report.css", "audit.css"),
        script=script,
        hashes=[script_hash(script)],
        viewer=_viewer(content),
    )


class _Pictures:
    """Pictures of images by key: the bytes stand in the page once, at the first mention; its script copies them.

    Calling it gives {place, first, image}: the place of the image among all, and whether its bytes stand here.
    """

    def __init__(self, shown: Mapping[str, Image]):
        self.shown, self.seen = shown, set[str]()
        self.places = {key: place for place, key in enumerate(shown)}

    def __call__(self, key: str) -> dict[str, Any]:
        first = key not in self.seen
        self.seen.add(key)
        return {"place": self.places[key], "first": first, "image": self.shown[key]}


def _viewer(content: AuditContent) -> Any:
    """What the viewer tells of each image: name, label, split, measurements, findings."""
    images = [
        [i.name, i.label, i.split, list(i.facts), [[kind_of(kind).title, said] for kind, said in i.findings]]
        for i in content.shown.values()
    ]
    return block({"fields": list(content.fields), "images": images})


# The section that a kind is shown in, else that of its level; and the id by which each is reached.
_OWN = {
    **dict.fromkeys(SAME, "same"), **dict.fromkeys(BALANCE, "balance"), "suspect-label": "suspects",
    "shortcut": "shortcuts",
}  # fmt: skip
_PLACES = {
    "unsafe": "unsafe", "fix": "broken", "look": "odd", "know": "know", "same": "same", "suspects": "suspects",
    "shortcuts": "shortcuts", "balance": "classes",
}  # fmt: skip


def _parts(content: AuditContent) -> dict[str, list[Listed]]:
    """The kinds of each section of the page, gravest first."""
    out: dict[str, list[Listed]] = {name: [] for name in _PLACES}
    for listed in content.listed:
        out[_OWN.get(listed.kind, kind_of(listed.kind).level)].append(listed)
    return out


def _place(kind: str, parts: Mapping[str, list[Listed]]) -> str:
    """The id of the section that shows a kind, '' where none does."""
    return next((_PLACES[name] for name, of in parts.items() if any(one.kind == kind for one in of)), "")


def _tiles(content: AuditContent) -> list[tuple[str, str, str]]:
    """(what, number, remark) of the figures that stand on top."""
    lost = content.images - content.readable
    splits = {name: n for name, n in content.splits.items() if name != "none"}
    tiles = [("images", f"{content.images:,}", f"{lost:,} cannot be used" if lost else "all can be read")]
    if content.classes:
        most, least = max(content.classes.values()), min(content.classes.values())
        each = f"{least:,} images each" if least == most else f"{least:,} to {most:,} images each"
        tiles.append(("classes", f"{len(content.classes):,}", each))
    groups = f"in {words.count(content.groups, 'group')}" if content.groups else "none found"
    tiles.append(("duplicates", f"{content.duplicates:,}", groups))
    said = " · ".join(f"{name} {n:,}" for name, n in splits.items())
    tiles.append(("splits", f"{len(splits)}" if splits else "none", said or "not split yet"))
    return tiles


def _class_rows(content: AuditContent) -> list[tuple[str, dict[str, int], int]]:
    """(label, {split: images}, total) of each class."""
    return [
        (label, {split: of.get(label, 0) for split, of in content.counts.items()}, total)
        for label, total in content.classes.items()
    ]


def _histogram(h: Histogram) -> dict[str, Any]:
    m, text = measure_of(h.measure), partial(measured, h.measure)
    low, middle, high = (text(v) for v in h.spread)
    same = sum(h.counts) and low == high and sum(c > 0 for c in h.counts) == 1
    caption = f"all about {middle}" if same else f"half below {middle}; nine in ten from {low} to {high}"
    return {
        "title": m.title,
        "means": m.means,
        "caption": caption,
        "figure": None if same else audit_figures.histogram(
            h, text, partial(tick, h.measure), name=f"Histogram of {m.title.lower()}: {caption}"
        ),
        "classes": audit_figures.spreads(
            h.by_class, text, low=h.edges[0], high=h.edges[-1], logarithmic=h.logarithmic
        ) if h.by_class else None,
    }  # fmt: skip


def _shortcut(s: Shortcut) -> dict[str, Any]:
    m, text = measure_of(s.measure), partial(measured, s.measure)
    return {
        "title": m.title,
        "label": s.label,
        "score": words.percent(s.score),
        "chance": words.percent(s.chance),
        "p": f"{s.p:.3f}",
        "evidence": s.evidence,
        "ends": ends(s.measure, {name: spread.median for name, spread in s.by_class.items()}),
        "figure": audit_figures.spreads(s.by_class, text) if s.by_class else None,
        "shares": [
            (label, ", ".join(f"{value} {words.percent(share)}" for value, share in of.items()))
            for label, of in s.shares.items()
        ],
    }


def _forms(forms: Mapping[str, Mapping[str, int]], images: int) -> dict[str, Any]:
    """What the files are: as one sentence where it is the same for all, else as bars."""
    alike = [
        f"{FORMS.get(name, name)}: {next(iter(of))}"
        for name, of in forms.items()
        if len(of) == 1 and sum(of.values()) == images
    ]
    mixed = {
        FORMS.get(name, name): audit_figures.bars([(value, n, f"{n:,}") for value, n in list(of.items())[:8]])
        for name, of in forms.items()
        if not (len(of) == 1 and sum(of.values()) == images)
    }
    return {"alike": alike, "mixed": mixed}


def _told(score: float) -> str:
    """A score as text: as many digits as tell it from another."""
    return f"{score:.3g}" if abs(score) < 1000 else f"{score:,.0f}"


def _coded(text: str) -> Any:
    """A sentence whose commands stand in backticks."""
    from markupsafe import Markup

    parts = text.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(parts))


def _readable(image: Image) -> str:
    """What a picture shows, for those who do not see it."""
    return f"{image.name}, {image.label}" if image.label else image.name
