"""From what a source says to clean labels, the task and the classes in order. Nothing is merged silently."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.core.types import Task
from anmok.data.config import DataConfig, LabelsConfig
from anmok.data.table import named
from anmok.data.unknown_labels import part_unknown, settle_unknown

if TYPE_CHECKING:
    import polars as pl


class Labels(NamedTuple):
    """Clean labels: the rows that stay, classes in order, the task and why, and what was done."""

    rows: pl.DataFrame
    classes: tuple[str, ...]
    task: Task
    reason: str
    notes: tuple[str, ...]


def prepare(
    rows: pl.DataFrame, config: DataConfig, labels: LabelsConfig, stated: Sequence[str] | None = None
) -> Labels:
    """Clean the column `label` of `rows` (with `id`; text, or lists of text; null: unlabelled), and `unknown` if any.

    stated: the classes in the order that the source gives, if it does.  DataError for blank or spaced labels and for
    one outside the stated classes; UsageError for a merge, drop or positive class that does not exist.
    """
    import polars as pl

    rows = rows.with_columns(split_cells(rows["label"], config).alias("label"))
    for column in [c for c in ("label", "unknown") if c in rows.columns]:
        forms = {name: unicodedata.normalize("NFC", name) for name in names_of(rows[column])}
        rows = rows.with_columns(_map(rows[column], forms).alias(column))
    stated = [unicodedata.normalize("NFC", name) for name in stated] if stated is not None else None
    rows, notes = _blanks(rows, config)
    rows = part_unknown(rows, config)
    if stated is not None:
        _within(names_of(rows["label"]), stated)
    if "unknown" in rows.columns:
        _within(names_of(rows["unknown"]), names_of(rows["label"]) if stated is None else stated)
    rows, stated, remapped = remap(rows, labels, stated)
    notes += remapped
    if isinstance(rows.schema["label"], pl.List):
        rows = rows.with_columns(pl.col("label").list.unique().list.sort())
    _spaced(rows)
    present = names_of(rows["label"])
    classes = list(stated) if stated is not None else sorted(present)
    notes += _oddities(present, classes)
    rows, task, reason = choose_task(rows, classes, config)
    rows, told = settle_unknown(rows, classes, task)
    notes += told
    if config.positive is not None:
        classes = _positive_last(classes, task, config.positive)
    if classes and (missing := rows["label"].null_count()):
        notes.append(f"{missing:,} of {rows.height:,} images have no label")
    return Labels(rows, tuple(classes), task, reason, tuple(notes))


def names_of(labels: pl.Series) -> list[str]:
    """The distinct labels, sorted."""
    return labels.explode().drop_nulls().unique().sort().to_list()


def split_cells(labels: pl.Series, config: DataConfig) -> pl.Series:
    """Cells such as "cat;dog" as lists, where the task allows several labels and any cell has them (";": none)."""
    import polars as pl

    if isinstance(labels.dtype, pl.List):
        return labels
    labels = labels.cast(pl.String)
    several = config.task == "multilabel" or (
        config.task == "auto" and labels.str.contains(config.label_separator, literal=True).any()
    )
    if not several:
        return labels
    cell = pl.col("label")
    parts = cell.str.split(config.label_separator)
    given = parts.list.eval(pl.element().filter(pl.element() != ""))
    blank = cell.str.strip_chars() == ""
    return labels.to_frame("label").select(pl.when(blank).then(parts).otherwise(given).alias("label")).to_series()


def _map(labels: pl.Series, mapping: dict[str, str]) -> pl.Series:
    import polars as pl

    changed = {old: new for old, new in mapping.items() if old != new}
    if not changed:
        return labels
    if isinstance(labels.dtype, pl.List):
        return labels.list.eval(pl.element().replace(changed))
    return labels.replace(changed)


def _blanks(rows: pl.DataFrame, config: DataConfig) -> tuple[pl.DataFrame, list[str]]:
    """Blank labels as null where that is allowed, an error that names the images otherwise."""
    import polars as pl

    if isinstance(rows.schema["label"], pl.List):
        blank = pl.col("label").list.eval((pl.element().str.strip_chars() == "").fill_null(True)).list.any()
    else:
        blank = pl.col("label").str.strip_chars() == ""
    found = rows.filter(blank)
    if not found.height:
        return rows, []
    if not config.allow_unlabelled:
        raise DataError(
            f"{named(found.height, 'image', found['id'].to_list())} with a blank label.",
            remedy="Fill them in, or take them as unlabelled with --data.allow-unlabelled"
            f' (multi-label: "{config.label_separator}" means none of the classes).',
            code="label",
        )
    cleared = pl.when(blank.fill_null(False)).then(None).otherwise(pl.col("label")).alias("label")
    return rows.with_columns(cleared), []


def _within(present: Iterable[str], stated: Sequence[str]) -> None:
    for name in sorted(set(present) - set(stated)):
        raise DataError(f"unknown label {name!r}.", remedy=did_you_mean(name, stated), code="label")


def _spaced(rows: pl.DataFrame) -> None:
    """Labels with spaces around them are never taken for the ones without."""
    present = names_of(rows["label"])
    spaced = [name for name in present if name != name.strip()]
    if not spaced:
        return
    name = spaced[0]
    twin = name.strip() in present
    raise DataError(
        f"{'labels' if len(spaced) > 1 else 'a label'} with spaces around: {', '.join(map(repr, spaced[:5]))}"
        f"{f'; the nearest is {name.strip()!r}' if twin else ''}.",
        remedy=f'Correct the source, or say --labels.merge "{name}={name.strip()}"'
        ' (a space after every separator: --data.label-separator "; ").',
        code="label",
    )


def _oddities(present: list[str], classes: list[str]) -> list[str]:
    notes = []
    folded: dict[str, list[str]] = {}
    for name in present:
        folded.setdefault(name.casefold(), []).append(name)
    if alike := [" / ".join(names) for names in folded.values() if len(names) > 1]:
        notes.append(f"warning: labels that differ by case only stay apart: {', '.join(alike[:5])}")
    if absent := [name for name in classes if name not in set(present)]:
        notes.append(f"warning: {named(len(absent), 'class', absent)} without images")
    if len(classes) == 1:
        notes.append(f"only one label ({classes[0]}): nothing to tell apart")
    return notes


def remap(
    rows: pl.DataFrame, labels: LabelsConfig, stated: list[str] | None
) -> tuple[pl.DataFrame, list[str] | None, list[str]]:
    """Merge and drop labels as configured; stated classes follow.  UsageError for a label that does not exist."""
    import polars as pl

    known = stated if stated is not None else names_of(rows["label"])
    mapping, notes = merges(labels.merge, known), []
    if mapping:
        rows = rows.with_columns(_map(rows[c], mapping).alias(c) for c in ("label", "unknown") if c in rows.columns)
        known = list(dict.fromkeys(mapping.get(name, name) for name in known))
        notes.append("labels merged: " + ", ".join(f"{old} → {new}" for old, new in mapping.items()))
    drop = [unicodedata.normalize("NFC", name) for name in labels.drop]
    for name in drop:
        _known("labels.drop", name, known)
    if drop:
        before = rows.height
        if isinstance(rows.schema["label"], pl.List):
            kept = pl.col("label").list.eval(pl.element().filter(~pl.element().is_in(drop)))
            emptied = (kept.list.len() == 0) & (pl.col("label").list.len() > 0)
            rows = rows.filter(~emptied.fill_null(False)).with_columns(kept.alias("label"))
            if "unknown" in rows.columns:
                rest = pl.col("unknown").list.eval(pl.element().filter(~pl.element().is_in(drop)))
                rows = rows.with_columns(rest.alias("unknown"))
        else:
            rows = rows.filter(~pl.col("label").is_in(drop).fill_null(False))
        known = [name for name in known if name not in drop]
        notes.append(f"labels dropped: {', '.join(drop)} ({before - rows.height:,} images left out)")
    return rows, known if stated is not None else None, notes


def merges(specs: Iterable[str], known: Sequence[str]) -> dict[str, str]:
    """{'paper': 'fibre', 'cardboard': 'fibre'} from ["paper+cardboard=fibre"]; old names must be known."""
    out: dict[str, str] = {}
    for spec in specs:
        left, mark, new = unicodedata.normalize("NFC", spec).rpartition("=")
        if not (mark and left and new):
            raise UsageError(
                f"{spec!r} is no rule.", where="labels.merge", remedy='Write "old+old=new".', code="setting"
            )
        for old in [left] if left in known else left.split("+"):
            _known("labels.merge", old, known)
            if out.setdefault(old, new) != new:
                raise UsageError(f"{old!r} is merged twice.", where="labels.merge", code="setting")
    return out


def _known(where: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise UsageError(f"no label {name!r}.", where=where, remedy=did_you_mean(name, known), code="label")


def choose_task(rows: pl.DataFrame, classes: Sequence[str], config: DataConfig) -> tuple[pl.DataFrame, Task, str]:
    """The task with its reason ("multiclass: 6 labels, one per image"), and the labels in the form it needs."""
    import polars as pl

    lists = isinstance(rows.schema["label"], pl.List)
    asked = None if config.task == "auto" else config.task
    count = f"{len(classes)} label{'' if len(classes) == 1 else 's'}"
    most = int(rows["label"].list.len().max() or 0) if lists else 1  # type: ignore[arg-type]
    if not classes:
        return rows, asked or "multiclass", "no labels"
    if asked == "multilabel" and not lists:
        rows, lists = rows.with_columns(pl.col("label").reshape((-1, 1)).arr.to_list()), True
    if asked in ("binary", "multiclass") and lists:
        exact = rows["label"].list.len().drop_nulls()
        if not (exact == 1).all():
            raise UsageError(
                f"{asked} takes one label per image, found up to {most}.", where="data.task",
                remedy="Use --data.task multilabel, or set --data.label-separator.", code="setting",
            )  # fmt: skip
        rows, lists = rows.with_columns(pl.col("label").list.first()), False
    if asked == "binary" and len(classes) != 2:
        raise UsageError(
            f"binary takes 2 labels, found {len(classes)}: {', '.join(classes[:10])}.", where="data.task",
            remedy='Join some with --labels.merge "a+b=c", or use multiclass.', code="setting",
        )  # fmt: skip
    task: Task = asked or ("multilabel" if lists else "binary" if len(classes) == 2 else "multiclass")
    per_image = f"up to {most} per image" if lists else "one per image"
    return rows, task, f"{task}: {count}, {per_image}{', as asked' if asked else ''}"


def _positive_last(classes: list[str], task: Task, positive: str) -> list[str]:
    if task != "binary":
        raise UsageError(
            f"a positive class needs a binary task, this is {task}.", where="data.positive", code="setting"
        )
    _known("data.positive", positive, classes)
    return [name for name in classes if name != positive] + [positive]
