"""Calibration of a run's model: chosen on validation, put into its head where a head can carry it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.core.files import read_json
from anmok.core.types import Predictions
from anmok.evaluate.calibrate import Calibration
from anmok.evaluate.scaling import KINDS, choose_calibration, fit_calibration
from anmok.stages.ensemble_model import FILE
from anmok.stages.run import Run

AUTO = "auto"
APART = "it stands in decision.json alone, so other libraries give the probabilities before it."
UNFOLDED = ("head", "module")  # codes: no head that could carry it, no network that could be built here


class Calibrated(NamedTuple):
    """What becomes of a calibration.

    inside: what the model's own probabilities will have in them from now on, by `head` (tensors for model.safetensors)
    or by `temperature` (of decision.json).  rest: what only decision.json can carry, or None.  text: a sentence.
    """

    inside: Calibration
    head: Mapping[str, Any] | None
    temperature: float
    rest: Calibration | None
    text: str


def calibrate(run: Run, p: Predictions, temperature: float, kind: str = AUTO) -> Calibrated:
    """Choose a calibration by the validation predictions `p` of the run's model, and find its place.

    temperature: the one in decision.json, which `p` has in it.  kind: auto, or one of scaling.KINDS.  UsageError: no
    such kind; DataError: see `fitting_rows`.
    """
    if kind not in (AUTO, *KINDS):
        raise UsageError(
            f"no such calibration as {kind}.", where="--calibrate", remedy=did_you_mean(kind, (AUTO, *KINDS)),
            code="setting",
        )  # fmt: skip
    if kind == AUTO:
        chosen, _, reason = choose_calibration(p)
    else:
        named = next(k for k in KINDS if k == kind)
        chosen, reason = fit_calibration(p, named), "as asked"
    nothing = Calibration("none", p.task)
    if chosen.kind == "none":
        return Calibrated(nothing, None, temperature, None, f"The probabilities stay as they are: {reason}.")
    name = f"temperature {chosen.temperature:.3g}" if chosen.kind == "temperature" else chosen.kind
    said = f"Calibrated on {len(p):,} images, {name} ({reason})"
    if not chosen.folds:
        return Calibrated(nothing, None, temperature, chosen, f"{said}; {APART}")
    head = _head(run, chosen, temperature)
    if head is not None:
        elsewhere = "pretrained_cfg" in read_json(run.path / "model" / "config.json")
        more = ": timm and transformers give the same probabilities" if elsewhere else ""
        return Calibrated(chosen, head, 1.0, None, f"{said}, in the last layer of model.safetensors{more}.")
    if chosen.kind == "temperature" and not names_members(run):
        return Calibrated(chosen, None, temperature * chosen.temperature, None, f"{said}; {APART}")
    return Calibrated(nothing, None, temperature, chosen, f"{said}; {APART}")


def names_members(run: Run) -> bool:
    """Whether its model is an ensemble of others, which has no head and divides no logits by a temperature."""
    return (run.path / "model" / FILE).is_file()


def _head(run: Run, chosen: Calibration, temperature: float) -> Mapping[str, Any] | None:
    """The head with the calibration in it, and with the temperature that stood in decision.json; None: it cannot."""
    if names_members(run):
        return None
    from anmok.deploy.fold import fold_head

    before = Calibration("temperature", chosen.task, temperature)
    try:
        return fold_head(run.model, [before, chosen] if temperature != 1 else [chosen])
    except DataError as error:
        if error.code not in UNFOLDED:
            raise
        return None


def of_model(p: Predictions, model_hash: str, decision: Mapping[str, Any], remedy: str) -> Predictions:
    """Stored predictions as the model gives them now.

    Those of the model before the last decision are brought up to it.  DataError, code `model-hash`: they are of another
    model.
    """
    if p.model_hash == model_hash:
        return p
    before = decision.get("before") or {}
    if before.get("model_hash") != p.model_hash:
        raise DataError(
            "the stored predictions are not those of this model.", where="predictions", remedy=remedy, code="model-hash"
        )
    return calibrated(p, Calibration.from_dict(before["calibration"]), model_hash)


def calibrated(p: Predictions, calibration: Calibration, model_hash: str) -> Predictions:
    """The predictions of the model with this calibration in it."""
    probs = np.asarray(calibration.apply(p.probs), np.float32)
    return replace(p, probs=probs, model_hash=model_hash)
