"""Scores that are functions of counts, with intervals: over all classes together, and of each class."""

from __future__ import annotations

from typing import Any

import numpy as np

from anmok.evaluate import confusion as cm
from anmok.evaluate.confusion import Counts
from anmok.evaluate.intervals import effective, mover, percentile, widened, wilson, wilsons
from anmok.evaluate.tally import Tally

Metric = dict[str, Any]


def undefined(reason: str) -> Metric:
    """A score that has no value here, and why."""
    return {"value": None, "reason": reason}


def share(part: int, whole: int, reason: str, worth: float | None = None) -> Metric:
    """A proportion with Wilson's interval, of as many independent images as it is worth; n/a for none."""
    if whole == 0:
        return undefined(reason)
    size = whole if worth is None else worth
    low, high = wilson(part / whole * size, size)
    return {"value": part / whole, "low": low, "high": high}


def average_metrics(classes: list[str], tally: Tally, single: bool, beta: float | None) -> dict[str, Metric]:
    """Balanced accuracy, MCC, Cohen's kappa; micro, macro and weighted means; undefined ones with their reason."""
    counts, n = tally.counts, len(tally.targets)
    points, draws = cm.averages(counts, beta), cm.averages(tally.drawn, beta)
    bounds = class_bounds(tally, beta)
    out: dict[str, Metric] = {}
    for name, point in points.items():
        how, _, score = name.partition("_")
        if np.isnan(point):
            out[name] = undefined(_why_undefined(name))
        elif single and (how == "micro" or name == "weighted_recall"):  # with one label per image: the accuracy
            out[name] = share(int(counts.tp.sum()), n, "", tally.images(tally.predicted == tally.targets))
        else:
            size = effective(counts.support) if how == "macro" else n
            out[name] = percentile(float(point), draws[name], size)
            if how == "micro":
                continue
            weights = None if how == "macro" else counts.support
            out[name] = widened(out[name], *_inside(mover(*bounds[score], weights)))
            note = _passed_over(classes, bounds[score][0], score)
            out[name] |= {"note": note} if note else {}
    if not single:
        reason = "is for one label per image"
        first = {"balanced_accuracy": undefined(f"{reason}; see the macro recall")}
        return first | {"mcc": undefined(reason), "cohen_kappa": undefined(reason)} | out
    return {"balanced_accuracy": dict(out["macro_recall"]), **_correlations(counts, tally.drawn)} | out


def class_bounds(tally: Tally, beta: float | None = None) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(value, low, high), float64[K] each, of every class's precision, recall, F1, specificity; NaN where undefined.

    Precision, recall and specificity are proportions.  F1 is one in other words: of n images of the class or called so,
    a share j is both, and F1 = 2 j / (1 + j); F-beta goes by its bootstrap.
    """
    counts = tally.counts
    values = cm.class_scores(counts, beta) | {"specificity": cm.specificity(counts)}
    out = {}
    for name, value in values.items():
        if name not in tally.worth:
            out[name] = (value, *_drawn_bounds(value, cm.fbeta(tally.drawn, beta or 1.0), tally.worth["f1"]))
            continue
        size = tally.worth[name]
        of = value / (2 - value) if name == "f1" else value
        low, high = wilsons(np.nan_to_num(of) * size, np.where(np.isnan(of), 0, size))
        if name == "f1":
            low, high = 2 * low / (1 + low), 2 * high / (1 + high)
        out[name] = (value, np.minimum(low, value), np.maximum(high, value))
    return out


def class_metrics(
    classes: list[str], tally: Tally, areas: list[dict[str, Metric]], beta: float | None
) -> dict[str, dict[str, Any]]:
    """{label: scores with intervals, support, predicted, tp, fp, fn, tn}."""
    counts, bounds = tally.counts, class_bounds(tally, beta)
    nothing = {
        "precision": "never predicted",
        "recall": "no image of this class",
        "specificity": "no image of any other class",
    }
    known = np.broadcast_to(counts.n, len(classes)).astype(int)
    out = {}
    for i, label in enumerate(classes):
        tp, support, predicted = (int(x[i]) for x in counts[:3])
        fp, fn = predicted - tp, support - tp
        out[label] = {
            **{
                name: undefined(nothing.get(name, "no image, never predicted"))
                if np.isnan(value[i])
                else {"value": float(value[i]), "low": float(low[i]), "high": float(high[i])}
                for name, (value, low, high) in bounds.items()
            },
            **areas[i],
            "support": support, "predicted": predicted, "tp": tp, "fp": fp, "fn": fn,
            "tn": int(known[i]) - tp - fp - fn,
        }  # fmt: skip
    return out


def _correlations(counts: Counts, drawn: Counts) -> dict[str, Metric]:
    out = {}
    for name, score, reason in (
        ("mcc", cm.mcc, "the truth or the prediction has one class only"),
        ("cohen_kappa", cm.kappa, "truth and prediction are one and the same class"),
    ):
        value = float(score(counts))
        out[name] = undefined(reason) if np.isnan(value) else percentile(value, score(drawn), int(counts.n), low=-1.0)
    return out


def _drawn_bounds(value: np.ndarray, drawn: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = [
        {"low": np.nan, "high": np.nan} if np.isnan(v) else percentile(float(v), drawn[:, i], size[i])
        for i, v in enumerate(value)
    ]
    return np.array([f.get("low", 0.0) for f in found]), np.array([f.get("high", 1.0) for f in found])


def _inside(bounds: tuple[float, float]) -> tuple[float, float]:
    return max(0.0, bounds[0]), min(1.0, bounds[1])


def _why_undefined(name: str) -> str:
    if name == "weighted_precision":
        return "no class that has images is ever predicted"
    if name.endswith("precision"):
        return "no label is ever predicted"
    return "no image has a label" + ("" if name.endswith("recall") or name.startswith("weighted") else
                                     " and none is predicted")  # fmt: skip


def _passed_over(classes: list[str], values: np.ndarray, score: str) -> str:
    """Which classes a mean over classes passes over, '' for none."""
    missing = [c for c, v in zip(classes, values, strict=True) if np.isnan(v)]
    if not missing:
        return ""
    names = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    why = {"precision": "never predicted", "recall": "no image"}.get(score, "no image, never predicted")
    k = len(classes)
    return f"mean over {k - len(missing)} of {k} classes; undefined for {names} ({why})"
