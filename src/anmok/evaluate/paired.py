"""Is one model better than another? Tests on the same images, corrected for how many comparisons are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from anmok.core.types import Predictions
from anmok.evaluate import confusion as cm
from anmok.evaluate.aligned import aligned
from anmok.evaluate.calibration import brier_scores, log_losses
from anmok.evaluate.groups import group_codes, images_worth
from anmok.evaluate.intervals import of_mean
from anmok.evaluate.resampling import RESAMPLES, resample_sums
from anmok.evaluate.rows import Rows, of_split

TALLIED = 5_000_000  # N × K up to which macro scores are compared too


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> dict[str, Any]:
    """Exact McNemar test (1947) on bool[N] each: {only_a, only_b, p_value}.

    only_a: images that a alone gets right.  The p-value is two-sided: of the images on which they differ, each is as
    likely to win.  1 where they never differ.
    """
    from scipy.stats import binomtest

    only_a, only_b = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
    differ = only_a + only_b
    return {
        "only_a": only_a, "only_b": only_b,
        "p_value": float(binomtest(only_a, differ, 0.5).pvalue) if differ else 1.0,
    }  # fmt: skip


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p-values for the whole family of tests, float64[M] (Holm 1979): below 0.05, fewer than 5 % of families err."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    out = np.empty(len(p))
    out[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return out


def compare(
    a: Predictions, b: Predictions, split: str | None = None, *, groups: Mapping[str, str] | None = None, seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:  # fmt: skip
    """b against a on the images that both could read: {n, mcnemar, metrics}.

    metrics: {name: {a, b, value, low, high, p_value}}, value the difference b - a with its paired 95 % bootstrap
    interval (whole groups are drawn where there are groups) and p_value two-sided from the same draws: of accuracy,
    macro_f1, balanced_accuracy, log_loss and brier.  McNemar's test takes images as independent: it is left out, with
    the reason, where they come in groups.  DataError where classes or ids do not match, or see `usable_rows`.
    """
    first, second = aligned([of_split(a, split), of_split(b, split)])
    codes = group_codes(first.ids, groups)
    rng = np.random.default_rng(seed)
    called = [_called(rows) for rows in (first, second)]
    right = [_right(rows, predicted) for rows, predicted in zip((first, second), called, strict=True)]
    out: dict[str, Any] = {"n": len(first.ids)}
    out["mcnemar"] = (
        mcnemar(*right) if codes is None else {"value": None, "reason": "images come in groups; see the bootstrap"}
    )
    per_image = {
        "accuracy": [r.astype(np.float64) for r in right],
        "log_loss": [log_losses(rows.probs, rows.targets, rows.known) for rows in (first, second)],
        "brier": [brier_scores(rows.probs, rows.targets, rows.known) for rows in (first, second)],
    }
    # one bootstrap for all: of each image the three differences and, where that fits, its cell in both tables
    differences = np.column_stack([y - x for x, y in per_image.values()])
    small = first.targets.ndim == 1 and len(first.ids) * len(first.classes) <= TALLIED
    table = _indicators(first, called) if small else np.zeros((len(first.ids), 0))
    drawn = resample_sums(
        np.hstack([differences, table]), rng, resamples, strata=first.targets if first.targets.ndim == 1 else None,
        groups=codes,
    )  # fmt: skip
    n = len(first.ids)
    metrics = {
        name: {"a": float(x.mean()), "b": float(y.mean())}
        | of_mean(y - x, drawn[:, i] / n, images_worth(y - x, codes), low=-np.inf) | {"p_value": _p_value(drawn[:, i])}
        for i, (name, (x, y)) in enumerate(per_image.items())
    }  # fmt: skip
    if small:
        metrics |= _macro(table.sum(axis=0), drawn[:, 3:], len(first.classes), n)
    return out | {"metrics": metrics}


def compare_all(models: Mapping[str, Predictions], split: str | None = None, **options: Any) -> list[dict[str, Any]]:
    """Every two models, see `compare`: with `a` and `b` their names, and each p-value Holm-corrected as `p_holm`.

    The families are the pairs, one for each metric and one for McNemar's test.
    """
    found = [{"a": a, "b": b} | compare(models[a], models[b], split, **options) for a, b in combinations(models, 2)]
    families = [[row["mcnemar"] for row in found]]
    families += [[row["metrics"][name] for row in found] for name in (found[0]["metrics"] if found else ())]
    for family in families:
        tests = [test for test in family if test.get("p_value") is not None]
        for test, adjusted in zip(tests, holm([test["p_value"] for test in tests]), strict=True):
            test["p_holm"] = float(adjusted)
    return found


def _called(rows: Rows) -> np.ndarray:
    return rows.probs >= 0.5 if rows.targets.ndim == 2 else rows.probs.argmax(axis=1)


def _right(rows: Rows, called: np.ndarray) -> np.ndarray:
    right = (called == rows.targets) | (False if rows.known is None else ~rows.known)
    return right.all(axis=1) if right.ndim == 2 else right


def _indicators(rows: Rows, called: list[np.ndarray]) -> np.ndarray:
    """float64[N, 5 K]: the true class, and of each model the class called and whether it is right."""
    k = len(rows.classes)
    truth = np.eye(k)[rows.targets]
    parts = [truth]
    for predicted in called:
        one = np.eye(k)[predicted]
        parts += [one, one * truth]
    return np.hstack(parts)


def _macro(point: np.ndarray, drawn: np.ndarray, k: int, n: int) -> dict[str, Any]:
    def scores(sums: np.ndarray) -> list[dict[str, np.ndarray]]:
        truth, called_a, tp_a, called_b, tp_b = np.split(sums, 5, axis=-1)
        counts = [cm.Counts(tp_a, truth, called_a, n), cm.Counts(tp_b, truth, called_b, n)]
        return [{"macro_f1": cm.macro(cm.f1(c)), "balanced_accuracy": cm.macro(cm.recall(c))} for c in counts]

    (a, b), (drawn_a, drawn_b) = scores(point), scores(np.maximum(drawn, 0))
    out = {}
    for name in a:
        value, draws = float(b[name] - a[name]), drawn_b[name] - drawn_a[name]
        low, high = (float(q) for q in np.quantile(draws, [0.025, 0.975]))
        out[name] = {
            "a": float(a[name]), "b": float(b[name]), "value": value, "low": min(low, value), "high": max(high, value),
            "p_value": _p_value(draws),
        }  # fmt: skip
    return out


def _p_value(draws: np.ndarray) -> float:
    """Two-sided: twice the smaller share of draws on either side of no difference, one draw added to each."""
    side = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return min(1.0, 2 * (side + 1) / (len(draws) + 1))
