"""Predictions whose labels are what the model's decision says, with `ask` where a person should look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from anmok.core.types import Predictions
from anmok.evaluate.decision import PERSON, Decision
from anmok.stages.judge import is_decided

ASK = "ask"


@dataclass(frozen=True, eq=False)
class Answers(Predictions):
    """Predictions with an answer for each image: a label (of a multi-label task a list), `ask`, or '' where unreadable.

    probs are the model's, before what only decision.json can do to them; `chances` float[N] is how probable each answer
    is by what was decided by.
    """

    answers: tuple[Any, ...] = ()
    chances: np.ndarray | None = None

    @property
    def labels(self) -> list[str] | list[list[str]]:
        """The decided label of each image."""
        return list(self.answers)


def answered(p: Predictions, content: Mapping[str, Any]) -> Predictions:
    """The predictions with the labels that a model's decision.json decides; as they are where nobody has decided."""
    decision = Decision.from_dict(dict(content), p.classes, p.task)
    if not is_decided(decision):
        return p
    unread = np.isnan(p.probs).any(axis=1)
    multi = p.task == "multilabel"
    said: list[Any] = list(decision.apply(p.probs))
    answers: list[Any] = []
    for answer, bad in zip(said, unread, strict=True):
        if bad:
            answers.append([] if multi else "")
        else:
            answers.append(answer if answer not in (PERSON, [PERSON]) else [ASK] if multi else ASK)
    values = {f.name: getattr(p, f.name) for f in fields(Predictions)}
    return Answers(**values, answers=tuple(answers), chances=_chances(decision, p))


def _chances(decision: Decision, p: Predictions) -> np.ndarray:
    """The probability of each answer; where a person is asked, and of a multi-label task, the highest one."""
    probs = decision.probabilities(p.probs)
    highest = np.nan_to_num(probs).max(axis=1)
    if p.task == "multilabel":
        return highest
    chosen, asks = decision.decide(p.probs), decision.asks(p.probs)
    own = np.nan_to_num(probs)[np.arange(len(p)), np.maximum(chosen, 0)]
    return np.where(asks, highest, own)
