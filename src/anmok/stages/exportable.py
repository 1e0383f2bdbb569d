"""What of a run, model or ensemble can become one graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from anmok.augment.preprocess import Preprocess
from anmok.core.errors import DataError, UsageError
from anmok.core.progress import say
from anmok.evaluate.calibrate import Calibration

if TYPE_CHECKING:
    from torch import nn

MEANS = ("soft", "weighted", "greedy")  # the ensembles that are a weighted mean


class Exportable(NamedTuple):
    """A module from uint8[B, S, S, C] to probabilities, its preprocessing, and what the network is called."""

    module: nn.Module
    preprocess: Preprocess
    name: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(S, S, C) of its images."""
        return self.preprocess.image_size, self.preprocess.image_size, self.preprocess.depth


def exportable(model: Any) -> Exportable:
    """The module of a loaded Model or EnsembleModel, the calibration of its decision inside where it is linear.

    It is said aloud where an isotonic one stays outside.  UsageError, code `not-exportable`: an ensemble whose members
    do not see the same pixels, or that is no mean.
    """
    from anmok.deploy.graph import Together, answering, with_calibration
    from anmok.stages.ensemble_model import EnsembleModel

    calibration = calibration_of(model.decision)
    if calibration is not None and calibration.kind == "isotonic":
        say("the isotonic calibration is not in the graph: it stays in decision.json, which `anmok predict` applies")
    if not isinstance(model, EnsembleModel):
        return Exportable(with_calibration(answering(model), calibration), model.preprocess, model.architecture)
    members = list(model.members.values())
    shared = _shared(members)
    if model.ensemble.how not in MEANS:
        raise UsageError(
            f"an ensemble by {model.ensemble.how} is no mean, which is all that a graph of several holds.",
            where=str(model.path), remedy="Make it anew with --how soft, weighted or greedy, or export its members.",
            code="not-exportable",
        )  # fmt: skip
    weights = model.ensemble.weights or tuple(1 / len(members) for _ in members)
    together = Together([answering(m) for m in members], weights).eval()
    return Exportable(with_calibration(together, calibration), shared, model.architecture)


def _shared(members: list[Any]) -> Preprocess:
    """The preprocessing of all members but for mean and std, which lie in the graph.  UsageError where they differ."""
    own = [replace(m.preprocess, mean=(), std=()) for m in members]
    other = next((i for i, p in enumerate(own) if p != own[0]), None)
    if other is not None:
        first, second = ([f"{p.image_size} pixels {p.channels} {p.fit}", *p.steps()] for p in (own[0], own[other]))
        raise UsageError(
            f"its members see different pixels ({', '.join(first)}; {', '.join(second)}), which no graph can hold.",
            where="export", remedy="Export the members one by one, or train them at the same --image-size.",
            code="not-exportable",
        )  # fmt: skip
    return own[0]


def calibration_of(decision: Mapping[str, Any]) -> Calibration | None:
    """The calibration that a decision carries besides its temperature.  DataError, code `damaged`."""
    found = decision.get("calibration")
    if found is None:
        return None
    if not isinstance(found, dict):
        raise DataError("not a calibration.", where="decision.json", code="damaged")
    return Calibration.from_dict(found)
