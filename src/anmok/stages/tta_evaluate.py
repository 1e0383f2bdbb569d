"""`anmok evaluate RUN --tta`: with test-time views and without them, on the same images; both beside the cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from anmok.core.artifacts import save_predictions
from anmok.core.errors import DataError, UsageError
from anmok.core.events import Events, read_events
from anmok.core.files import locked, write_json
from anmok.core.progress import say, warn
from anmok.core.types import Batch, Evaluation, Predictions
from anmok.data.compare import changes, require_classes
from anmok.data.saved import require_root
from anmok.data.table import Table
from anmok.evaluate.fitting import folds
from anmok.evaluate.paired import compare_all
from anmok.report.tta_text import tta_html, tta_lines
from anmok.stages.ensemble_gain import TIMED, WARM
from anmok.stages.ensemble_model import EnsembleModel, weights_of
from anmok.stages.ensemble_run import find_run
from anmok.stages.evaluate import FILES, stamped
from anmok.stages.judge import groups_of, scores
from anmok.stages.paired import Paired
from anmok.stages.predict import answers_of
from anmok.stages.predict_settings import FIT, UNIFORM
from anmok.stages.run import Run
from anmok.stages.tta import chosen_weights, fit, members_of, reading_of, truths, validation_of

FOLDER = "tta"
PARTS = 5


@dataclass(frozen=True, eq=False)
class Viewed(Evaluation):
    """An evaluation with test-time views, written to `path`, that prints as its comparison with the plain one.

    facts: {tta, seed, weighting, in_folds, views, weights {member: numbers} or None, latency_ms {plain, views}}.
    """

    path: Path
    paired: Paired
    facts: dict[str, Any]

    def __repr__(self) -> str:
        return "\n".join(tta_lines(self.facts, self.paired.split, self.paired.rows[0]))

    def _repr_html_(self) -> str:
        return tta_html(self.facts, self.paired.split, self.paired.rows[0])


def evaluate_views(
    what: Any, tta: str | None, *, split: str = "test", tta_weights: Any = UNIFORM, tta_seed: int = 0, out: Any = None
) -> Viewed:
    """Evaluate a run or ensemble on a split with test-time views and without, decoding each image once.

    what: a Run or its path; tta, tta_weights, tta_seed: see `predict.predict`; of the split val, fitted weights are
    those of the other four fifths of the images.  Writes RUN/tta/<views>-<split>.parquet and .json; what
    `anmok evaluate` has written stays as it is.  A look at the test split is an event of the run.  Errors: as
    `evaluate.evaluate` has them, and see `tta.chosen_weights`.
    """
    if tta is None:
        raise UsageError(
            "there are no test-time views to weigh.", where="--tta-weights", remedy="Name them with --tta.",
            code="setting",
        )  # fmt: skip
    if out is not None:
        raise UsageError("an evaluation with views is printed, and has no report.", where="--out", code="out")
    if isinstance(what, Predictions) or (not isinstance(what, Run) and Path(what).suffix.lower() in FILES):
        raise UsageError(
            "predictions have no images to see other views of.", where="--tta", remedy="Name the run.", code="setting"
        )
    run = find_run(what)
    model = run.model
    table = run.table
    require_root(table, str(run.path), run.moved)
    require_classes(model.task, model.classes, table, where=str(run.path))
    rows = table.labelled().where(split=split)
    if not len(rows):
        raise DataError(f"the table has no labelled {split} image.", where=str(run.path), code="empty-table")
    in_folds = tta_weights == FIT and split == "val"
    weights = chosen_weights(model, tta, UNIFORM if in_folds else tta_weights, tta_seed)
    with locked(run.path):
        if changed := changes(rows):
            warn(f"the {split} images are no longer those that the run began with: {changed}")
        weigh = _in_folds(run, model, tta, tta_seed) if in_folds else _constant(weights, tta, tta_seed)
        both = [
            _both(member, rows, tta, tta_seed, weigh(name, member), reading_of(run))
            for name, member in members_of(model).items()
        ]
        plain, viewed = ([pair[i] for pair in both] for i in (0, 1))
        found = [
            stamped(model.together(p) if isinstance(model, EnsembleModel) else p[0], split, model.hash,
                    table.fingerprint)
            for p in (plain, viewed)
        ]  # fmt: skip
        facts = {
            "tta": tta, "seed": tta_seed, "weighting": tta_weights if isinstance(tta_weights, str) else "given",
            "in_folds": in_folds, "views": list(next(iter(members_of(model).values())).views(tta, tta_seed).names),
            "weights": None if in_folds or weights is None else {
                name: [float(w) for w in weights_of(weights, name) or ()] for name in members_of(model)
            },
            "latency_ms": latency_of(model, tta, tta_seed),
        }  # fmt: skip
        return _written(run, split, found[0], found[1], facts)


def _written(run: Run, split: str, plain: Predictions, viewed: Predictions, facts: dict[str, Any]) -> Viewed:
    names = ("plain", facts["tta"])
    rows = compare_all(dict(zip(names, (plain, viewed), strict=True)), groups=groups_of(run.table))
    paired = Paired(split, names, rows)
    evaluation = Evaluation(scores(run.table, split, viewed, run.model.decision))
    events = Events(run.path / "events.jsonl")
    events.log("look", split=split, accuracy=evaluation.value("accuracy"), tta=facts["tta"])
    events.close()
    looks = sum(1 for event in read_events(run.path / "events.jsonl", "look") if event["split"] == split)
    if split == "test" and looks > 1:
        say(f"this is look number {looks} at the test split")
    weighting = "" if facts["weighting"] == UNIFORM else f"-{facts['weighting']}"
    stem = run.path / FOLDER / f"{facts['tta'].replace(':', '-')}{weighting}-{split}"
    save_predictions(viewed, stem.with_suffix(".parquet"))
    content = {**evaluation.data, "looks": looks, "tta": {**facts, "paired": paired.to_dict()}}
    write_json(stem.with_suffix(".json"), content)
    return Viewed(content, stem.with_suffix(".json"), paired, facts)


Weigh = Callable[[str, Any], Callable[[list[str]], Any]]  # of a member: of ids, float64[V], [B, V] or None


def _constant(weights: Any, tta: str, seed: int) -> Weigh:
    from anmok.deploy.views import unit_weights

    def of_member(name: str, member: Any) -> Callable[[list[str]], Any]:
        own = unit_weights(weights_of(weights, name), member.views(tta, seed).names)
        return lambda ids: own

    return of_member


def _in_folds(run: Run, model: Any, tta: str, seed: int) -> Weigh:
    """Each validation image's weights are fitted on the other folds: it must not judge what it has fitted."""
    rows = validation_of(run)
    targets = rows.targets()
    ids: list[str] = rows.rows["id"].to_list()
    fold = dict(zip(ids, folds(np.nan_to_num(targets) > 0.5 if targets.ndim == 2 else targets, PARTS, 0), strict=True))

    def of_member(_: str, member: Any) -> Callable[[list[str]], Any]:
        found = truths(member, rows, tta, seed, reading_of(run))
        part = np.array([fold[i] for i in found.ids])
        fits = [fit(found.values[part != k]).weights for k in range(PARTS)]
        return lambda batch: np.array([fits[fold[i]] for i in batch])

    return of_member


