"""`anmok crossval`: a run for each fold, predictions of every image by a model that has not seen it, one ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anmok.core.artifacts import save_predictions
from anmok.core.config import dump_toml, read_toml, resolve
from anmok.core.errors import Interrupted, UsageError
from anmok.core.files import locked, write_atomic
from anmok.core.optional import need
from anmok.core.progress import say
from anmok.core.types import Evaluation, Predictions
from anmok.data.config import LabelsConfig
from anmok.data.sources import open_table
from anmok.data.table import Table
from anmok.evaluate.ensemble import Ensemble
from anmok.report.crossval_text import crossval_lines
from anmok.stages.choices import check_choices
from anmok.stages.config import TrainConfig
from anmok.stages.ensemble import write_ensemble
from anmok.stages.ensemble_report import plain_report
from anmok.stages.judge import scores, write_evaluation
from anmok.stages.prepare import prepare
from anmok.stages.run import Run
from anmok.stages.run_folder import begun_in, is_module, new_folder
from anmok.stages.tower import tower_of, with_tower
from anmok.stages.train import start, train

CONFIG = "crossval.toml"
FOLDS = 5


@dataclass(frozen=True)
class CrossValidation:
    """A cross-validation's folder: fold-0 …, predictions/oof.parquet, ensemble/, evaluation.json, report.html.

    evaluation: of the out-of-fold predictions, with `folds`, the accuracy of each.
    """

    path: Path
    evaluation: Evaluation

    def __repr__(self) -> str:
        lines = crossval_lines(self.evaluation.data)
        return "\n".join([f"Cross-validation {self.path}", *lines, repr(self.evaluation)])


def crossval(
    source: Any = None, *, folds: int | None = None, resume: Path | str | None = None, out: Path | str | None = None,
    config: Path | str | None = None, layers: tuple[Mapping[str, Any], ...] = (), **settings: Any,
) -> CrossValidation:  # fmt: skip
    """Train a run for each of `folds` folds (default 5) over all that is not test, and return the CrossValidation.

    source: anything `anmok.open` takes; folds that a table has already are kept.  out: the folder, which must not exist
    yet (default: runs/crossval-N).  config, settings: as `train` takes them.  resume: a folder to go on with instead.
    The intervals take out-of-fold predictions as those of one model, which they are not quite: the models of two folds
    share most of their images.

    UsageError, DataError, MachineError as `train` has them; Interrupted when a signal ended it resumably.
    """
    need("torch", "train")
    if resume is not None:
        if source is not None or config or any((*layers, settings)):
            raise UsageError("--resume takes no data and no settings: it goes on as it began.", code="resume")
        return _resume(Path(resume))
    if source is None:
        raise UsageError(
            "nothing to train on.", remedy="Give a folder, CSV, Parquet or Table, or --resume FOLDER.", code="source"
        )
    if is_module(settings.get("model")):
        raise UsageError("each fold builds its network anew, so it is named.", where="model", code="setting")
    resolved = resolve(TrainConfig, *layers, settings, {} if folds is None else {"split.folds": folds}, file=config)
    if folds is None and not resolved.split.folds:
        resolved = resolve(TrainConfig, *layers, settings, {"split.folds": FOLDS}, file=config)
    if resolved.split.folds < 2:
        raise UsageError(f"folds are 2 or more, found {resolved.split.folds}.", where="--folds", code="setting")
    resolved = with_tower(resolved)
    check_choices(resolved, tower_of(resolved))
    folder = new_folder(out, "crossval", "cross-validation")
    with begun_in(folder), locked(folder):
        prepare(open_table(source, resolved.data, resolved.labels), resolved).save(folder / "table.parquet")
        write_atomic(folder / CONFIG, dump_toml(resolved))
    return _resume(folder)


def _resume(folder: Path) -> CrossValidation:
    if not (folder / CONFIG).is_file():
        raise UsageError(
            "no cross-validation here.", where=str(folder), code="run",
            remedy="Expected a folder that `anmok crossval` wrote.",
        )  # fmt: skip
    config = resolve(TrainConfig, read_toml(folder / CONFIG))
    with locked(folder):
        table = Table.load(folder / "table.parquet")
        runs = {}
        for fold in range(config.split.folds):
            try:
                runs[f"fold-{fold}"] = _fold(folder, table, config, fold)
            except Interrupted as error:
                raise Interrupted(
                    f"stopped in fold {fold + 1} of {config.split.folds}.",
                    where=str(folder),
                    remedy=f"Go on with: anmok crossval --resume {folder}",
                ) from error
        return _finish(folder, table, runs)


def _fold(folder: Path, table: Table, config: TrainConfig, fold: int) -> Run:
    """The run of a fold: as it is, gone on with, or begun."""
    path = folder / f"fold-{fold}"
    if (path / "config.toml").is_file() and (path / "table.parquet").is_file():
        run = Run(path)
        if run.finished:
            return run
        return train(resume=path)
    split = config.split.model_copy(update={"fold": fold, "given": "honour"})
    data = config.data.model_copy(update={"hierarchy": None})
    own = config.model_copy(update={"split": split, "labels": LabelsConfig(), "data": data})  # the table has them
    say(f"fold {fold + 1} of {split.folds}")
    path.mkdir(exist_ok=True)
    return start(path, table, own)


def out_of_fold(runs: Sequence[Run], fingerprint: str) -> Predictions:
    """The validation predictions of every fold's run as one, marked `oof`."""
    parts = [run.predictions("val") for run in runs]
    first = parts[0]
    targets = [p.targets for p in parts if p.targets is not None]
    errors = {i: why for p in parts for i, why in p.errors.items()}
    ids = [i for p in parts for i in p.ids]
    return Predictions(
        ids, first.classes, np.concatenate([p.probs for p in parts]), np.concatenate(targets), first.task,
        ["oof"] * len(ids), "", fingerprint, errors,
    )  # fmt: skip


def _finish(folder: Path, table: Table, runs: Mapping[str, Run]) -> CrossValidation:
    predictions = out_of_fold(list(runs.values()), table.fingerprint)
    save_predictions(predictions, folder / "predictions" / "oof.parquet")
    content = scores(table, "oof", predictions)
    content["folds"] = [
        {"fold": name, **run.evaluation("val")["metrics"]["accuracy"], "n": run.evaluation("val")["n"]}
        for name, run in runs.items()
    ]
    evaluation = Evaluation(content)
    write_evaluation(folder, evaluation)
    if not (folder / "ensemble").exists():
        together = Ensemble("soft", tuple(runs), tuple(predictions.classes), predictions.task)
        write_ensemble(folder / "ensemble", runs, together, {}, {"oof": predictions}, without_val(table))
    rows = dict(line.split(": ", 1) for line in crossval_lines(content))
    plain_report(folder / "report.html", folder.name, "oof", table, evaluation, predictions, rows)
    return CrossValidation(folder, evaluation)


def without_val(table: Table) -> Table:
    """The table as the ensemble knows it: its members have trained on every fold, so none validates it."""
    import polars as pl

    seen = pl.when(pl.col("split") == "val").then(pl.lit("train")).otherwise("split").alias("split")
    return table.with_rows(table.rows.with_columns(seen), "members of the ensemble have trained on every fold")
