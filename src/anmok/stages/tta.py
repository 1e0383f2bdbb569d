"""What test-time views weigh: all the same, or as fitted on a run's validation images and kept in its tta.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.core.files import locked, read_json, write_json
from anmok.core.progress import bar, say
from anmok.data.batches import Loader
from anmok.data.saved import require_root
from anmok.data.table import Table
from anmok.evaluate.answers import is_decided
from anmok.evaluate.blend import fit_weights
from anmok.evaluate.decision import Decision
from anmok.stages.ensemble_model import EnsembleModel
from anmok.stages.ensemble_run import CONFIG, find_run
from anmok.stages.predict import Reading
from anmok.stages.predict_settings import FIT, UNIFORM
from anmok.stages.run import Run

FILE = "tta.json"
ALONE = "model"  # the name of a model that is no ensemble's member
TINY = 1e-12


def members_of(model: Any) -> dict[str, Any]:
    """The Models by name: an ensemble's members, or the one."""
    return dict(model.members) if isinstance(model, EnsembleModel) else {ALONE: model}


def chosen_weights(model: Any, tta: str | None, weights: Any, seed: int) -> Any:
    """The weights as a Model's or an ensemble's `predict` takes them; None: all views weigh the same.

    weights: uniform, fit, numbers (one a view), or of an ensemble {member: numbers}.  It is said what the views cost,
    and that a decision was fitted without them.  UsageError: weights without views, no such word, no such views, or
    `fit` where there is no run with validation images.
    """
    if tta is None:
        if weights not in (None, UNIFORM):
            raise UsageError(
                "there are no test-time views to weigh.", where="--tta-weights", remedy="Name them with --tta.",
                code="setting",
            )  # fmt: skip
        return None
    members = members_of(model)
    views = next(iter(members.values())).views(tta, seed)
    say(f"{len(views)} views of each image: about {views.passes} times the time in the network")
    if _decides(model):
        say("the model's decision was fitted on answers without views; its thresholds may not be the best with them")
    if not isinstance(weights, str):
        return weights
    if weights not in (UNIFORM, FIT):
        raise UsageError(
            f"no such weights as {weights}.", where="--tta-weights", remedy=did_you_mean(weights, (UNIFORM, FIT)),
            code="setting",
        )  # fmt: skip
    if weights == UNIFORM:
        return None
    run = run_of(model)
    with locked(run.path):
        found = fitted_weights(run, model, tta, seed)
    return found if isinstance(model, EnsembleModel) else found[ALONE]


def run_of(model: Any) -> Run:
    """The run or ensemble that the model lies in.  UsageError where it lies in none."""
    home = Path(model.path).parent
    if not any((home / name).is_file() for name in ("config.toml", CONFIG)):
        raise UsageError(
            "this model lies in no run, so there are no validation images to fit weights on.", where=str(model.path),
            remedy="Name the run, or leave --tta-weights out: all views then weigh the same.", code="run",
        )  # fmt: skip
    return find_run(home)


def fitted_weights(run: Run, model: Any, tta: str, seed: int) -> dict[str, list[float]]:
    """The weights of each member's views on the simplex with the least log loss on the run's validation images.

    They are kept in the run's tta.json and taken from there while the model stays the same.  (Shanmugam et al. 2021,
    arXiv:2011.11156, learn a weight for each view; this mixture's has one optimum.)  UsageError where there are no
    validation images; DataError where they have moved (missing-root).
    """
    file = run.path / FILE
    kept = _kept(file)
    named = f"{tta} seed {seed}"
    if (found := kept.get(named)) and found["model_hash"] == model.hash:
        return dict(found["weights"])
    rows = validation_of(run)
    fits = {name: fit(truths(m, rows, tta, seed, reading_of(run)).values) for name, m in members_of(model).items()}
    names = list(next(iter(members_of(model).values())).views(tta, seed).names)
    kept[named] = {
        "model_hash": model.hash, "split": "val", "n": len(rows), "views": names,
        "weights": {name: one.weights for name, one in fits.items()},
        "log_loss": {name: one.log_loss for name, one in fits.items()},
    }  # fmt: skip
    write_json(file, {"version": 1, "fits": kept})
    for name, one in fits.items():
        who = "" if name == ALONE else f" of {name}"
        shown = ", ".join(f"{view} {w:.3f}" for view, w in zip(names, one.weights, strict=True))
        losses = ", ".join(f"{how} {value:.4f}" for how, value in one.log_loss.items())
        say(f"weights{who} fitted on {len(rows):,} validation images: {shown} (log loss: {losses})")
    return {name: one.weights for name, one in fits.items()}


