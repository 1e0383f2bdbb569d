"""From probabilities to an answer: the content of decision.json, and what it says of each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anmok.core.errors import DataError
from anmok.core.types import Task
from anmok.evaluate.abstain import sureness
from anmok.evaluate.calibrate import Calibration
from anmok.evaluate.costs import cheapest, cost_matrix
from anmok.evaluate.prior import reweigh

VERSION = 1
HALF = 0.5
PERSON = "ask a person"


def free_word(word: str, classes: Sequence[str]) -> str:
    """The word, or with a number behind it where a class is called so (in any case)."""
    taken = {name.casefold() for name in classes}
    found, number = word, 1
    while found.casefold() in taken:
        number += 1
        found = f"{word} {number}"
    return found


@dataclass(frozen=True)
class Prior:
    """The prevalence of each class where the model was validated, and where it is used; K numbers each."""

    source: tuple[float, ...]
    target: tuple[float, ...]


@dataclass(frozen=True)
class Decision:
    """How an answer follows from the probabilities that a model gives, which have its `temperature` in them already.

    In this order: `calibration` where a head could not carry it, then `prior`, then of a multi-class task the cheapest
    class by `costs` [K][K] (rows true), of a binary or multi-label one the `thresholds` of its labels (a multi-class
    task with thresholds answers with the label that is furthest above its own, if one is, else with the most probable
    of those that have none), else the most probable class.  Where the answer's confidence is below `abstain_below`, a
    person is asked.  Of a hierarchy, where nothing is decided by costs or thresholds, `fall_back` {parents: {class:
    parent}, below} says below which probability of the class its parent is answered (see `evaluate.fall_back`):
    `answers.answered` does that, `decide` and `apply` answer with classes.  `unknown`, `promises` and `text` say what
    was fitted, for those who use the model; `apply` does not read them.
    """

    classes: tuple[str, ...]
    task: Task
    temperature: float = 1.0
    thresholds: dict[str, float] | None = None
    costs: tuple[tuple[float, ...], ...] | None = None
    calibration: Calibration | None = None
    prior: Prior | None = None
    abstain_below: float | None = None
    unknown: dict[str, Any] | None = None
    promises: dict[str, Any] | None = None
    text: tuple[str, ...] = ()
    fall_back: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise DataError(
                f"temperature must be above 0, found {self.temperature:g}.", where="decision", code="damaged"
            )
        if self.costs is not None:
            cost_matrix(self.costs, self.classes)
        wrong = [name for name in self.thresholds or {} if name not in self.classes]
        if wrong:
            raise DataError(f"no such class as {wrong[0]}.", where="decision.thresholds", code="class-map")

    def probabilities(self, probs: np.ndarray) -> np.ndarray:
        """What is decided by, float64[N, K]: calibrated, and for the prevalence where the model is used."""
        if self.calibration is not None:
            probs = self.calibration.apply(probs)
        if self.prior is not None:
            return reweigh(probs, np.array(self.prior.source), np.array(self.prior.target), self.task)
        return np.asarray(probs, np.float64)

    def decide(self, probs: np.ndarray) -> np.ndarray:
        """Decided classes int64[N], or bool[N, K] of a multi-label task; -1 (no label) where a row has NaN.

        Abstentions are apart: see `asks`.
        """
        p = self.probabilities(self._checked(probs))
        bad = np.isnan(p).any(axis=1)
        p = np.where(bad[:, None], 0, p)
        if self.task == "multilabel":
            return (p >= self._limits()) & ~bad[:, None]
        if self.costs is not None:
            found = cheapest(p, np.array(self.costs))
        elif self.thresholds and self.task == "binary":
            found = self._binary(p)
        elif self.thresholds:
            limits = self._limits()
            over = p - np.where(np.isnan(limits), np.inf, limits)
            rest = p if not np.isnan(limits).any() else np.where(np.isnan(limits), p, -1.0)
            found = np.where((over >= 0).any(axis=1), over.argmax(axis=1), rest.argmax(axis=1))
        else:
            found = p.argmax(axis=1)
        return np.where(bad, -1, found)

    def asks(self, probs: np.ndarray) -> np.ndarray:
        """bool[N]: the images that a person should look at, those whose row has NaN too."""
        p = self.probabilities(self._checked(probs))
        bad = np.isnan(p).any(axis=1)
        if self.abstain_below is None:
            return bad
        return bad | (self.sureness(np.where(bad[:, None], 1, p)) < self.abstain_below)

    def sureness(self, probabilities: np.ndarray) -> np.ndarray:
        """How sure of each answer, float64[N], from what is decided by; see `abstain.sureness`."""
        if self.costs is not None:
            return sureness(probabilities, costs=np.array(self.costs))
        limits = self._limits() if self.task == "multilabel" or (self.task == "binary" and self.thresholds) else None
        return sureness(probabilities, limits=limits)

    def apply(self, probs: np.ndarray) -> list[str] | list[list[str]]:
        """The label of each image (of a multi-label task its labels), 'ask a person' where the model is not sure."""
        decided, asks, person = self.decide(probs), self.asks(probs), free_word(PERSON, self.classes)
        if self.task == "multilabel":
            return [
                [person] if ask else [self.classes[k] for k in np.flatnonzero(row)]
                for row, ask in zip(decided, asks, strict=True)
            ]
        return [person if ask else self.classes[k] for k, ask in zip(decided, asks, strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """The content of decision.json: `version`, `temperature`, `thresholds` and `costs`, and what is set besides."""
        out: dict[str, Any] = {
            "version": VERSION, "temperature": self.temperature, "thresholds": self.thresholds,
            "costs": None if self.costs is None else [list(row) for row in self.costs],
            "classes": list(self.classes), "task": self.task,
        }  # fmt: skip
        if self.calibration is not None:
            out["calibration"] = self.calibration.to_dict()
        if self.prior is not None:
            out["prior"] = {"source": list(self.prior.source), "target": list(self.prior.target)}
        for name in ("abstain_below", "unknown", "promises", "fall_back"):
            if getattr(self, name) is not None:
                out[name] = getattr(self, name)
        return out | ({"text": list(self.text)} if self.text else {})

    @classmethod
    def from_dict(cls, content: dict[str, Any], classes: Sequence[str], task: Task) -> Decision:
        """What `to_dict` gave, or what a folder had before anybody decided; classes and task: the model's.

        DataError: another version (code `version`), other classes than the model's (`class-map`), or damaged.
        """
        if not isinstance(content, dict) or content.get("version") != VERSION:
            raise DataError("the version of the decision is not known here.", where="decision", code="version")
        named, own = tuple(content.get("classes") or classes), tuple(classes)
        if named != own or content.get("task", task) != task:
            raise DataError(
                "the decision is for other classes or another task than the model's.",
                where="decision",
                code="class-map",
            )
        try:
            calibration, prior = content.get("calibration"), content.get("prior")
            thresholds, costs = content.get("thresholds"), content.get("costs")
            below = content.get("abstain_below")
            return cls(
                own, task, float(content.get("temperature", 1.0)),
                None if thresholds is None else {str(k): float(v) for k, v in thresholds.items()},
                None if costs is None else tuple(tuple(map(float, row)) for row in costs),
                None if calibration is None else Calibration.from_dict(calibration),
                None if prior is None else Prior(
                    tuple(map(float, prior["source"])), tuple(map(float, prior["target"]))
                ),
                None if below is None else float(below), content.get("unknown"), content.get("promises"),
                tuple(content.get("text", ())), _fall_back(content.get("fall_back"), own),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"the decision is damaged ({error!r}).", where="decision", code="damaged") from error

    def _checked(self, probs: np.ndarray) -> np.ndarray:
        if probs.ndim != 2 or probs.shape[1] != len(self.classes):
            raise DataError(
                f"the probabilities have the shape {probs.shape}, the decision is for {len(self.classes)} classes.",
                where="decision", code="shape",
            )  # fmt: skip
        return probs

    def _limits(self) -> np.ndarray:
        """The threshold of each class; NaN where there is none."""
        missing = HALF if self.task == "multilabel" else np.nan
        return np.array([(self.thresholds or {}).get(c, missing) for c in self.classes])

    def _binary(self, p: np.ndarray) -> np.ndarray:
        """The one class that has a threshold where it is reached, the other one else; the second of two that have."""
        thresholds = self.thresholds or {}
        label = self.classes[1] if self.classes[1] in thresholds else self.classes[0]
        k = self.classes.index(label)
        return np.where(p[:, k] >= thresholds[label], k, 1 - k)


def _fall_back(content: Any, classes: Sequence[str]) -> dict[str, Any] | None:
    """The content checked: a parent of every class, and a number.  ValueError where it is something else."""
    if content is None:
        return None
    parents, below = content["parents"], float(content["below"])
    if any(not isinstance(parents.get(name), str) for name in classes):
        raise ValueError("a class without a parent to fall back to")
    return {"parents": dict(parents), "below": below}
