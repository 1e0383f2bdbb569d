"""A calibration as plain numbers: applied to probabilities, or folded into the head of a network.

Logits are read off probabilities up to what the softmax forgets, a constant of each image; so every scaling here is one
that no such constant changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from anmok.core.errors import DataError
from anmok.core.types import Task

Kind = Literal["none", "temperature", "vector", "isotonic"]
TINY = float(np.finfo(np.float32).tiny)
LARGEST = float(1 - np.finfo(np.float32).eps / 2)  # the largest float32 below 1


@dataclass(frozen=True)
class Calibration:
    """What makes probabilities say how often they are right.

    kind 'temperature': logits are divided by `temperature` (Guo et al. 2017).  'vector': centred logits (of an image,
    less their mean over the classes; of multi-label as they are) times `weight`, plus `bias`, K numbers each (Guo et
    al. 2017, § 4.2; Platt 1999 for each label).  'isotonic': each class's probability is read from its `knots`, (x, y)
    with y rising, linear between them, and rows are divided by their sum (Zadrozny & Elkan 2002).
    """

    kind: Kind
    task: Task
    temperature: float = 1.0
    weight: tuple[float, ...] | None = None
    bias: tuple[float, ...] | None = None
    knots: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] | None = None

    @property
    def folds(self) -> bool:
        """Whether a linear head can carry it: an isotonic one it cannot."""
        return self.kind != "isotonic"

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Calibrated probabilities float32[N, K]; a row with NaN stays NaN."""
        if self.kind == "none":
            return np.asarray(probs, np.float32)
        if self.kind == "isotonic":
            return self._isotonic(probs)
        logits = logits_of(probs, self.task)
        if self.kind == "temperature":
            logits = logits / self.temperature
        else:
            logits = centred(logits, self.task) * np.array(self.weight) + np.array(self.bias)
        return probs_of(logits, self.task).astype(np.float32)

    def fold(self, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The linear head (weight float[O, D], bias float[O]) that gives the calibrated logits, float64.

        O is K, or 1 for a binary task whose logits are (0, z).  DataError: an isotonic calibration.
        """
        if not self.folds:
            raise DataError(
                "an isotonic calibration is no linear map, so no head carries it.",
                where="calibration", code="isotonic",
                remedy="It stays in decision.json; other libraries give the probabilities before it.",
            )  # fmt: skip
        w, b = weight.astype(np.float64), bias.astype(np.float64)
        if self.kind != "vector":
            return w / self.temperature, b / self.temperature
        scale, shift = np.array(self.weight), np.array(self.bias)
        if len(b) == 1 and self.task == "binary":  # (0, z) centred is (-z/2, z/2)
            return w * scale.mean(), b * scale.mean() + shift[1] - shift[0]
        if self.task != "multilabel":
            w, b = w - w.mean(axis=0), b - b.mean()
        return w * scale[:, None], b * scale + shift

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        out: dict[str, Any] = {"kind": self.kind, "task": self.task, "temperature": self.temperature}
        if self.weight is not None and self.bias is not None:
            out |= {"weight": list(self.weight), "bias": list(self.bias)}
        if self.knots is not None:
            out["knots"] = [{"x": list(x), "y": list(y)} for x, y in self.knots]
        return out

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Calibration:
        """What `to_dict` gave.  DataError, code `damaged`: it is none."""
        try:
            found = cls(
                content["kind"], content["task"], float(content["temperature"]),
                None if content.get("weight") is None else tuple(map(float, content["weight"])),
                None if content.get("bias") is None else tuple(map(float, content["bias"])),
                None if content.get("knots") is None else tuple(
                    (tuple(map(float, k["x"])), tuple(map(float, k["y"]))) for k in content["knots"]
                ),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"not a calibration ({error!r}).", where="calibration", code="damaged") from error
        if found.kind not in ("none", "temperature", "vector", "isotonic") or not found.temperature > 0:
            raise DataError("not a calibration.", where="calibration", code="damaged")
        needed = {"vector": found.weight and found.bias, "isotonic": found.knots}.get(found.kind, True)
        if not needed:
            raise DataError(f"a {found.kind} calibration lacks its numbers.", where="calibration", code="damaged")
        return found

    def _isotonic(self, probs: np.ndarray) -> np.ndarray:
        assert self.knots is not None
        if self.task == "binary":  # one curve, of the second class
            second = np.interp(probs[:, 1], *self.knots[0])
            return np.column_stack([1 - second, second]).astype(np.float32)
        out = np.column_stack([np.interp(probs[:, k], x, y) for k, (x, y) in enumerate(self.knots)])
        if self.task == "multiclass":
            out /= out.sum(axis=1, keepdims=True)
        return out.astype(np.float32)


def logits_of(probs: np.ndarray, task: Task) -> np.ndarray:
    """Logits float64[N, K] whose softmax (multi-label: sigmoid) is probs, as far as float32 tells them from 0 and 1."""
    p = np.clip(np.asarray(probs, np.float64), TINY, LARGEST if task == "multilabel" else 1.0)
    return np.log(p) - np.log1p(-p) if task == "multilabel" else np.log(p)


def probs_of(logits: np.ndarray, task: Task) -> np.ndarray:
    """Softmax over the classes, or for multi-label the sigmoid of each, float64[N, K]."""
    from scipy.special import expit, softmax

    return expit(logits) if task == "multilabel" else softmax(logits, axis=1)


def centred(logits: np.ndarray, task: Task) -> np.ndarray:
    """Logits less each image's mean; those of multi-label as they are."""
    return logits if task == "multilabel" else logits - logits.mean(axis=1, keepdims=True)
