"""`anmok evaluate`: a run on one of its splits, with a report; looks at the test split are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anmok.core.artifacts import save_predictions
from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.core.events import Events, read_events
from anmok.core.files import locked, must_not_exist
from anmok.core.progress import say, warn
from anmok.core.types import Evaluation, Predictions
from anmok.data.compare import changes, require_classes
from anmok.data.saved import MOVED, require_root
from anmok.stages.ensemble_model import predict_rows
from anmok.stages.ensemble_run import find_run, report_of_any
from anmok.stages.evaluate_file import FILES, Labels, read_predictions, without_probs
from anmok.stages.judge import judge, write_evaluation
from anmok.stages.run import Run

SPLITS = ("train", "val", "test")


def evaluate(what: Any, *, split: str = "test", out: Path | str | None = None) -> Evaluation:
    """The Evaluation of a run (its test split, unless another is named), or of Predictions or a file of them.

    A file is one that `anmok predict` wrote, or anybody's: see `evaluate_file.read_predictions`. Of a run or ensemble:
    writes predictions/<split>.parquet, evaluation-<split>.json, evaluation.json and a report (report.html for
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
    if not isinstance(what, Run) and Path(what).suffix.lower() in FILES:
        return _of_predictions(read_predictions(Path(what)), split)
    run = find_run(what)
    report = None if out is None else must_not_exist(out)
    with locked(run.path):
        return _of_run(run, split, report)


def _of_predictions(predictions: Predictions, split: str) -> Evaluation:
    from anmok.evaluate.metrics import evaluate as score

    marked = {name for name in predictions.split or () if name}
    if not marked:
        split = ""  # of no split
    elif split not in marked and len(marked) == 1:
        (split,) = marked
        say(f"the predictions are those of the {split} split")
    found = score(predictions, split)
    return without_probs(found) if isinstance(predictions, Labels) else found


def _of_run(run: Run, split: str, out: Path | None) -> Evaluation:
    table, model = run.table, run.model
    require_root(table, str(run.path), MOVED.format(run=run.path))
    require_classes(model.task, model.classes, table, where=str(run.path))
    rows = table.labelled().where(split=split)
    if not len(rows):
        raise DataError(f"the table has no labelled {split} image.", where=str(run.path), code="empty-table")
    if changed := changes(rows):
        warn(f"the {split} images are no longer those that the run began with: {changed}")
    predictions = predict_rows(model, rows, batch_size=run.config.batch_size, threads=run.config.runtime.threads,
                               allow_truncated=run.config.data.allow_truncated)  # fmt: skip
    predictions = stamped(predictions, split, model.hash, table.fingerprint)
    evaluation = judge(table, split, predictions, run.config.data, model.decision)
    events = Events(run.path / "events.jsonl")
    events.log("look", split=split, accuracy=evaluation.value("accuracy"))
    events.close()
    looks = sum(1 for event in read_events(run.path / "events.jsonl", "look") if event["split"] == split)
    evaluation = Evaluation({**evaluation.data, "looks": looks})
    if split == "test" and looks > 1:
        say(f"this is look number {looks} at the test split; what is chosen by it is no longer tested by it")
    save_predictions(predictions, run.path / "predictions" / f"{split}.parquet")
    write_evaluation(run.path, evaluation)
    report_of_any(run, split, evaluation, predictions, out)
    return evaluation


def stamped(p: Predictions, split: str, model_hash: str, fingerprint: str) -> Predictions:
    """The predictions with the split of every row, the model's hash and the table's fingerprint."""
    return Predictions(
        p.ids, p.classes, p.probs, p.targets, p.task, [split] * len(p), model_hash, fingerprint, p.errors
    )
