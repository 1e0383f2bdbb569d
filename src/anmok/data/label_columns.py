"""A column for each label, holding 1, 0 or nothing: read as one label an image, or as lists with what is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.data.columns import Columns
from anmok.data.config import DataConfig
from anmok.data.table import named

if TYPE_CHECKING:
    import polars as pl

YES = ("1", "1.0", "true")
NO = ("0", "0.0", "false")
UNKNOWN = ("", "-1", "-1.0", "nan", "?")  # -1: uncertain, as CheXpert writes it


class Joined(NamedTuple):
    """Rows with their labels in one column; which columns mean what; the labels in order, where columns gave them."""

    rows: pl.DataFrame
    columns: Columns
    stated: list[str] | None
    notes: list[str]


def join_label_columns(rows: pl.DataFrame, columns: Columns, config: DataConfig, where: str) -> Joined:
    """The columns of `config.label_columns` as `label`, and of what is neither 1 nor 0 as `unknown` (lists of labels).

    Where none are named and there is no label column, two or more columns of 1, 0 and blank alone are taken for labels,
    said aloud.  Where every row has exactly one 1 the label is a text, else a list.  UsageError for a column that does
    not exist, or for label columns beside a label column; DataError for a value that is none of 1, 0 and blank.
    """
    import polars as pl

    names, found = list(config.label_columns), False
    if not names and columns.label is None and config.label_column is None:
        names, found = _look(rows, columns), True
    if not names:
        return Joined(rows, columns, None, [])
    _check(names, rows.columns, config, where)
    texts = {name: _text(rows[name]) for name in names}
    for name, text in texts.items():
        wrong = text.filter(~text.is_in([*YES, *NO, *UNKNOWN]))
        if wrong.len():
            raise DataError(
                f"{wrong[0]!r} in the label column {name!r} is none of 1, 0 and blank (unknown).", where=where,
                remedy="Correct it, or name the columns of labels with --data.label-columns.", code="label",
            )  # fmt: skip
    yes = pl.DataFrame({name: text.is_in(YES) for name, text in texts.items()})
    unknown = pl.DataFrame({name: text.is_in(UNKNOWN) for name, text in texts.items()})
    rows = rows.drop(names)
    if "label" in rows.columns and columns.label != "label":
        rows = rows.rename({"label": "label_given"})
    said = "label columns found" if found else "label columns"
    notes = [f"{said}: {', '.join(names[:10])}{', …' if len(names) > 10 else ''}"]
    one_each = (yes.sum_horizontal() == 1).all() and not unknown.sum_horizontal().sum()
    if one_each and config.task != "multilabel":
        label = pl.Series("label", _lists(yes, names)).list.first()
        notes.append("every image has exactly one of them: one label per image (--task multilabel keeps them apart)")
        return Joined(rows.with_columns(label), columns._replace(label="label"), names, notes)
    labels, gaps = _lists(yes, names), _lists(unknown, names)
    blank = unknown.sum_horizontal() == len(names)
    label = pl.Series("label", [None if b else x for x, b in zip(labels, blank, strict=True)], pl.List(pl.String))
    rows = rows.with_columns(label)
    if "unknown" in rows.columns:
        rows = rows.rename({"unknown": "unknown_given"})
    if any(gaps):
        rows = rows.with_columns(pl.Series("unknown", gaps, dtype=pl.List(pl.String)))
    return Joined(rows, columns._replace(label="label"), names, notes)


def _look(rows: pl.DataFrame, columns: Columns) -> list[str]:
    """Columns that hold 1, 0 and blank alone, and both of the first two; none where there is but one."""
    known = {c for c in columns if c}
    found = []
    for name in rows.columns:
        if name in known or rows.schema[name].is_nested():
            continue
        values = set(_text(rows[name]).unique().to_list())
        if values & {*YES} and values & {*NO} and values <= {*YES, *NO, *UNKNOWN}:
            found.append(name)
    return found if len(found) > 1 else []


def _check(names: list[str], present: list[str], config: DataConfig, where: str) -> None:
    if config.label_column:
        raise UsageError(
            "one label column and a column for each label: give one of them.", where="data.label_columns",
            code="setting",
        )  # fmt: skip
    for name in names:
        if name not in present:
            raise UsageError(
                f"no column {name!r} (data.label_columns); found {', '.join(map(repr, present[:20]))}.", where=where,
                remedy=did_you_mean(name, present), code="column",
            )  # fmt: skip
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"the column {twice!r} is named twice.", where="data.label_columns", code="setting")
    if len(names) < 2 and config.task != "multilabel":
        raise UsageError(
            f"only one label column ({named(1, 'column', names)}).", where="data.label_columns", code="setting",
            remedy="Name two or more; one column of 1 and 0 is a binary label: --data.label-column.",
        )  # fmt: skip


def _text(values: pl.Series) -> pl.Series:
    import polars as pl

    return values.cast(pl.String).fill_null("").str.strip_chars().str.to_lowercase()


def _lists(marks: pl.DataFrame, names: list[str]) -> list[list[str]]:
    """Of each row the names of the columns that are true."""
    return [[name for name, mark in zip(names, row, strict=True) if mark] for row in marks.iter_rows()]
