"""What was decided about the findings, carried out: a new version of the Table; originals are never touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from anmok.audit.kinds import COPIES
from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.data.stratify import units_of
from anmok.data.table import Table, named

if TYPE_CHECKING:
    import polars as pl

DECISIONS = ("keep", "drop", "group", "relabel:LABEL")
_EARLIER = ("leakage",)  # of a pair, the image in the earlier split goes, so that the test stays whole
RELABEL = "relabel:"


def decide(
    table: Table, findings: pl.DataFrame, images: pl.DataFrame, *, drop: Collection[str] = (), known: Iterable[str] = ()
) -> Table:
    """A new version of the table with the findings' decisions carried out, which names its parent and what was done.

    findings: kind, ids, decision (keep, drop, group, relabel:LABEL; '' is keep); images: id, hash, group of the audit.
    drop: kinds whose findings are dropped whatever their decision says; known: the kinds there are.  Of duplicates the
    copy is dropped and the first of its content stays, of a leak the image in the earlier split, of a conflict both.
    group: images of one duplicate group share the table's `group`, so that no split of ours parts them; where a given
    split is kept, the later image of a leak is marked `leaked`, and scored apart.

    UsageError: an unknown kind or decision.  DataError: a label that is no class, two labels for one image, or an
    audit of other images.
    """
    _check(drop, findings, known)
    table = _same_images(table, images)
    present = set(table.rows["id"])
    dropped, relabelled, grouped = _collect(findings, set(drop), present)
    notes, rows = [], table.rows
    if any(label not in table.classes for label in relabelled.values()):
        unknown = next(label for label in relabelled.values() if label not in table.classes)
        raise DataError(
            f"{RELABEL}{unknown}: no such class.", where="findings.parquet", code="class-map",
            remedy=did_you_mean(unknown, table.classes),
        )  # fmt: skip
    if relabelled:
        rows = _relabel(rows, relabelled)
        notes.append(f"{named(len(relabelled), 'image', sorted(relabelled))} relabelled")
    if grouped:
        rows, members, groups = _group(rows, images, grouped)
        notes.append(f"{members:,} images in {groups:,} duplicate groups, which no split drawn from here parts")
    rows = _mark_leaks(rows, findings, dropped)
    if dropped:
        import polars as pl

        rows = rows.filter(~pl.col("id").is_in(list(dropped)))
        kinds = ", ".join(f"{kind} {n:,}" for kind, n in Counter(dropped.values()).most_common())
        notes.append(f"{named(len(dropped), 'image', sorted(dropped))} dropped: {kinds}")
    return table.with_rows(rows, "audit: " + ("; ".join(notes) if notes else "nothing to change"))


def _check(drop: Collection[str], findings: pl.DataFrame, known: Iterable[str]) -> None:
    kinds = [*known, *findings["kind"].unique()]
    for kind in drop:
        if kind not in kinds:
            raise UsageError(f"no such kind: {kind}.", where="--drop", remedy=did_you_mean(kind, kinds), code="setting")
    for decision in findings["decision"].unique():
        if decision not in ("", "keep", "drop", "group") and not (
            decision.startswith(RELABEL) and len(decision) > len(RELABEL)
        ):
            raise UsageError(
                f"no such decision: {decision}.", where="findings.parquet", code="setting",
                remedy=f"Known: {', '.join(DECISIONS)}.",
            )  # fmt: skip


def _same_images(table: Table, images: pl.DataFrame) -> Table:
    """The table with its hashes, all of them known to the audit.  DataError where images differ or are missing."""
    table = table.hashed()
    known = dict(images.select("id", "hash").iter_rows())
    ids, hashes = table.rows["id"].to_list(), table.rows["hash"].to_list()
    absent = [i for i in ids if i not in known]
    if absent:
        raise DataError(
            f"the audit does not know {named(len(absent), 'image', absent)}.", where="--audit", code="fingerprint",
            remedy="Audit this source, opened the same way.",
        )  # fmt: skip
    changed = [i for i, content in zip(ids, hashes, strict=True) if content is not None and content != known[i]]
    if changed:
        raise DataError(
            f"{named(len(changed), 'image', changed)} changed since the audit.", where="--audit", code="fingerprint",
            remedy="Audit the source again.",
        )  # fmt: skip
    return table


def _collect(
    findings: pl.DataFrame, drop: set[str], present: set[str]
) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """({id: kind} to drop, {id: label} to relabel, ids to group)."""
    dropped: dict[str, str] = {}
    relabelled: dict[str, str] = {}
    grouped: set[str] = set()
    for kind, ids, decision in findings.select("kind", "ids", "decision").iter_rows():
        here = [i for i in ids if i in present]
        if kind in drop or decision == "drop":
            dropped |= dict.fromkeys(_goes(kind, here), kind)
        elif decision == "group":
            grouped |= set(here)
        elif decision.startswith(RELABEL):
            label = decision.removeprefix(RELABEL)
            for i in here:
                if relabelled.setdefault(i, label) != label:
                    raise DataError(
                        f"{i} is relabelled to {relabelled[i]} and to {label}.", where="findings.parquet",
                        remedy="Decide for one.", code="conflicting-labels",
                    )  # fmt: skip
    return dropped, {i: label for i, label in relabelled.items() if i not in dropped}, grouped


def _goes(kind: str, ids: list[str]) -> list[str]:
    if kind in COPIES:  # the first of the content stays
        return ids[1:]
    return ids[:1] if kind in _EARLIER else ids


def _relabel(rows: pl.DataFrame, relabelled: dict[str, str]) -> pl.DataFrame:
    import polars as pl

    new: Any = pl.col("id").replace_strict(relabelled, default=None, return_dtype=pl.String)
    if rows.schema["label"] == pl.List(pl.String):
        new = pl.when(new.is_not_null()).then(pl.concat_list(new))
    return rows.with_columns(pl.coalesce(new, "label").alias("label"))


def _mark_leaks(rows: pl.DataFrame, findings: pl.DataFrame, dropped: Collection[str]) -> pl.DataFrame:
    """`leaked` where an image has its like in an earlier split, so that a split that is kept scores it apart."""
    import polars as pl

    pairs = findings.filter(pl.col("kind").is_in(_EARLIER))["ids"].to_list()
    leaked = [ids[-1] for ids in pairs if not set(ids) & set(dropped)]
    if not leaked:
        return rows
    before = pl.col("leaked").fill_null(False) if "leaked" in rows.columns else pl.lit(False)
    return rows.with_columns((before | pl.col("id").is_in(leaked)).alias("leaked"))


def _group(rows: pl.DataFrame, images: pl.DataFrame, grouped: set[str]) -> tuple[pl.DataFrame, int, int]:
    """Rows whose `group` joins the groups they had with those of the audit; images and groups concerned."""
    import polars as pl

    found = {i: g for i, g in images.select("id", "group").iter_rows() if g is not None}
    ids = rows["id"].to_list()
    wanted = {found[i] for i in grouped if i in found}
    theirs = [found[i] if found.get(i) in wanted else None for i in ids]
    units = units_of(rows["group"].to_list(), theirs)
    first: dict[int, str] = {}
    for unit, identity in zip(units.tolist(), ids, strict=True):
        first.setdefault(unit, identity)
    size = Counter(units.tolist())
    group = [first[unit] if size[unit] > 1 else own for unit, own in zip(units.tolist(), rows["group"], strict=True)]
    members = sum(name is not None for name in theirs)
    return rows.with_columns(pl.Series("group", group, dtype=pl.String)), members, len(wanted)
