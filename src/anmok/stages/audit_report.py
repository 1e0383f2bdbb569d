"""What an audit knows, gathered for its page: images chosen, decoded and made small; the report room lays it out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anmok.audit.result import Audit, alike
from anmok.core.machine import cores
from anmok.core.text import visible
from anmok.data.table import Table, class_counts, split_counts
from anmok.report.audit_content import AuditContent, Image, Mean, Picture
from anmok.report.audit_page import write_audit_report
from anmok.stages.audit_choice import MEANS, Choice, choose, evenly, members
from anmok.stages.audit_facts import facts, fields, memory
from anmok.stages.audit_measures import distributions, forms, shortcuts, size_points
from anmok.stages.audit_pictures import mean_pictures, pictures

OF_MEAN = 240  # images of all mean pictures together, at most 64 and at least 8 of a class


def audit_report(audit: Audit, table: Table, path: Path | str, *, threads: int | None = None) -> Path:
    """Write the page of an audit, one file that is complete in itself, and return its path.

    table: the one that was audited; its storage is read again for the images that are shown.
    """
    return write_audit_report(path, gather(audit, table, threads or cores()))


def gather(audit: Audit, table: Table, threads: int) -> AuditContent:
    """The content of the page."""
    import polars as pl

    images, summary = audit.images, audit.summary
    choice = choose(audit, table)
    references = dict(images.filter(pl.col("id").is_in(choice.ids)).select("id", "image").iter_rows())
    made = pictures(table.storage, {i: references[i] for i in choice.ids}, threads)
    readable = images.filter(pl.col("fault").is_null())
    labels = _labels(readable, table)
    grouped = images["group"].drop_nulls() if "group" in images.columns else pl.Series([], dtype=pl.String)
    counts = {name: class_counts(rows) for name, rows in _splits(table).items()} if table.classes else {}
    return AuditContent(
        title=table.root.resolve().name or "the set",
        task=table.task if table.classes else "",
        images=images.height,
        readable=readable.height,
        classes={visible(name): n for name, n in class_counts(table).items()},
        counts={split: {visible(name): n for name, n in of.items()} for split, of in counts.items()},
        splits=split_counts(table),
        duplicates=len(grouped) - grouped.n_unique(),
        groups=grouped.n_unique(),
        seconds=summary["seconds"],
        found=summary["findings"],
        alike=alike(audit),
        shown=shown(audit, table, choice, made),
        fields=list(fields(images).values()),
        sheets=choice.sheets,
        means=means(audit, table, threads),
        listed=choice.listed,
        same=choice.same,
        sizes=size_points(images),
        histograms=distributions(readable, labels, table.classes),
        forms=forms(readable),
        shortcuts=shortcuts(
            summary.get("shortcuts", ()), audit.of("shortcut")["evidence"], readable, labels, table.classes
        ),
        memory=memory(summary["memory"]),
        fits=summary["memory"].get("fits", ""),
        notes=[visible(n) for n in table.notes if not n.startswith("warning: ")],
        warnings=[visible(n.removeprefix("warning: ")) for n in table.notes if n.startswith("warning: ")],
        facts=_facts(summary, table),
    )


def shown(audit: Audit, table: Table, choice: Choice, made: Mapping[str, Picture]) -> dict[str, Image]:
    """Every image that the page names with a picture or a place for one: its label, its measurements, its findings."""
    import polars as pl

    parts = [row.keys for listed in choice.listed for row in listed.shown]
    parts += [sheet.keys for sheet in choice.sheets]
    parts += [[key for key, _ in group.members] for group in choice.same]
    wanted = list(dict.fromkeys(i for ids in parts for i in ids))
    names = fields(audit.images)
    found: dict[str, list[tuple[str, str]]] = {i: [] for i in wanted}
    rows = audit.findings.filter(pl.col("ids").list.eval(pl.element().is_in(wanted)).list.any())
    for kind, ids, evidence in rows.select("kind", "ids", "evidence").iter_rows():
        for i in ids:
            if i in found:
                found[i].append((kind, visible(evidence)))
    said = table.rows.filter(pl.col("id").is_in(wanted)).select("id", "label", "split")
    labels = {i: (_said(label), split or "") for i, label, split in said.iter_rows()}
    measured = audit.images.filter(pl.col("id").is_in(wanted))
    out = {}
    for row in measured.iter_rows(named=True):
        key = row["id"]
        label, split = labels.get(key, ("", ""))
        picture = made.get(key, Picture())
        out[key] = Image(visible(key), label, split, picture, facts(row, names), found[key])
    return out


def means(audit: Audit, table: Table, threads: int) -> list[Mean]:
    """The mean picture of each class (of many classes, of some), over images evenly taken."""
    found = members(audit, table)
    rest = "all images" if list(found) == [None] else "without a label"
    named = {rest if name is None else visible(name): ids for name, ids in found.items()}
    some = [list(named)[i] for i in evenly(len(named), MEANS)]
    each = max(8, min(64, OF_MEAN // max(1, len(some))))
    references = dict(audit.images.select("id", "image").iter_rows())
    wanted = {name: [references[named[name][i]] for i in evenly(len(named[name]), each)] for name in some}
    return [Mean(name, *made) for name, made in mean_pictures(table.storage, wanted, threads).items()]


def _labels(images: Any, table: Table) -> np.ndarray:
    """object[N]: the label of each image; None where it has none, or several."""
    import polars as pl

    rows = images.select("id").join(table.rows.select("id", "label"), on="id", how="left", maintain_order="left")
    if rows.schema["label"] == pl.List(pl.String):
        label = pl.when(pl.col("label").list.len() == 1).then(pl.col("label").list.first())
        rows = rows.with_columns(label.alias("label"))
    return rows["label"].to_numpy().astype(object)


def _splits(table: Table) -> dict[str, Table]:
    import polars as pl

    named = {name: table.where(name) for name in ("train", "val", "test")}
    named["none"] = table.take(pl.col("split").is_null())
    return {name: rows for name, rows in named.items() if len(rows)}


def _said(label: str | list[str] | None) -> str:
    if label is None:
        return ""
    return visible(label if isinstance(label, str) else ", ".join(label) or "none")


def _facts(summary: Mapping[str, Any], table: Table) -> dict[str, str]:
    out = {"task": table.reason or table.task}
    for name in ("mean", "std"):
        if summary["normalization"][name] is not None:
            said = {"mean": "mean of red, green, blue", "std": "standard deviation"}[name]
            out[said] = ", ".join(f"{v:.4f}" for v in summary["normalization"][name])
    return out
