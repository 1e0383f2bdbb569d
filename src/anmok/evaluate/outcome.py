"""What a decision does: alarms, misses and costs with intervals, and the same in plain sentences."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from anmok.core.types import Predictions
from anmok.evaluate.averages import Metric, share, undefined
from anmok.evaluate.confusion import ratio
from anmok.evaluate.costs import ErrorCosts, matrix_of
from anmok.evaluate.decision import Decision
from anmok.evaluate.groups import group_codes, images_worth
from anmok.evaluate.intervals import of_mean, percentile
from anmok.evaluate.prior import image_weights
from anmok.evaluate.resampling import RESAMPLES, resample_sums
from anmok.evaluate.rows import of_split, usable_rows

PLAIN = 0.5


def outcome(
    decision: Decision, p: Predictions, split: str | None = None, *, costs: dict[str, ErrorCosts] | None = None,
    groups: dict[str, str] | None = None, seed: int = 0, resamples: int = RESAMPLES,
) -> dict[str, Any]:  # fmt: skip
    """What the decision does to the rows of any split: {n, asked, labels, cost, text}.

    asked: the share left to a person; the rest is about images that are answered.  labels: {label: tp, fp, fn, tn,
    precision, recall, false_alarms (of images that are not it)} of every label that has a threshold, or of all.
    cost: {value, low, high, plain, saved} an image, where `decision.costs` or `costs` (of labels) name any: plain is
    that of 0.5 or the most probable class, saved the paired difference with its interval.  text: sentences.
    Where the decision has a prior and images have one label each, labels also have `precision_there`, at the prevalence
    where the model is used, and that is what cost and text speak of; all else is counted here.  DataError: see
    `usable_rows`.
    """
    rows = usable_rows(of_split(p, split))
    asks = decision.asks(rows.probs)
    keep = ~asks
    decided, targets = decision.decide(rows.probs)[keep], rows.targets[keep]
    ids = [rows.ids[i] for i in np.flatnonzero(keep)]
    codes = group_codes(ids, groups)
    plain = (rows.probs >= PLAIN if rows.targets.ndim == 2 else rows.probs.argmax(axis=1))[keep]
    out: dict[str, Any] = {"n": len(rows.ids), "asked": share(int(asks.sum()), len(asks), "")}
    labels = [c for c in decision.classes if c in (decision.thresholds or decision.classes)]
    place = {c: decision.classes.index(c) for c in labels}
    known = None if rows.known is None else rows.known[keep]
    out["labels"] = {
        c: _label(*_known(k, known, _is(targets, k), _is(decided, k), codes)) for c, k in place.items()
    }  # fmt: skip
    rng, there = np.random.default_rng(seed), _weights(decision, rows.targets)
    if there is not None:
        weighed = _Draw(there[keep], targets, codes, rng, resamples)
        for c, k in place.items():
            out["labels"][c]["precision_there"] = weighed.precision(targets == k, decided == k)
    drawn = _Draw(np.ones(len(targets)) if there is None else there[keep], targets, codes, rng, resamples)
    if known is not None:  # what is unknown of an image costs nothing
        decided, plain = decided & known, plain & known
    out["cost"] = _cost(decision, targets, decided, plain, costs or {}, drawn)
    return out | {"text": sentences(decision, out)}


def sentences(decision: Decision, found: dict[str, Any]) -> list[str]:
    """An outcome in plain words: of 100 alarms so many would be false, of 100 of a kind so many would pass."""
    out = []
    shown = list(found["labels"])[-1:] if decision.task == "binary" else list(found["labels"])[:10]
    for label in shown:
        row = found["labels"][label]
        parts = []
        precision = row.get("precision_there", row["precision"])["value"]
        if precision is not None:
            where = _where(decision, label) if "precision_there" in row else ""
            parts.append(f"{where}of 100 alarms for {label}, {_of_100(1 - precision)} would be false")
        else:
            parts.append(f"there would be no alarm for {label}")
        if row["recall"]["value"] is not None:
            parts.append(f"of 100 images of {label}, {_of_100(1 - row['recall']['value'])} would pass unnoticed")
        said = "; ".join(parts)
        out.append(said[0].upper() + said[1:] + ".")
    cost = found["cost"]
    if cost.get("value") is not None:
        out.append(_cost_sentence(decision, cost))
    asked = found["asked"]["value"]
    if asked:
        out.append(f"Of 100 images, {_of_100(asked)} would be left to a person.")
    return out


def _where(decision: Decision, label: str) -> str:
    assert decision.prior is not None
    share_of = decision.prior.target[decision.classes.index(label)]
    return f"where {_of_100(share_of)} of 100 images are {label}, "


def _cost_sentence(decision: Decision, cost: dict[str, Any]) -> str:
    saved = cost["saved"]
    habit = "the most probable class" if decision.costs is not None else "a threshold of 0.5"
    said = f"100 images would cost {100 * cost['value']:.3g}; with {habit} they would cost {100 * cost['plain']:.3g}"
    if "low" not in saved:
        return f"{said}."
    if saved["low"] > 0:
        return f"{said}, more by more than chance explains."
    if saved["high"] < 0:
        return f"{said}, less by more than chance explains."
    return f"{said}; so few images cannot tell which is cheaper."


def _of_100(value: float) -> str:
    """'7', '0.3': no more digits than two, and 0 only for none."""
    n = 100 * value
    return f"{n:.0f}" if n >= 9.5 or n == 0 else f"{n:.2g}"


def _is(classes: np.ndarray, k: int) -> np.ndarray:
    return classes[:, k] if classes.ndim == 2 else classes == k


def _known(k: int, known: np.ndarray | None, *columns: np.ndarray | None) -> tuple[Any, ...]:
    """The columns at the images of which label k is known."""
    return columns if known is None else tuple(None if c is None else c[known[:, k]] for c in columns)


def _label(truth: np.ndarray, alarm: np.ndarray, codes: np.ndarray | None) -> dict[str, Any]:
    tp, fp, fn = int((truth & alarm).sum()), int((~truth & alarm).sum()), int((truth & ~alarm).sum())
    tn = len(truth) - tp - fp - fn

    def of(hits: np.ndarray, among: np.ndarray, reason: str) -> Metric:
        groups = None if codes is None else np.unique(codes[among], return_inverse=True)[1]
        worth = images_worth(hits[among], groups) if among.any() else 0
        return share(int(hits[among].sum()), int(among.sum()), reason, worth)

    return {
        "tp": tp, "fp": fp, "fn": fn, "tn": tn,
        "precision": of(truth, alarm, "never predicted"),
        "recall": of(alarm, truth, "no image of this class"),
        "false_alarms": of(alarm, ~truth, "no image of any other class"),
    }  # fmt: skip


class _Draw(NamedTuple):
    """Images that count for `weights` float64[N] each, to be drawn within their class or by group."""

    weights: np.ndarray
    targets: np.ndarray
    codes: np.ndarray | None
    rng: np.random.Generator
    resamples: int

    def sums(self, *features: np.ndarray) -> np.ndarray:
        strata = self.targets if self.targets.ndim == 1 else None
        columns = np.column_stack(features)
        return resample_sums(columns, self.rng, self.resamples, strata=strata, groups=self.codes)

    def precision(self, truth: np.ndarray, alarm: np.ndarray) -> Metric:
        """Share of the alarms' weight that is right."""
        called = self.weights * alarm
        if not called.any():
            return undefined("never predicted")
        drawn = self.sums(called * truth, called)
        worth = float(called.sum() ** 2 / (called**2).sum())  # Kish: unequal weights are worth fewer images
        return percentile(float((called * truth).sum() / called.sum()), ratio(drawn[:, 0], drawn[:, 1]), worth)

    def mean(self, values: np.ndarray, low: float) -> Metric:
        weighted = values * self.weights
        drawn = self.sums(weighted)[:, 0] / len(values)
        return of_mean(weighted, drawn, images_worth(weighted, self.codes), low=low)


