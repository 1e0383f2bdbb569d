"""Predictions whose labels are what the model's decision says, with a word of its own where a person should look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from anmok.core.types import Predictions
from anmok.evaluate.decide import plain_decision
from anmok.evaluate.decision import Decision, free_word
from anmok.evaluate.fall_back import levels
from anmok.evaluate.hierarchy import coarse_of

ASK = "ask"


@dataclass(frozen=True, eq=False, repr=False)  # it prints as Predictions do
class Answers(Predictions):
    """Predictions with an answer for each image: a label (of a multi-label task a list), or '' where it is unreadable.

    probs are the model's, before what only decision.json can do to them; `chances` float[N] is how probable each answer
    is by what was decided by.  Of a hierarchy an answer may be a parent of classes.  asked bool[N]: the images that are
    left to a person; their answer is `ask`, or where a class is called so another word, so that no class can be taken
    for it.
    """

    answers: tuple[Any, ...] = ()
    chances: np.ndarray | None = None
    asked: np.ndarray | None = None

    @property
    def labels(self) -> list[str] | list[list[str]]:
        """The decided label of each image."""
        return list(self.answers)

    def select(self, keep: np.ndarray) -> Answers:
        """The rows where `keep` (bool[N] or int[M]) says so."""
        index = np.flatnonzero(keep) if keep.dtype == bool else keep
        return _with(
            super().select(index), tuple(self.answers[i] for i in index),
            *(None if v is None else v[index] for v in (self.chances, self.asked)),
        )  # fmt: skip

    def rows(self, limit: int = 10) -> list[tuple[str, str, float]]:
        """The first `limit` rows as (id, answer, how probable it is)."""
        found = super().rows(limit)
        if self.chances is None:
            return found
        return [(i, label, float(p)) for (i, label, _), p in zip(found, self.chances, strict=False)]


def answered(p: Predictions, content: Mapping[str, Any]) -> Predictions:
    """The predictions with the labels that a model's decision.json decides; as they are where nobody has decided.

    content: of decision.json.  DataError: see `Decision.from_dict`.
    """
    decision = Decision.from_dict(dict(content), p.classes, p.task)
    if not (is_decided(decision) or decision.fall_back):
        return p
    unread = np.isnan(p.probs).any(axis=1)
    decided, asked = decision.decide(p.probs), decision.asks(p.probs) & ~unread
    multi, word = p.task == "multilabel", free_word(ASK, p.classes)
    answers: list[Any] = []
    for found, bad, ask in zip(decided, unread, asked, strict=True):
        if multi:
            answers.append([] if bad else [word] if ask else [p.classes[k] for k in np.flatnonzero(found)])
        else:
            answers.append("" if bad else word if ask else p.classes[found])
    chances = _chances(decision, p, decided, asked)
    if decision.fall_back and not (multi or decision.costs or decision.thresholds):
        _fall_back(decision, p, answers, chances, asked | unread)
    return _with(p, tuple(answers), chances, asked)


def _fall_back(
    decision: Decision, p: Predictions, answers: list[Any], chances: np.ndarray, settled: np.ndarray
) -> None:
    """Parents in the place of answers that are not sure enough, in place; settled bool[N]: those that stay."""
    assert decision.fall_back is not None
    coarse = coarse_of(p.classes, decision.fall_back["parents"])
    found = levels(np.nan_to_num(decision.probabilities(p.probs)), coarse.codes)
    for i in np.flatnonzero((found.fine_probs < decision.fall_back["below"]) & ~settled):
        answers[i], chances[i] = coarse.names[found.coarse[i]], found.coarse_probs[i]


def is_decided(decision: Decision) -> bool:
    """Whether a decision is more than the most probable class, or 0.5, of the model's own probabilities."""
    plain = plain_decision(list(decision.classes), decision.task)
    more = (decision.costs, decision.calibration, decision.prior, decision.abstain_below)
    return decision.thresholds != plain.thresholds or any(part is not None for part in more)


def _with(p: Predictions, answers: tuple[Any, ...], chances: np.ndarray | None, asked: np.ndarray | None) -> Answers:
    values = {f.name: getattr(p, f.name) for f in fields(Predictions)}
    return Answers(**values, answers=answers, chances=chances, asked=asked)


def _chances(decision: Decision, p: Predictions, decided: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The probability of each answer; where a person is asked, and of a multi-label task, the highest one."""
    probs = np.nan_to_num(decision.probabilities(p.probs))
    highest = probs.max(axis=1)
    if p.task == "multilabel":
        return highest
    return np.where(asked, highest, probs[np.arange(len(p)), np.maximum(decided, 0)])
