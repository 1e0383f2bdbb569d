"""`anmok evaluate`: a run on one of its splits, with a report; looks at the test split are counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anmok.core.artifacts import save_predictions
from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.core.events import Events, read_events
from anmok.core.files import locked, must_not_exist
from anmok.core.progress import say, warn
from anmok.core.types import Evaluation, Predictions
from anmok.data.compare import changes, require_classes
from anmok.data.saved import require_root
from anmok.report.language import language_of
from anmok.stages.ensemble_model import predict_rows
from anmok.stages.ensemble_run import find_run, report_of_any
from anmok.stages.evaluate_file import FILES, Labels, read_frame, read_predictions, without_probs
from anmok.stages.evaluate_page import can_write, file_page, file_table, page_beside
from anmok.stages.judge import groups_of, judge, write_evaluation
from anmok.stages.run import Run
from anmok.stages.slices import Division, divisions, file_divisions, sliced

SPLITS = ("train", "val", "test")


def evaluate(
    what: Any, *, split: str = "test", out: Path | str | None = None, slices: Sequence[str] | str | None = None,
    language: str | None = None, tta: str | None = None, **views: Any,
) -> Evaluation:  # fmt: skip
    """The Evaluation of a run (its test split, unless another is named), or of Predictions or a file of them.

    A file is one that `anmok predict` wrote, or anybody's: see `evaluate_file.read_predictions`; its page is written
    beside it (NAME-report.html), or to `out`: with pictures where a column `image` or `path` names images below its
    folder, and of what a column `group` names intervals know that it is not independent. Predictions themselves have a
    page where `out` names one. Of a run or ensemble:
    writes predictions/<split>.parquet, evaluation-<split>.json, evaluation.json and a report (report.html for
    val, report-<split>.html else; or `out`, which must not exist yet). Every look at the test split is an event of the
    run, and counted.  UsageError where there is no run; DataError for other classes than the model's (class-map), or
    images that are no longer where the run's table says (missing-root).

    slices: columns by which every score is given again, 'camera,folder,size,duplicates'; by default those that divide
    the images sensibly (see `slices.divisions`), of a file none.  language: of the report, en or ko; by default that of
    the environment.
    tta: test-time views, with tta_weights and tta_seed; this is then what `tta_evaluate.evaluate_views` gives.
    """
    if split not in SPLITS:
        raise UsageError(
            f"no such split as {split}.", where="--split", remedy=did_you_mean(split, SPLITS), code="setting"
        )
    language_of(language)  # a wrong one is said before anything is done
    if tta is not None or views:
        if slices is not None:
            raise UsageError("an evaluation with views has no slices.", where="--slices", code="setting")
        from anmok.stages.tta_evaluate import evaluate_views

        return evaluate_views(what, tta, split=split, out=out, **views)
    report = None if out is None else must_not_exist(out)
    if isinstance(what, Predictions):
        if slices is not None:
            raise UsageError(
                "these predictions name no columns.", where="slices", code="setting",
                remedy="Give the run, or a file with the columns; or call anmok.evaluate.slices.evaluate_slices.",
            )  # fmt: skip
        return _of_predictions(what, split, report, language)
    if not isinstance(what, Run) and Path(what).suffix.lower() in FILES:
        return _of_file(Path(what), split, report, slices, language)
    run = find_run(what)
    with locked(run.path):
        return _of_run(run, split, report, slices, language)


def _of_predictions(p: Predictions, split: str, out: Path | None, language: str | None) -> Evaluation:
    evaluation = _scored(p, split)
    if out is not None:
        file_page(out, out.stem, file_table(p), p, evaluation, language)
    return evaluation


def _of_file(
    path: Path, split: str, out: Path | None, slices: Sequence[str] | str | None, language: str | None
) -> Evaluation:
    p = read_predictions(path)
    frame = read_frame(path)
    divided = [] if slices is None else file_divisions(frame, slices)
    table = file_table(p, frame, path)
    evaluation = _scored(p, split, divided, groups_of(table))
    place = out or page_beside(path)
    if out is not None or can_write(place):
        file_page(place, path.name, table, p, evaluation, language)
    return evaluation


def _scored(
    p: Predictions, split: str, divided: Sequence[Division] = (), groups: dict[str, str] | None = None
) -> Evaluation:
    from anmok.evaluate.metrics import evaluate as score

    marked = {name for name in p.split or () if name}
    if not marked:
        split = ""  # of no split
    elif split not in marked and len(marked) == 1:
        (split,) = marked
        say(f"the predictions are those of the {split} split")
    found = score(p, split, groups=groups)
    if divided:
        found = Evaluation({**found.data, "slices": sliced(divided, p, split, groups)})
    return without_probs(found) if isinstance(p, Labels) else found


def _of_run(
    run: Run, split: str, out: Path | None, slices: Sequence[str] | str | None, language: str | None
) -> Evaluation:
    table, model = run.table, run.model
    require_root(table, str(run.path), run.moved)
    require_classes(model.task, model.classes, table, where=str(run.path))
    rows = table.labelled().where(split=split)
    if not len(rows):
        raise DataError(f"the table has no labelled {split} image.", where=str(run.path), code="empty-table")
    divided = divisions(table, split, slices)
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
    parts = sliced(divided, predictions, split, groups_of(table))
    evaluation = Evaluation({**evaluation.data, "looks": looks, **({"slices": parts} if parts else {})})
    if split == "test" and looks > 1:
        say(f"this is look number {looks} at the test split; what is chosen by it is no longer tested by it")
    save_predictions(predictions, run.path / "predictions" / f"{split}.parquet")
    write_evaluation(run.path, evaluation)
    report_of_any(run, split, evaluation, predictions, out, language)
    return evaluation


def stamped(p: Predictions, split: str, model_hash: str, fingerprint: str) -> Predictions:
    """The predictions with the split of every row, the model's hash and the table's fingerprint."""
    return Predictions(
        p.ids, p.classes, p.probs, p.targets, p.task, [split] * len(p), model_hash, fingerprint, p.errors
    )
