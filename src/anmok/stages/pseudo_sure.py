"""How sure a run's model is, in calibrated probabilities: by its decision, else by a temperature fitted here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from anmok.core.errors import DataError
from anmok.core.progress import say, warn
from anmok.evaluate.decision import Decision
from anmok.evaluate.scaling import fit_calibration
from anmok.stages.run import Run

Sure = Callable[[np.ndarray], np.ndarray]  # float[N, K] of the model to calibrated float[N, K]


def is_calibrated(content: Mapping[str, Any]) -> bool:
    """Whether `anmok decide` has been here: a decision.json with a calibration, in the head or beside it."""
    return content.get("temperature", 1.0) != 1.0 or bool(content.get("calibration")) or "before" in content


def calibrated_by(run: Run, model: Any, *, aloud: bool = True) -> Sure:
    """From the model's probabilities to those that are decided by (`Decision.probabilities`): calibrated, and for the
    prevalence where the model is used. What mistakes cost plays no part: a label that is taught should be the likely
    one, not the cheap one.

    A model that nobody has calibrated gets a temperature by its validation predictions, with a warning (aloud).
    """
    if is_calibrated(model.decision):
        return Decision.from_dict(dict(model.decision), model.classes, model.task).probabilities
    file = run.path / "predictions" / "val.parquet"
    if not file.is_file():
        warn("the model is not calibrated and there is no validation split: its confidence is taken as it is")
        return lambda probs: probs
    try:
        fitted = fit_calibration(run.predictions("val"), "temperature")
    except DataError as error:
        warn(f"the model is not calibrated, and no temperature can be fitted ({error.message}): taken as it is")
        return lambda probs: probs
    text = f"a temperature of {fitted.temperature:.3g}, fitted on its validation images, is used"
    if aloud:
        warn(f"the model is not calibrated; {text} (`anmok decide {run.path}` calibrates it for good)")
    else:
        say(text)
    return fitted.apply
