"""Several models as one, from their Predictions alone: fitted on validation or out-of-fold rows, applied to any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.core.types import Predictions, Task
from anmok.evaluate import blend
from anmok.evaluate.aligned import aligned, same_images
from anmok.evaluate.calibrate import probs_of
from anmok.evaluate.fitting import TEST

How = Literal["hard", "soft", "weighted", "greedy", "stack"]
WAYS = ("hard", "soft", "weighted", "greedy", "stack")
FITTED = ("weighted", "greedy", "stack")


@dataclass(frozen=True)
class Ensemble:
    """How members' probabilities become one.

    members: their names in order.  weights: M numbers that sum to 1 (weighted, greedy); coefficients [K][M · K] and
    intercepts K numbers: of the logistic regression on top (stack).
    """

    how: How
    members: tuple[str, ...]
    classes: tuple[str, ...]
    task: Task
    weights: tuple[float, ...] | None = None
    coefficients: tuple[tuple[float, ...], ...] | None = None
    intercepts: tuple[float, ...] | None = None

    def combine(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """The probs of `members` in their order, each float[N, K], as one, float32[N, K]; a NaN row stays NaN."""
        if len(members) != len(self.members):
            raise UsageError(
                f"{len(members)} predictions for {len(self.members)} members.", where="ensemble", code="setting"
            )
        bad = np.any([np.isnan(p).any(axis=1) for p in members], axis=0)[:, None]
        known = [np.where(bad, 1 / len(self.classes), p) for p in members]
        return np.where(bad, np.float32(np.nan), self._combined(known)).astype(np.float32)

    def predict(self, models: Mapping[str, Predictions]) -> Predictions:
        """Predictions of the ensemble for the rows of its members.

        An image that one of them could not read has NaN and that one's reason.  DataError: see `same_images`, or other
        classes than the ensemble's; UsageError: a member is missing.
        """
        missing = [name for name in self.members if name not in models]
        if missing:
            raise UsageError(
                f"no predictions of the member {missing[0]}.", where="ensemble", code="setting",
                remedy=did_you_mean(missing[0], models),
            )  # fmt: skip
        matched = same_images([models[name] for name in self.members])
        first = matched[0]
        if tuple(first.classes) != self.classes or first.task != self.task:
            raise DataError("the classes are not the ensemble's.", where="ensemble", code="class-map")
        errors = {i: why for p in reversed(matched) for i, why in p.errors.items()}
        targets = next((p.targets for p in matched if p.targets is not None), None)
        probs = self.combine([p.probs for p in matched])
        return replace(first, probs=probs, targets=targets, errors=errors, model_hash="")

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "how": self.how, "members": list(self.members), "classes": list(self.classes), "task": self.task,
            "weights": None if self.weights is None else list(self.weights),
            "coefficients": None if self.coefficients is None else [list(row) for row in self.coefficients],
            "intercepts": None if self.intercepts is None else list(self.intercepts),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Ensemble:
        """What `to_dict` gave.  DataError, code `damaged`."""
        try:
            weights, rows, bias = (content.get(name) for name in ("weights", "coefficients", "intercepts"))
            found = cls(
                content["how"], tuple(content["members"]), tuple(content["classes"]), content["task"],
                None if weights is None else tuple(map(float, weights)),
                None if rows is None else tuple(tuple(map(float, row)) for row in rows),
                None if bias is None else tuple(map(float, bias)),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"not an ensemble ({error!r}).", where="ensemble", code="damaged") from error
        m, k = len(found.members), len(found.classes)
        fits = {
            "weighted": found.weights is not None and len(found.weights) == m,
            "stack": found.coefficients is not None and found.intercepts is not None
            and np.shape(found.coefficients) == (k, m * k) and len(found.intercepts) == k,
        }  # fmt: skip
        fits["greedy"] = fits["weighted"]
        if found.how not in WAYS or not fits.get(found.how, True):
            raise DataError("the numbers do not fit the members.", where="ensemble", code="damaged")
        return found

    def _combined(self, members: list[np.ndarray]) -> np.ndarray:
        if self.how == "hard":
            return blend.vote_probs(members, self.task)
        if self.how == "stack":
            features = blend.stack_features(members, self.task)
            return probs_of(features @ np.array(self.coefficients).T + np.array(self.intercepts), self.task)
        return blend.mean_probs(members, None if self.weights is None else np.array(self.weights))


def fit_ensemble(models: Mapping[str, Predictions], how: How = "soft") -> Ensemble:
    """An ensemble of named models; weighted, greedy and stack are fitted on their labelled rows.

    soft: the mean. hard: votes. weighted: weights on the simplex with the least log loss. greedy: how often each is
    taken by greedy selection with replacement. stack: a logistic regression on the members' logits, so give it
    out-of-fold or validation rows.  DataError: rows of the test split where something is fitted (code `test-split`),
    see also `same_images` and `usable_rows`; UsageError: no such way, no models.
    """
    if how not in WAYS:
        raise UsageError(f"no such way as {how}.", where="how", remedy=did_you_mean(how, WAYS), code="setting")
    matched = same_images(list(models.values()))
    first = matched[0]
    plain = Ensemble(how, tuple(models), tuple(first.classes), first.task)
    if how not in FITTED:
        return plain
    if any(TEST in (p.split or ()) for p in matched):
        raise DataError(
            "some rows are of the test split, on which an ensemble must not be fitted.", where="predictions",
            code="test-split", remedy="Give the predictions of the validation split, or out-of-fold predictions.",
        )  # fmt: skip
    rows = aligned(matched)
    members, targets, known = [r.probs for r in rows], rows[0].targets, rows[0].known
    if how == "stack":
        weight, bias = blend.fit_stack(members, targets, first.task, known=known)
        return replace(
            plain, coefficients=tuple(tuple(map(float, row)) for row in weight), intercepts=tuple(map(float, bias))
        )
    if how == "weighted":
        weights = blend.fit_weights(members, targets, known)
    else:
        counts = blend.greedy_counts(members, targets, known=known)
        weights = counts / counts.sum()
    return replace(plain, weights=tuple(map(float, weights)))
