"""Which images the report of an audit shows: contact sheets, the worst of each finding, groups that are the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.audit.result import Audit
from anmok.core.text import visible
from anmok.data.table import Table
from anmok.report.audit_content import Group, Listed, Row, Sheet
from anmok.report.audit_kinds import SAME, Kind, kind_of, ordered
from anmok.report.audit_words import measure_of, measured

if TYPE_CHECKING:
    import polars as pl

MOST, LEAST = 1500, 240  # images of a page, however large or small the set
OF_ALL = 10  # one of so many is shown, in between
SHEETS, IN_SHEET, LONE_SHEET = 60, 12, 40  # classes, images of one, images of a set without labels
TOLD = 40  # findings of a kind that are told without their images
IN_ROW, GROUPS, IN_GROUP = 6, 12, 6
MEANS = 48


@dataclass(frozen=True, eq=False)
class Choice:
    """The parts of a page by ids, and `ids`: all that need a picture, the most important first, at most `MOST`."""

    sheets: list[Sheet]
    listed: list[Listed]
    same: list[Group]
    ids: list[str]


def choose(audit: Audit, table: Table) -> Choice:
    """What the page shows of an audit."""
    known = dict.fromkeys(audit.images["id"])
    most = min(MOST, max(LEAST, audit.images.height // OF_ALL))
    found = audit.findings.partition_by("kind", as_dict=True)
    listed = [listing(found[(kind,)], kind, known) for kind in ordered({kind: 1 for (kind,) in found})]
    sheets = contact_sheets(audit, table, most)
    same = same_groups(audit, table)
    unsafe = [row.keys for k in listed if kind_of(k.kind).level == "unsafe" for row in k.shown]
    rest = [row.keys for k in listed if kind_of(k.kind).level != "unsafe" and k.kind not in SAME for row in k.shown]
    wanted = [*unsafe, *(s.keys for s in sheets), *([k for k, _ in g.members] for g in same), *rest]
    return Choice(sheets, listed, same, list(dict.fromkeys(i for ids in wanted for i in ids))[:most])


def evenly(n: int, most: int) -> list[int]:
    """At most `most` of 0 … n - 1, evenly apart, from first to last."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int)).tolist() if n and most > 0 else []


def members(audit: Audit, table: Table) -> dict[str | None, list[str]]:
    """Ids of the readable images of each class, in the order of classes and table; None: of those without a label."""
    import polars as pl

    readable = audit.images.filter(pl.col("fault").is_null()).select("id")
    rows = table.rows.select("id", "label").join(readable, on="id", how="inner", maintain_order="left")
    if rows.schema["label"] == pl.List(pl.String):
        rows = rows.explode("label")
    found = dict(rows.group_by("label", maintain_order=True).agg("id").iter_rows())
    return {name: found[name] for name in (*table.classes, None) if name in found}


def contact_sheets(audit: Audit, table: Table, most: int) -> list[Sheet]:
    """A few images of each class, evenly taken; of many classes, some, evenly taken."""
    found = members(audit, table)
    if list(found) == [None]:
        return [_sheet("All images", found[None], LONE_SHEET)]
    names = [name for name in found if name is not None]
    some = [names[i] for i in evenly(len(names), SHEETS)]
    each = max(2, min(IN_SHEET, int(0.4 * most / max(1, len(some)))))
    sheets = [_sheet(name, found[name], each) for name in some]
    return sheets + ([_sheet("without a label", found[None], each)] if None in found else [])


def _sheet(title: str, ids: Sequence[str], most: int) -> Sheet:
    return Sheet(visible(title), len(ids), [ids[i] for i in evenly(len(ids), most)])


