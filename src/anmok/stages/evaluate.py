"""`anmok evaluate`: a run on one of its splits, with a report; looks at the test split are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anmok.core.artifacts import load_predictions, save_predictions
from anmok.core.errors import DataError, UsageError, did_you_mean, near_path
from anmok.core.events import Events, read_events
from anmok.core.files import locked, must_not_exist
from anmok.core.progress import say, warn
from anmok.core.types import Evaluation, Predictions
from anmok.data.compare import changes, require_classes
from anmok.data.saved import MOVED, require_root
from anmok.stages.judge import judge, write_evaluation
from anmok.stages.predict import predict_table
from anmok.stages.report import report_of
from anmok.stages.run import Run

SPLITS = ("train", "val", "test")


def evaluate(what: Any, *, split: str = "test", out: Path | str | None = None) -> Evaluation:
    """The Evaluation of a run (its test split, unless another is named), or of Predictions or a file of them.

    Of a run: writes predictions/<split>.parquet, evaluation-<split>.json, evaluation.json and a report (report.html for
    val, report-<split>.html else; or `out`, which must not exist yet). Every look at the test split is an event of the
    run, and counted.  UsageError where there is no run; DataError for other classes than the model's (class-map), or
    images that are no longer where the run's table says (missing-root).
    """
    if split not in SPLITS:
        raise UsageError(
            f"no such split as {split}.", where="--split", remedy=did_you_mean(split, SPLITS), code="setting"
        )
    if isinstance(what, Predictions):
        return _of_predictions(what, split)
    if not isinstance(what, Run) and Path(what).suffix.lower() == ".parquet":
        return _of_predictions(load_predictions(what), split)
    run = what if isinstance(what, Run) else _run(Path(what))
    report = None if out is None else must_not_exist(out)
    with locked(run.path):
        return _of_run(run, split, report)


def _run(path: Path) -> Run:
    if (path / "config.toml").is_file():
        return Run(path)
    near = "" if path.exists() else near_path(path)
    raise UsageError(
        "no run here.", where=str(path), code="run",
        remedy=f"{near}Expected a folder that `anmok train` wrote, or a .parquet that `anmok predict` wrote.",
    )  # fmt: skip


def _of_predictions(predictions: Predictions, split: str) -> Evaluation:
    from anmok.evaluate.metrics import evaluate as score

    marked = {name for name in predictions.split or () if name}
    if not marked:
        return score(predictions, "")  # of no split
    if split not in marked and len(marked) == 1:
        (split,) = marked
        say(f"the predictions are those of the {split} split")
    return score(predictions, split)


def _of_run(run: Run, split: str, out: Path | None) -> Evaluation:
    table, model = run.table, run.model
    require_root(table, str(run.path), MOVED.format(run=run.path))
    require_classes(model.task, model.classes, table, where=str(run.path))
    rows = table.labelled().where(split=split)
    if not len(rows):
        raise DataError(f"the table has no labelled {split} image.", where=str(run.path), code="empty-table")
    if changed := changes(rows):
        warn(f"the {split} images are no longer those that the run began with: {changed}")
    predictions = predict_table(model, rows, batch_size=run.config.batch_size, threads=run.config.runtime.threads,
                                allow_truncated=run.config.data.allow_truncated)  # fmt: skip
    predictions = stamped(predictions, split, model.hash, table.fingerprint)
    evaluation = judge(table, split, predictions, run.config.data)
    events = Events(run.path / "events.jsonl")
    events.log("look", split=split, accuracy=evaluation.value("accuracy"))
    events.close()
    looks = sum(1 for event in read_events(run.path / "events.jsonl", "look") if event["split"] == split)
    evaluation = Evaluation({**evaluation.data, "looks": looks})
    if split == "test" and looks > 1:
        say(f"this is look number {looks} at the test split; what is chosen by it is no longer tested by it")
    save_predictions(predictions, run.path / "predictions" / f"{split}.parquet")
    write_evaluation(run.path, evaluation)
    report_of(run, split, evaluation, predictions, out)
    return evaluation


def stamped(p: Predictions, split: str, model_hash: str, fingerprint: str) -> Predictions:
    """The predictions with the split of every row, the model's hash and the table's fingerprint."""
    return Predictions(
        p.ids, p.classes, p.probs, p.targets, p.task, [split] * len(p), model_hash, fingerprint, p.errors
    )
