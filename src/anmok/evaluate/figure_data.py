"""What the figures of an evaluation are drawn from: few exact points of curves, however many images there are."""

from __future__ import annotations

from typing import Any

import numpy as np

from anmok.evaluate.abstain import risk_coverage
from anmok.evaluate.intervals import wilsons
from anmok.evaluate.reliability import reliability
from anmok.evaluate.thresholds import sweep

POINTS = 200  # of a curve


def ranking_curves(scores: np.ndarray, positive: np.ndarray, most: int = POINTS) -> dict[str, list[float]] | None:
    """{recall, precision, false_alarms} from the strictest threshold to the laxest; None where one kind is missing.

    scores float[N], positive bool[N].  recall is also the true positive rate, false_alarms the false positive rate;
    the first point is the strictest that raises an alarm.  Of more than `most` points those stay that are evenly spread
    along both rates; they are points of the curve, nothing is averaged.
    """
    if positive.all() or not positive.any():
        return None
    found = sweep(np.asarray(scores, np.float64), positive)
    tp, fp = found.tp[:-1][::-1], found.fp[:-1][::-1]  # the last threshold raises no alarm at all
    recall, false_alarms = tp / positive.sum(), fp / (~positive).sum()
    index = np.arange(len(tp))
    if len(tp) > most:
        even = np.linspace(0, 1, most // 2)
        places = [np.searchsorted(rate, even).clip(0, len(tp) - 1) for rate in (recall, false_alarms)]
        index = np.unique(np.r_[0, np.concatenate(places), len(tp) - 1])
    values = {"recall": recall, "precision": tp / (tp + fp), "false_alarms": false_alarms}
    return {name: [float(v) for v in of[index]] for name, of in values.items()}


def risk_points(
    confidence: np.ndarray, wrong: np.ndarray, below: float | None = None, most: int = POINTS
) -> dict[str, Any]:
    """{points: [{coverage, risk, low, high, confidence}], aurc, excess, asks} of a risk–coverage curve.

    confidence float[N], wrong bool[N].  low, high: Wilson's interval of the risk among the images answered there.
    asks: the point of the curve where a person is asked below that confidence, None where nobody is.  ValueError: no
    image.
    """
    curve = risk_coverage(confidence, wrong.astype(np.float64))
    index = np.arange(len(curve.coverage))
    if len(index) > most:
        index = np.unique(np.searchsorted(curve.coverage, np.linspace(curve.coverage[0], 1, most)).clip(0, index[-1]))
    asks = None
    if below is not None and (confidence >= below).any():
        asks = int(np.flatnonzero(curve.confidence >= below)[-1])
        index = np.unique(np.r_[index, asks])
    n = np.rint(curve.coverage * len(wrong))
    low, high = wilsons(curve.risk[index] * n[index], n[index])
    columns = {
        "coverage": curve.coverage[index], "risk": curve.risk[index], "low": np.minimum(low, curve.risk[index]),
        "high": np.maximum(high, curve.risk[index]), "confidence": curve.confidence[index],
    }  # fmt: skip
    points = [{name: float(of[i]) for name, of in columns.items()} for i in range(len(index))]
    at = None if asks is None else points[int(np.searchsorted(index, asks))]
    return {"points": points, "aurc": curve.aurc, "excess": curve.excess, "asks": at}


def reliabilities(probs: np.ndarray, targets: np.ndarray) -> dict[str, list[dict[str, Any]]]:
    """{width, mass}: the bins of a reliability diagram, equally wide and of equally many images; see `reliability`."""
    return {name: reliability(probs, targets, equal_mass=name == "mass") for name in ("width", "mass")}