def _both(
    model: Any, rows: Table, tta: str, seed: int, weigh: Callable[[list[str]], Any], reading: Any
) -> tuple[Predictions, Predictions]:
    """The plain predictions and those over the views, of the same pass over the images."""
    from anmok.engine.predict import over_views

    plain: dict[str, np.ndarray] = {}
    views = model.views(tta, seed)

    def answer(batch: Batch) -> np.ndarray:
        parts = [model.probabilities(view) for view in views.shown(batch.images)]
        plain.update(zip(batch.ids, parts[0], strict=True))
        return over_views(lambda probs: probs, parts, weigh(batch.ids))

    viewed = answers_of(model, rows, answer, reading, views)
    unread = np.full(len(model.classes), np.nan, np.float32)
    return replace(viewed, probs=np.stack([plain.get(i, unread) for i in viewed.ids])), viewed


def latency_of(model: Any, tta: str, seed: int = 0) -> dict[str, float]:
    """{plain, views}: milliseconds an image, one at a time, preparation included, decoding left out.

    The fastest of some, taken in turn: what else the machine does only adds.  Of an ensemble the sum of its members.
    """
    found = [
        _milliseconds(member, (member.views(None), member.views(tta, seed))) for member in members_of(model).values()
    ]
    return dict(zip(("plain", "views"), (sum(times) for times in zip(*found, strict=True)), strict=True))


def _milliseconds(model: Any, ways: tuple[Any, Any]) -> list[float]:
    side, depth = 2 * model.preprocess.image_size, model.preprocess.depth
    image = np.random.default_rng(0).integers(0, 256, (side, side, depth), dtype=np.uint8)
    times = []
    for _ in range(WARM + TIMED):
        for views in ways:
            began = time.perf_counter()
            for view in views.shown([view[None] for view in views(image, "0")]):
                model.probabilities(view)
            times.append(time.perf_counter() - began)
    kept = np.array(times).reshape(-1, len(ways))[WARM:]
    return [1000 * float(fastest) for fastest in kept.min(axis=0)]
