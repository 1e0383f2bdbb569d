"""Suspect labels of a table: out-of-fold predictions, made here or taken from a run, and the verdict on its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from anmok.audit.suspects import Suspects, findings, suspects
from anmok.core.artifacts import load_predictions
from anmok.core.errors import DataError, MachineError, UsageError
from anmok.core.optional import need
from anmok.core.progress import bar, say, warn
from anmok.core.types import Finding, Predictions
from anmok.data.table import Table, named
from anmok.stages.fold_pixels import read_squares, side_for
from anmok.stages.folds import Folds, assign_folds

PARTS = ("val", "test")


class Judged(NamedTuple):
    """predictions: of the labelled images, row by row of `verdict`; findings: kind suspect-label, worst first."""

    predictions: Predictions
    verdict: Suspects
    findings: list[Finding]


def suspect_labels(
    table: Table, source: Path | str | None = None, *, folds: int = 5, seed: int = 0, threads: int | None = None,
    device: str = "auto", groups: Sequence[str | None] | None = None, allow_truncated: bool = False,
) -> Judged:  # fmt: skip
    """Judge the labels of a table, by the predictions of `source` (a run or predictions file) or by ones made here."""
    if source is not None:
        predictions = from_run(source, table)
    else:
        predictions = out_of_fold(
            table, folds=folds, seed=seed, threads=threads, device=device, groups=groups,
            allow_truncated=allow_truncated,
        )  # fmt: skip
    assert predictions.targets is not None
    verdict = suspects(predictions.targets, predictions.probs)
    found = findings(predictions, verdict)
    say(
        f"suspect labels: {len(found):,} of {len(verdict.ranking):,} images judged; "
        f"about {verdict.noise_rate:.1%} of the labels are wrong by confident learning"
    )
    return Judged(predictions, verdict, found)


def out_of_fold(
    table: Table, *, folds: int = 5, seed: int = 0, threads: int | None = None, device: str = "auto",
    groups: Sequence[str | None] | None = None, allow_truncated: bool = False,
) -> Predictions:  # fmt: skip
    """Predictions of every labelled image, by small networks that learned from the other folds.

    Rows in the table's order. NaN: an image that cannot be read (its reason in `errors`), one of a class with fewer
    images than folds, multi-label the column of such a class. groups: of all rows of the table, kept together besides
    identical files. Without torch a regression on patch features takes the networks' place, said aloud. The same seed,
    machine and threads give the same probabilities.  UsageError for fewer than two folds; DataError where there are no
    two labels to tell apart.
    """
    if folds < 2:
        raise UsageError(f"folds must be at least 2, found {folds}.", where="folds", code="setting")
    keep = table.rows["label"].is_not_null().to_numpy()
    groups = [group for group, kept in zip(groups, keep, strict=True) if kept] if groups is not None else None
    table = table.take(keep).hashed()
    if not len(table) or (table.task != "multilabel" and table.rows["label"].n_unique() < 2):
        raise DataError(
            "there are no two labels to tell apart.", where="suspect labels", code="one-class",
            remedy="Bring images of at least two labels.",
        )  # fmt: skip
    plan = assign_folds(table, folds, seed, groups)
    _tell(table, plan, folds)
    squares = read_squares(table, side_for(table), threads=threads, allow_truncated=allow_truncated)
    ids: list[str] = table.rows["id"].to_list()
    readable = np.array([i not in squares.errors for i in ids])
    probs = np.full((len(ids), len(table.classes)), np.nan, np.float32)
    if (plan.fold[readable] >= 0).any():
        pixels = squares.pixels[readable] if squares.errors else squares.pixels
        probs[readable] = _probabilities(
            table.take(readable), pixels, plan.fold[readable], folds, seed, threads, device
        )
    if table.task == "multilabel":
        probs[:, plan.rare] = np.nan
    return Predictions(
        ids, list(table.classes), probs, table.targets(), table.task, table.rows["split"].to_list(), "",
        table.fingerprint, squares.errors,
    )  # fmt: skip


def _tell(table: Table, plan: Folds, folds: int) -> None:
    """Which classes get no verdict."""
    rare = [name for name, is_rare in zip(table.classes, plan.rare, strict=True) if is_rare]
    if rare:
        warn(f"{named(len(rare), 'class', rare)} with fewer images than {folds} folds: no verdict on such labels")
    left = int((plan.fold < 0).sum())
    if left:
        say(f"{left:,} image{'' if left == 1 else 's'} only train, without a verdict")


def _probabilities(
    table: Table, pixels: np.ndarray, fold: np.ndarray, folds: int, seed: int, threads: int | None, device: str
) -> np.ndarray:
    """float32[N, K], by networks or, without torch, by patch features."""
    try:
        need("torch", "train")
    except MachineError as error:
        from anmok.stages.fold_features import fold_probabilities, patch_features

        warn(f"{error.message} Suspect labels by patch features and logistic regression, which find fewer.")
        with bar("features", len(pixels)) as progress:
            features = patch_features(pixels, seed, progress)
        with bar("folds", folds) as progress:
            return fold_probabilities(features, table.targets(), fold, len(table.classes), folds, progress)
    from anmok.stages.fold_network import network_probabilities

    return network_probabilities(
        pixels, table.targets(), fold, list(table.classes), table.task, folds, seed=seed, threads=threads, device=device
    )


def from_run(source: Path | str, table: Table) -> Predictions:
    """The stored predictions of a run (its oof, else its val and test) or of a file, joined to the table by id.

    The labels judged are the table's; said aloud is what share of them is covered. Only images that a run did not
    learn from count, so that its train split is never judged by itself.  UsageError where there is no such run or file;
    DataError for another task, for no id in common, or for labels that the model does not know.
    """
    stored = _stored(Path(source))
    if stored.task != table.task:
        raise DataError(
            f"they are {stored.task}, the table is {table.task}.", where=str(source), code="task",
            remedy="Take a run on this table, or leave the run out: predictions are then made.",
        )  # fmt: skip
    labelled = table.labelled()
    place = {name: row for row, name in enumerate(stored.ids)}
    rows = np.array([place.get(i, -1) for i in labelled.rows["id"].to_list()], np.int64)
    known = rows >= 0
    if not known.any():
        raise DataError(
            f"none of the table's {len(labelled):,} labelled images is in them.", where=str(source), code="no-overlap",
            remedy="Take a run on this table, or leave the run out: predictions are then made.",
        )  # fmt: skip
    say(f"{source}: predictions cover {known.sum():,} of {len(labelled):,} labelled images ({known.mean():.1%})")
    covered = labelled.take(known).with_classes(stored.classes)
    picked = stored.select(rows[known])
    return replace(picked, targets=covered.targets(), split=covered.rows["split"].to_list())


def _stored(path: Path) -> Predictions:
    if path.is_file():
        return load_predictions(path)
    folder = path / "predictions"
    if (folder / "oof.parquet").is_file():
        return load_predictions(folder / "oof.parquet")
    found = [load_predictions(folder / f"{p}.parquet") for p in PARTS if (folder / f"{p}.parquet").is_file()]
    if not found:
        raise UsageError(
            "no predictions here.", where=str(path), code="run",
            remedy="Expected a run with predictions/oof.parquet, val.parquet or test.parquet, or such a file.",
        )  # fmt: skip
    return found[0] if len(found) == 1 else _joined(found)


def _joined(parts: list[Predictions]) -> Predictions:
    """Several files of one model as one.  DataError where their classes differ."""
    first = parts[0]
    if any((p.classes, p.task) != (first.classes, first.task) for p in parts):
        raise DataError("the files have other classes.", where=" and ".join(PARTS), code="class-map")
    return Predictions(
        [i for p in parts for i in p.ids], first.classes, np.concatenate([p.probs for p in parts]), None, first.task,
        None, first.model_hash, first.fingerprint, {k: v for p in parts for k, v in p.errors.items()},
    )  # fmt: skip