def listing(findings: pl.DataFrame, name: str, known: Mapping[str, Any]) -> Listed:
    """The findings of one kind, worst first; images that the table does not hold are told by name only."""
    kind = kind_of(name)
    first = worst(findings, kind).head(kind.pictures + TOLD)
    rows = [
        Row([i for i in ids[:IN_ROW] if i in known], score, visible(evidence), visible(decision), _names(ids))
        for ids, score, evidence, decision in first.select("ids", "score", "evidence", "decision").iter_rows()
    ]
    shown = [row for row in rows if row.keys][: kind.pictures]
    chosen = set(map(id, shown))
    return Listed(name, findings.height, shown, [row for row in rows if id(row) not in chosen][:TOLD])


def worst(findings: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """The findings, worst first; ties stay in their order."""
    import polars as pl

    score = pl.col("score").log().abs() if kind.worst == "far" else pl.col("score")
    return findings.sort(score, descending=kind.worst != "low", nulls_last=True, maintain_order=True)


def _names(ids: Iterable[str]) -> list[str]:
    ids = list(ids)
    more = [f"and {len(ids) - IN_ROW:,} more"] if len(ids) > IN_ROW else []
    return [visible(i) for i in ids[:IN_ROW]] + more


def same_groups(audit: Audit, table: Table) -> list[Group]:
    """Duplicate groups with what differs in them: those of two labels or splits first, then the largest."""
    import polars as pl

    if "group" not in audit.images.columns:
        return []
    rows = audit.images.filter(pl.col("group").is_not_null())
    rows = rows.join(table.rows.select("id", "label", "split"), on="id", how="left", maintain_order="left")
    if rows.schema["label"] == pl.List(pl.String):
        rows = rows.with_columns(pl.col("label").list.join(", "))
    apart = pl.col("label").n_unique() + pl.col("split").n_unique()
    order = rows.group_by("group", maintain_order=True).agg(apart.alias("apart"), pl.len().alias("n"))
    order = order.filter(pl.col("n") > 1).sort("apart", "n", descending=True, maintain_order=True).head(GROUPS)
    chosen = order["group"].to_list()
    by_group = rows.filter(pl.col("group").is_in(chosen)).partition_by("group", as_dict=True)
    evidence = _evidence(audit, {i: g for g in chosen for i in by_group[(g,)]["id"]})
    return [
        Group(differences(by_group[(g,)].head(IN_GROUP)), by_group[(g,)].height, evidence.get(g, [])) for g in chosen
    ]


def _evidence(audit: Audit, group_of: Mapping[str, str]) -> dict[str, list[str]]:
    """What the pairs of each group say, every sentence once."""
    import polars as pl

    out: dict[str, dict[str, None]] = {}
    pairs = audit.findings.filter(pl.col("kind").is_in(SAME) & pl.col("ids").list.first().is_in(list(group_of)))
    for kind, ids, evidence in pairs.select("kind", "ids", "evidence").iter_rows():
        said = kind_of(kind).title if kind == "exact-duplicate" else visible(evidence)  # not the hash
        out.setdefault(group_of[ids[0]], {})[said] = None
    return {g: list(said)[:4] for g, said in out.items()}


# What may tell two images of a group apart, and how it is said.
_DIFFERENT = ("label", "split", "size", "format", "bytes", "jpeg_quality", "brightness", "contrast", "sharpness")


def differences(rows: pl.DataFrame) -> list[tuple[str, list[tuple[str, str]]]]:
    """(id, [(measurement, value as text)]) of each image, those measurements on which the images differ."""
    images = []
    for row in rows.iter_rows(named=True):
        said: dict[str, str] = {}
        for name in _DIFFERENT:
            value = row.get(name)
            if name == "size":
                said[name] = f"{row['width']} × {row['height']}" if row.get("width") else ""
            elif isinstance(value, float) and not math.isfinite(value):
                said[name] = ""
            else:
                said[name] = measured(name, value) if isinstance(value, int | float) else visible(value or "")
        images.append((row["id"], said))
    apart = [name for name in _DIFFERENT if len({said[name] for _, said in images}) > 1]
    titles = {name: name if name in ("label", "split", "size") else measure_of(name).title for name in apart}
    return [(key, [(titles[name], said[name] or "none") for name in apart]) for key, said in images]
