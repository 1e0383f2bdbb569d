"""From Predictions to an Evaluation: every score with its interval, or n/a with the reason."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from anmok.core.errors import DataError
from anmok.core.types import Evaluation, Predictions
from anmok.evaluate import confusion as cm
from anmok.evaluate.calibration import calibration_draws, ece, log_losses
from anmok.evaluate.confusion import Counts
from anmok.evaluate.intervals import RESAMPLES, effective, percentile, reflected, resample_cells, resample_rows, wilson
from anmok.evaluate.ranking import AREAS, areas
from anmok.evaluate.rows import Rows, of_split, usable_rows

THRESHOLD = 0.5
RANKING_SCORES = 20_000_000  # N × K up to which curves are computed unasked: each class is one sort of N

Draws = dict[str, np.ndarray]
Metric = dict[str, Any]


def evaluate(
    p: Predictions, split: str, *, seed: int = 0, resamples: int = RESAMPLES, ranking: bool | None = None
) -> Evaluation:
    """Score the rows of one split; `data` has the keys of evaluation.json and the counts `rejected` and `unlabelled`.

    Rows without a readable image (NaN) and rows without a label are left out and counted.  Where the Predictions mark
    splits, only rows of `split` count.  Intervals are 95 %: Wilson for proportions, logit-normal for areas under
    curves, percentile bootstrap over images (drawn from `seed`) for the rest.  Multi-label: `accuracy` is the share of
    images with exactly the right set of labels, `log_loss` the mean binary cross-entropy, `ece` is over all (image,
    label) pairs.  ROC-AUC and average precision are one-vs-rest means over classes (binary: of classes[1]); `ranking`
    asks for them, or against them, whatever they cost.  DataError: see `usable_rows`.
    """
    return _score(of_split(p, split), split, seed, resamples, ranking)


def _score(p: Predictions, split: str, seed: int, resamples: int, ranking: bool | None) -> Evaluation:
    rows = usable_rows(p)
    rng = np.random.default_rng(seed)
    draws: Draws
    if rows.task == "multilabel":
        predicted = rows.probs >= THRESHOLD
        matrix = cm.multilabel_counts(rows.targets, predicted)
        counts = cm.counts_of_labels(matrix)
        draws = _draw(
            rows, rng, resamples, [calibration_draws(rows.probs, rows.targets), _label_draws(rows, predicted)]
        )
        drawn = Counts(draws["tp"], draws["support"], draws["predicted"], counts.n)
    else:
        predicted = rows.probs.argmax(axis=1)
        matrix = cm.confusion_counts(rows.targets, predicted, len(rows.classes))
        counts = cm.counts_of(matrix)
        draws = _draw(rows, rng, resamples, [calibration_draws(rows.probs, rows.targets)])
        drawn = resample_cells(matrix, rng, resamples)
    task_areas, class_areas = _areas(rows, ranking)
    metrics = _accuracy(rows, predicted) | _averages(rows, counts, drawn) | _probabilities(rows, draws) | task_areas
    if rows.task == "multilabel":
        wrong = float((predicted != rows.targets).mean())
        metrics["hamming_loss"] = percentile(wrong, draws["hamming_loss"], len(predicted))
    return Evaluation({
        "split": split,
        "n": len(predicted),
        "task": rows.task,
        "metrics": metrics,
        "per_class": _per_class(rows, counts, drawn, class_areas),
        "confusion": {"classes": list(rows.classes), "counts": matrix.tolist()},
        "decision": _decision(rows),
        "rejected": rows.rejected,
        "unlabelled": rows.unlabelled,
    })  # fmt: skip


def evaluate_without(p: Predictions, ids: Collection[str], split: str | None = None) -> dict[str, Any]:
    """{n, left_out, metrics} without the rows named by `ids` (leaked ones, say), to stand beside the plain score.

    The metrics are one n/a accuracy where no labelled row remains.
    """
    p = of_split(p, split)
    ids = set(ids)
    keep = np.array([i not in ids for i in p.ids], bool)
    left_out = int((~keep).sum())
    try:
        data = _score(p.select(keep), split or "", 0, RESAMPLES, None)
    except DataError as error:
        if error.code not in ("no-rows", "unlabelled"):
            raise
        return {"n": 0, "left_out": left_out, "metrics": {"accuracy": _undefined("no row remains")}}
    return {"n": data["n"], "left_out": left_out, "metrics": data["metrics"]}


def evaluate_baselines(p: Predictions, baselines: Mapping[str, np.ndarray], split: str | None = None) -> dict[str, Any]:
    """{name: metrics} of other probabilities float[N, K] for the rows of `p`, on the rows the model is scored on.

    A baseline's row counts where the model's does: an image the model could not read is left out of both.
    """
    unreadable = np.isnan(p.probs).any(axis=1)[:, None]
    others = {name: replace(p, probs=np.where(unreadable, np.nan, probs)) for name, probs in baselines.items()}
    return {name: _score(of_split(q, split), "", 0, RESAMPLES, False)["metrics"] for name, q in others.items()}


def _undefined(reason: str) -> Metric:
    return {"value": None, "reason": reason}


def _decision(rows: Rows) -> dict[str, Any]:
    if rows.task == "multilabel":
        return {"rule": "threshold", "threshold": THRESHOLD}
    if rows.task == "binary":
        return {"rule": "argmax", "threshold": THRESHOLD, "positive": rows.classes[1]}
    return {"rule": "argmax"}


def _draw(
    rows: Rows, rng: np.random.Generator, resamples: int, statistics: list[Callable[[np.ndarray], Draws]]
) -> Draws:
    """Everything whose interval needs the images themselves drawn again, in one pass."""
    return resample_rows(len(rows.probs), lambda w: {k: v for s in statistics for k, v in s(w).items()}, rng, resamples)


def _label_draws(rows: Rows, predicted: np.ndarray) -> Callable[[np.ndarray], Draws]:
    """A statistic for `resample_rows`: the counts of each label, and the Hamming loss."""
    hits, truth, called = (x.astype(np.float64) for x in (rows.targets & predicted, rows.targets, predicted))
    wrong = (rows.targets != predicted).mean(axis=1)

    def statistic(weights: np.ndarray) -> Draws:
        counts = {"tp": weights @ hits, "support": weights @ truth, "predicted": weights @ called}
        return counts | {"hamming_loss": weights @ wrong / len(wrong)}

    return statistic


def _accuracy(rows: Rows, predicted: np.ndarray) -> dict[str, Metric]:
    right = predicted == rows.targets
    right = right.all(axis=1) if right.ndim == 2 else right
    return {"accuracy": _share(int(right.sum()), len(right), "")}


def _averages(rows: Rows, counts: Counts, drawn: Counts) -> dict[str, Metric]:
    """Scores that are functions of the counts; undefined ones with their reason."""
    single = rows.task != "multilabel"
    points, draws = cm.averages(counts), cm.averages(drawn)
    out: dict[str, Metric] = {}
    for name, point in points.items():
        score = name.partition("_")[2]
        if np.isnan(point):
            out[name] = _undefined(_why_undefined(name))
        elif single and (name.startswith("micro_") or name == "weighted_recall"):
            out[name] = _share(int(counts.tp.sum()), counts.n, "")  # with one label per image these are the accuracy
        else:
            size = effective(counts.support) if name.startswith("macro_") else counts.n
            out[name] = percentile(float(point), draws[name], size)
            note = "" if name.startswith("micro_") else _passed_over(rows, counts, score)
            out[name] |= {"note": note} if note else {}
    if not single:
        balanced, correlation = "is for one label per image; see the macro recall", "is for one label per image"
        return {"balanced_accuracy": _undefined(balanced), "mcc": _undefined(correlation)} | out
    mcc = float(cm.mcc(counts))
    correlated = (
        _undefined("the truth or the prediction has one class only")
        if np.isnan(mcc)
        else percentile(mcc, cm.mcc(drawn), counts.n, low=-1.0)
    )
    return {"balanced_accuracy": dict(out["macro_recall"]), "mcc": correlated} | out


def _why_undefined(name: str) -> str:
    if name == "weighted_precision":
        return "no class that has images is ever predicted"
    if name.endswith("precision"):
        return "no label is ever predicted"
    return "no image has a label" + (" and none is predicted" if name in ("macro_f1", "micro_f1") else "")


def _passed_over(rows: Rows, counts: Counts, score: str) -> str:
    """Which classes a mean over classes passes over, '' for none."""
    scores = {"precision": cm.precision, "recall": cm.recall, "f1": cm.f1}
    missing = [c for c, v in zip(rows.classes, scores[score](counts), strict=True) if np.isnan(v)]
    if not missing:
        return ""
    names = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    why = {"precision": "never predicted", "recall": "no image", "f1": "no image, never predicted"}[score]
    k = len(rows.classes)
    return f"mean over {k - len(missing)} of {k} classes; undefined for {names} ({why})"


def _probabilities(rows: Rows, draws: Draws) -> dict[str, Metric]:
    n = len(rows.probs)
    loss = float(log_losses(rows.probs, rows.targets).mean())
    return {
        "log_loss": percentile(loss, draws["log_loss"], n, high=np.inf),
        "ece": reflected(ece(rows.probs, rows.targets), draws["ece"], n),
    }


def _areas(rows: Rows, ranking: bool | None) -> tuple[dict[str, Metric], list[dict[str, Metric]]]:
    n, k = rows.probs.shape
    if ranking is None and n * k > RANKING_SCORES:
        reason = f"not computed for {n:,} × {k:,} scores unless asked for"
    elif ranking is False:
        reason = "not computed"
    else:
        one_hot = rows.targets if rows.targets.ndim == 2 else rows.targets[:, None] == np.arange(k)
        return areas(rows.probs, one_hot, rows.task == "binary")
    return {name: _undefined(reason) for name in AREAS}, [{name: _undefined(reason) for name in AREAS}] * k


def _per_class(
    rows: Rows, counts: Counts, drawn: Counts, class_areas: list[dict[str, Metric]]
) -> dict[str, dict[str, Any]]:
    """{label: scores with intervals, support, predicted, tp, fp, fn, tn}."""
    f1, f1_draws = cm.f1(counts), cm.f1(drawn)
    out = {}
    for i, label in enumerate(rows.classes):
        tp, support, predicted = (int(x[i]) for x in counts[:3])
        fp, fn = predicted - tp, support - tp
        tn = counts.n - tp - fp - fn
        size = support or predicted
        out[label] = {
            "precision": _share(tp, predicted, "never predicted"),
            "recall": _share(tp, support, "no image of this class"),
            "f1": percentile(float(f1[i]), f1_draws[:, i], size) if size else _undefined("no image, never predicted"),
            "specificity": _share(tn, tn + fp, "no image of any other class"),
            **class_areas[i],
            "support": support, "predicted": predicted, "tp": tp, "fp": fp, "fn": fn, "tn": tn,
        }  # fmt: skip
    return out


def _share(part: int, whole: int, reason: str) -> Metric:
    if whole == 0:
        return _undefined(reason)
    low, high = wilson(part, whole)
    return {"value": part / whole, "low": low, "high": high}