def validation_of(run: Run) -> Table:
    """The run's labelled validation images."""
    rows = run.table.labelled().where(split="val")
    if not len(rows):
        raise UsageError(
            "there are no validation images to fit weights on.", where=str(run.path), code="run",
            remedy="Leave --tta-weights out: all views then weigh the same.",
        )  # fmt: skip
    require_root(run.table, str(run.path), run.moved)
    return rows


def reading_of(run: Run) -> Reading:
    """How the run reads images."""
    config = run.config
    return Reading(config.batch_size, config.runtime.threads, config.data.allow_truncated)


class Truths(NamedTuple):
    """What each view gives to what is true: values float64[M, V]; ids M strings.

    A row is an image, or of a multi-label task one that is known of an image's labels.
    """

    values: np.ndarray
    ids: list[str]


def truths(model: Any, rows: Table, tta: str, seed: int, reading: Reading) -> Truths:
    """The probability that each view of labelled images gives to their target; no more is held of an image."""
    views = model.views(tta, seed)
    loader = Loader(
        rows, preprocess=model.preprocess, batch_size=reading.batch_size, threads=reading.threads,
        allow_truncated=reading.allow_truncated, test_views=views,
    )  # fmt: skip
    parts: list[np.ndarray] = [np.zeros((0, len(views)))]
    ids: list[str] = []
    with bar("weigh views", len(rows)) as progress:
        for batch in loader.epoch():
            if len(batch):
                each = [model.probabilities(view) for view in views.shown(batch.images)]
                probs = np.stack(each, axis=-1).astype(np.float64)
                values, whose = _of_truth(probs, batch.targets)
                parts.append(values)
                ids += [batch.ids[i] for i in whose]
            progress.advance(len(batch))
    return Truths(np.concatenate(parts), ids)


def _of_truth(probs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of probs float64[B, K, V] those of what is true, [M, V], and the image of each row."""
    if targets.ndim == 1:
        known = np.flatnonzero(targets >= 0)
        return probs[known, targets[known]], known
    image, label = np.nonzero(~np.isnan(targets))
    yes = targets[image, label, None] > 0.5
    return np.where(yes, probs[image, label], 1 - probs[image, label]), image


class Fit(NamedTuple):
    """Weights of the views that sum to 1, and the log loss of {plain, uniform, fitted}."""

    weights: list[float]
    log_loss: dict[str, float]


def fit(values: np.ndarray) -> Fit:
    """Weights with the least log loss, of float[M, V] as `truths` has them.  DataError: no row."""
    if not len(values):
        raise DataError("no validation image can be read.", where="--tta-weights", code="empty-table")
    zeros = np.zeros(len(values), np.int64)
    found = fit_weights([np.stack([v, 1 - v], axis=1) for v in values.T], zeros)
    ways: Mapping[str, np.ndarray] = {
        "plain": values[:, 0], "uniform": values.mean(axis=1), "fitted": values @ found,
    }  # fmt: skip
    return Fit(
        [float(w) for w in found], {name: float(-np.log(np.maximum(p, TINY)).mean()) for name, p in ways.items()}
    )


def _decides(model: Any) -> bool:
    return is_decided(Decision.from_dict(dict(model.decision), model.classes, model.task))


def _kept(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    content = read_json(file)
    fits = content.get("fits") if isinstance(content, dict) and content.get("version") == 1 else None
    if not isinstance(fits, dict) or not all(_is_fit(one) for one in fits.values()):
        raise DataError("not a list of weights that is known here.", where=str(file), code="damaged",
                        remedy="Remove it; the weights are then fitted anew.")  # fmt: skip
    return fits


def _is_fit(one: Any) -> bool:
    weights = one.get("weights") if isinstance(one, dict) else None
    return isinstance(weights, dict) and "model_hash" in one and all(isinstance(w, Sequence) for w in weights.values())
