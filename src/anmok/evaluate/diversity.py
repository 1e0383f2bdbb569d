"""How differently the members of an ensemble err, and what each adds to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from anmok.core.types import Predictions
from anmok.evaluate.aligned import aligned
from anmok.evaluate.blend import mean_probs
from anmok.evaluate.calibration import log_losses
from anmok.evaluate.intervals import of_mean
from anmok.evaluate.paired import mcnemar
from anmok.evaluate.resampling import resample_sums
from anmok.evaluate.rows import Rows

Combine = Callable[[list[np.ndarray]], np.ndarray]


def diversity(models: Mapping[str, Predictions]) -> list[dict[str, Any]]:
    """Of every two models: {a, b, disagreement, error_correlation, q, both_wrong}.

    disagreement: share of images (multi-label: of labels) that they answer differently. error_correlation: Pearson's of
    being wrong, and q: Yule's of being right (Kuncheva & Whitaker 2003), both None where one is never or always wrong,
    or the measure is 0 / 0. both_wrong: share of images.  DataError: see `same_images`.
    """
    rows = dict(zip(models, aligned(list(models.values())), strict=True))
    out = []
    for a, b in combinations(models, 2):
        called = [_called(rows[name]) for name in (a, b)]
        wrong = [_wrong(rows[name], answer) for name, answer in zip((a, b), called, strict=True)]
        out.append({
            "a": a, "b": b, "disagreement": float((called[0] != called[1]).mean()),
            "error_correlation": _correlation(*wrong), "q": _yule(*wrong),
            "both_wrong": float((wrong[0] & wrong[1]).mean()),
        })  # fmt: skip
    return out


def additions(
    models: Mapping[str, Predictions], combine: Combine = mean_probs, *, seed: int = 0, resamples: int = 1000
) -> list[dict[str, Any]]:  # fmt: skip
    """What each member adds, most first: the ensemble of all against that of all but it.

    combine: the members' probs, each float[N, K], to the ensemble's.  Of each: {member, accuracy, log_loss, mcnemar},
    both paired differences {value, low, high}, above 0 where the member helps.  DataError: see `same_images`.
    """
    rows = dict(zip(models, aligned(list(models.values())), strict=True))
    if len(rows) < 2:
        return []
    first = next(iter(rows.values()))
    whole = first._replace(probs=combine([r.probs for r in rows.values()]))
    rng = np.random.default_rng(seed)
    out = []
    for name in models:
        less = first._replace(probs=combine([r.probs for other, r in rows.items() if other != name]))
        right, without = (~_wrong(r, _called(r)) for r in (whole, less))
        gains = {
            "accuracy": right.astype(np.float64) - without,
            "log_loss": _losses(less) - _losses(whole),
        }
        drawn = resample_sums(np.column_stack([*gains.values()]), rng, resamples) / len(right)
        out.append({"member": name, "mcnemar": mcnemar(without, right)} | {
            key: of_mean(values, drawn[:, i], len(right), low=-np.inf) for i, (key, values) in enumerate(gains.items())
        })  # fmt: skip
    return sorted(out, key=lambda row: -row["log_loss"]["value"])


def _losses(rows: Rows) -> np.ndarray:
    return log_losses(rows.probs, rows.targets, rows.known)


def _called(rows: Rows) -> np.ndarray:
    return rows.probs >= 0.5 if rows.targets.ndim == 2 else rows.probs.argmax(axis=1)


def _wrong(rows: Rows, called: np.ndarray) -> np.ndarray:
    wrong = (called != rows.targets) & (True if rows.known is None else rows.known)
    return wrong.any(axis=1) if wrong.ndim == 2 else wrong


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    x, y = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else None


def _yule(a: np.ndarray, b: np.ndarray) -> float | None:
    both, neither = int((a & b).sum()), int((~a & ~b).sum())
    only = int((a & ~b).sum()) * int((~a & b).sum())
    return (both * neither - only) / (both * neither + only) if both * neither + only else None
