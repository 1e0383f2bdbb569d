"""Near duplicates where they do harm: on two sides of a split, or under two labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from anmok.core.types import Finding
from anmok.data.duplicates import ORDER

if TYPE_CHECKING:
    import polars as pl

    from anmok.audit.duplicates import Near
    from anmok.data.table import Table

_UNORDERED = 3  # the place of a row that is in none of train, val, test


class _Row(NamedTuple):
    id: str
    label: str | list[str] | None
    split: str | None
    order: int
    content: str | None


def crossings(near: Near, images: pl.DataFrame, table: Table) -> list[Finding]:
    """`leakage` and `conflicting-labels` among near duplicates; `data.duplicates` tells those of identical files.

    leakage: each row of val or test with one of an earlier split (train, then val) in its group: one it was confirmed
    with if there is, else the first.  conflicting-labels: each confirmed pair whose two labels differ.  Score and
    evidence are those of the pair, so a score is below 1 unless the pixels are the same; images: what `near` is of.
    """
    contents = dict(zip(images["id"].to_list(), images["hash"].to_list(), strict=True))
    rows = {
        name: _Row(name, label, split, ORDER.get(split or "", _UNORDERED), contents.get(name))
        for name, label, split in table.rows.select("id", "label", "split").iter_rows()
    }
    return [*_leaks(near, images, rows), *_conflicts(near, rows)]


def _leaks(near: Near, images: pl.DataFrame, rows: dict[str, _Row]) -> Iterator[Finding]:
    confirmed: dict[str, list[Finding]] = defaultdict(list)
    for finding in near.findings:
        for name in finding.ids:
            confirmed[name].append(finding)
    groups: dict[str, list[_Row]] = defaultdict(list)
    for name, group in zip(images["id"].to_list(), near.group.to_list(), strict=True):
        if group is not None and name in rows:
            groups[group].append(rows[name])
    for group in groups.values():
        first = min(group, key=lambda row: row.order)
        earliest: dict[str | None, int] = {}
        for row in group:
            earliest[row.content] = min(row.order, earliest.get(row.content, row.order))
        for row in group:
            if row.order == _UNORDERED or row.order == first.order or earliest[row.content] < row.order:
                continue
            yield _leak(row, first, confirmed[row.id], rows)


def _leak(row: _Row, first: _Row, confirmed: list[Finding], rows: dict[str, _Row]) -> Finding:
    for finding in confirmed:
        other = rows.get(next(name for name in finding.ids if name != row.id))
        if other is not None and other.order < row.order:
            evidence = f"{other.split} / {row.split}; {finding.evidence}"
            return Finding("leakage", [other.id, row.id], finding.score, evidence, "group")
    score = min((finding.score for finding in confirmed), default=1.0)
    evidence = f"{first.split} / {row.split}; alike by way of others in their group"
    return Finding("leakage", [first.id, row.id], score, evidence, "group")


def _conflicts(near: Near, rows: dict[str, _Row]) -> Iterator[Finding]:
    for finding in near.findings:
        one, other = (rows.get(name) for name in finding.ids)
        if one and other and one.label is not None and other.label is not None and one.label != other.label:
            evidence = f"{_said(one.label)} / {_said(other.label)}; {finding.evidence}"
            # A likeness is no proof: nothing is thrown away for it.
            yield Finding(
                "conflicting-labels", finding.ids, finding.score, evidence, "" if finding.score == 1 else "group"
            )


def _said(label: str | list[str]) -> str:
    return label if isinstance(label, str) else ";".join(label) or "none"