def _weights(decision: Decision, targets: np.ndarray) -> np.ndarray | None:
    """What each image counts for where the model is used, float64[N]."""
    if decision.prior is None or targets.ndim == 2:
        return None
    return image_weights(targets, np.array(decision.prior.source), np.array(decision.prior.target))


def _cost(
    decision: Decision, targets: np.ndarray, decided: np.ndarray, plain: np.ndarray, costs: dict[str, ErrorCosts],
    drawn: _Draw,
) -> dict[str, Any]:  # fmt: skip
    if decision.costs is None and not costs:
        return undefined("no costs are named")
    if not len(targets):
        return undefined("no image is answered")
    mine, usual = (_spent(decision, targets, x, costs) for x in (decided, plain))
    saved = drawn.mean(usual - mine, -np.inf)
    return drawn.mean(mine, 0.0) | {"plain": float((usual * drawn.weights).mean()), "saved": saved}


def _spent(
    decision: Decision, targets: np.ndarray, decided: np.ndarray, costs: dict[str, ErrorCosts]
) -> np.ndarray:  # fmt: skip
    """What each image costs, float64[N]; of labels summed over those that have costs."""
    if decision.costs is not None and targets.ndim == 1:
        return np.array(decision.costs)[targets, decided]
    out = np.zeros(len(targets))
    for label, cost in costs.items():
        k = decision.classes.index(label)
        out += matrix_of(cost)[_is(targets, k).astype(int), _is(decided, k).astype(int)]
    return out
