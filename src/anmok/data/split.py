"""Train, validation and test: the split that the source gives, or one drawn by class, group and content."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok.core.errors import DataError, UsageError
from anmok.core.progress import say, warn
from anmok.data.config import SplitConfig
from anmok.data.duplicates import Pair, conflicting, conflicts, leaks
from anmok.data.made import given as given_rows
from anmok.data.made import of_held_out
from anmok.data.stratify import divide, units_of
from anmok.data.table import Table, class_counts, named, split_counts

if TYPE_CHECKING:
    import polars as pl

__all__ = ["conflicts", "leaks", "split_table"]

FIRST = 20  # pairs that a warning names


def split_table(table: Table, config: SplitConfig | None = None) -> Table:
    """A new version of the table with `split`, `leaked` and, for k folds, `fold` filled; what was done is said aloud.

    A row with a null split is in none of them: left blank by the source, or the same image under another label.
    A given split is honoured unless `config.given` says otherwise, with val carved from train where only a test is
    given; a split of ours is stratified, keeps groups and identical files together, and depends on ids and seed only.
    leaked: whether the split puts identical bytes into an earlier part as well (train, then val).
    fold: 0 … k-1, -1 always trains (the only image of a class), null for the test.
    UsageError for shares that leave nothing to train on; DataError (code leakage) for a leaking split, if strict.
    """
    config = config or SplitConfig()
    _check(config)
    table = table.hashed()
    if config.given == "ignore":
        table = _forget(table)
    given = set(split_counts(table)) - {"none"}
    notes: list[str] = []
    if given and given != {"train"}:
        new = _honour(table, config, given, notes)
    else:
        if given:
            notes.append("the source gives a train split alone: val and test are drawn from it")
        new = _draw(table, config, notes)
    new = _without_copies(new, notes)
    notes += _thin(new)
    counts = ", ".join(f"{name} {n:,}" for name, n in split_counts(new).items())
    out = table.with_rows(new.rows, f"split: {counts}")
    out = out._with(notes=(*out.notes, *notes))
    say(f"split: {counts}")
    for note in notes:
        warn(note.removeprefix("warning: ")) if note.startswith("warning: ") else say(f"  {note}")
    return out


def _check(config: SplitConfig) -> None:
    if config.test + config.val >= 1:
        raise UsageError(
            f"test {config.test:g} and val {config.val:g} leave nothing to train on.",
            where="split", remedy="Their sum must be below 1.", code="setting",
        )  # fmt: skip
    if config.folds == 1 or config.fold >= max(config.folds, 1):
        raise UsageError(
            f"fold {config.fold} of {config.folds}: folds are 2 or more, counted from 0.", where="split", code="setting"
        )


def _without_copies(table: Table, notes: list[str]) -> Table:
    """The split in which no generated image trains that was made of a validation or test image."""
    import polars as pl

    out = of_held_out(table)
    if found := table.rows.filter(out).height:
        notes.append(f"{found:,} generated rows left out: the images they began with are in validation or test")
        table = table._with(rows=table.rows.with_columns(pl.when(~out).then("split").alias("split")))
    return table


def _forget(table: Table) -> Table:
    """The table without any split."""
    import polars as pl

    rows = table.rows.drop("fold", "leaked", strict=False)
    return table._with(rows=rows.with_columns(pl.lit(None, pl.String).alias("split")))


def _honour(table: Table, config: SplitConfig, given: set[str], notes: list[str]) -> Table:
    """The given split, less what must not be trained on; val and folds drawn from what is not test."""
    import polars as pl

    if blank := table.rows["split"].null_count():
        notes.append(f"{blank:,} rows with a blank split are left out")
    pairs = leaks(table)
    if pairs:
        text = f"{_pairs(pairs, 'identical file pair')} on two sides of the given split"
        if config.given == "strict":
            raise DataError(f"{text}.", remedy="Correct the split, or draw one: --split ignore.", code="leakage")
        notes.append(f"warning: {text}")
    _straddling(table, config, notes)
    leaked = pl.col("id").is_in([pair.second for pair in pairs])
    if "leaked" in table.rows.columns:  # a split of ours, opened again, remembers
        leaked = leaked | pl.col("leaked")
    bad = conflicting(table) if config.conflicts == "leave-out" else set()
    out = pl.col("id").is_in(list(bad)) & (pl.col("split") == "train")
    if found := table.rows.filter(out).height:
        about = [p for p in conflicts(table) if {p.first, p.second} & bad]
        notes.append(
            f"warning: {found:,} training rows left out, as the same image has another label: "
            f"{_pairs(about, 'pair')}"
        )  # fmt: skip
    rows = table.rows.with_columns(leaked.alias("leaked"))
    rows = rows.with_columns(pl.when(~out.fill_null(False)).then("split").alias("split"))
    table = table._with(rows=rows)
    if "train" not in given:
        return table
    if config.folds:
        return _folds(table, config, notes)
    if "test" in given and "val" not in given and config.val > 0:
        share = config.val / (1 - config.test)
        table = _assign(table, {"val": share}, config.seed)
        notes.append(f"val carved from train: {share:.1%} of it")
    if "test" not in given:
        notes.append("no test split is given, and none is taken from train")
    return table


def _straddling(table: Table, config: SplitConfig, notes: list[str]) -> None:
    """Groups that the given split puts on two sides."""
    import polars as pl

    known = table.rows.filter(pl.col("group").is_not_null() & pl.col("split").is_not_null())
    sides = known.group_by("group").agg(pl.col("split").n_unique().alias("n")).filter(pl.col("n") > 1)
    if not sides.height:
        return
    text = f"{named(sides.height, 'group', sides['group'].sort().to_list())} on two sides of the given split"
    if config.given == "strict":
        raise DataError(f"{text}.", remedy="Correct the split, or draw one: --split ignore.", code="leakage")
    notes.append(f"warning: {text}")


def _draw(table: Table, config: SplitConfig, notes: list[str]) -> Table:
    """A split of ours: images under two labels in none of the parts, then test and val (or folds) taken from train."""
    import polars as pl

    bad = conflicting(table) if config.conflicts == "leave-out" else set()
    if bad:
        notes.append(
            f"warning: {len(bad):,} rows left out, as the same image has two labels: {_pairs(conflicts(table), 'pair')}"
        )
    everything = table.rows.drop("fold", "leaked", strict=False).with_columns(
        pl.when(pl.col("id").is_in(list(bad))).then(None).otherwise(pl.lit("train")).alias("split"),
        pl.lit(False).alias("leaked"),
    )
    table = table._with(rows=everything)
    if config.folds:
        table = _assign(table, {"test": config.test}, config.seed) if config.test else table
        return _folds(table, config, notes)
    shares = {"val": config.val, "test": config.test}
    return _assign(table, {name: share for name, share in shares.items() if share}, config.seed)


def _assign(table: Table, shares: dict[str, float], seed: int) -> Table:
    """Move shares of the train rows to other splits."""
    import polars as pl

    parts = np.array([1 - sum(shares.values()), *shares.values()])
    ids, part = _parts(table, parts, seed, pl.col("split") == "train")
    names = ["train", *shares]
    moved = {i: names[p] for i, p in zip(ids, part.tolist(), strict=True) if p > 0}
    new = pl.col("id").replace_strict(moved, default=None, return_dtype=pl.String)
    return table._with(rows=table.rows.with_columns(pl.coalesce(new, "split").alias("split")))


def _folds(table: Table, config: SplitConfig, notes: list[str]) -> Table:
    """Folds over all that is not test; one of them validates. Folds that the table has already are kept."""
    import polars as pl

    rows = table.rows
    if "fold" in rows.columns:
        found = int(rows["fold"].max() or 0) + 1  # type: ignore[arg-type]
        if found != config.folds:
            raise UsageError(
                f"the table has {found} folds, not {config.folds}.", where="split.folds",
                remedy="Take that many, or draw anew with --split ignore.", code="setting",
            )  # fmt: skip
    else:
        shares = np.full(config.folds, 1 / config.folds)
        pool = pl.col("split").is_in(["train", "val"])
        ids, part = _parts(table, shares, config.seed, pool, folds=True)
        fold = pl.col("id").replace_strict(
            dict(zip(ids, part.tolist(), strict=True)), default=None, return_dtype=pl.Int64
        )
        rows = rows.with_columns(fold.alias("fold"))
    validates = pl.when(pl.col("fold") == config.fold).then(pl.lit("val")).otherwise(pl.lit("train"))
    rows = rows.with_columns(pl.when(pl.col("fold").is_not_null()).then(validates).otherwise("split").alias("split"))
    notes.append(f"fold {config.fold} of {config.folds} validates")
    return table._with(rows=rows)


def _parts(
    table: Table, shares: np.ndarray, seed: int, pool: pl.Expr, folds: bool = False
) -> tuple[list[str], np.ndarray]:
    """(ids, part of each) for the rows of a pool, drawn by id and seed; -1 stays where it is.

    Where some rows have a label, those without are not drawn: they go with their unit, or stay. Rows whose labels
    nobody gave (`pseudo`, `generated`) stay where they are: they train, and judge nothing.
    """
    drawn = table.take(pool & given_rows(table))
    drawn = drawn._with(rows=drawn.rows.sort("id"))
    units = units_of(drawn.rows["group"].to_list(), drawn.rows["hash"].to_list())
    labelled = drawn.rows["label"].is_not_null().to_numpy()
    chosen = labelled if labelled.any() else ~labelled
    targets = drawn.take(chosen).targets()
    member = targets > 0 if targets.ndim == 2 else targets[:, None] == np.arange(len(table.classes))
    rng = np.random.Generator(np.random.PCG64(seed))
    compact = np.unique(units[chosen], return_inverse=True)[1]
    part = divide(member, compact, shares, rng, multilabel=targets.ndim == 2, folds=folds)
    part_of = dict(zip(units[chosen].tolist(), part.tolist(), strict=True))
    return drawn.rows["id"].to_list(), np.array([part_of.get(unit, -1) for unit in units.tolist()], np.int64)


def _thin(table: Table) -> list[str]:
    """Warnings on classes with one image, on classes that train never sees, and on empty splits."""
    labelled = table.labelled()
    counts, train = class_counts(labelled), class_counts(labelled.where("train"))
    have = split_counts(table)
    one = [name for name, n in counts.items() if n == 1 and train[name] == 1]
    absent = [name for name, n in counts.items() if n and not train[name]] if "train" in have else []
    notes = []
    if one:
        notes.append(
            f"warning: {named(len(one), 'class', one)} with one image: it stays in train, no score is possible"
        )
    if absent:
        notes.append(f"warning: {named(len(absent), 'class', absent)} without a training image")
    empty = [name for name in ("train", "val", "test") if name not in have]
    if empty and len(table):
        notes.append(f"warning: no images in {' and '.join(empty)}")
    return notes


def _pairs(pairs: list[Pair], what: str) -> str:
    return named(len(pairs), what, [str(p) for p in pairs], FIRST)
