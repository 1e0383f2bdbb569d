"""From Predictions to an Evaluation: every score with its interval, or n/a with the reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from anmok.core.errors import DataError
from anmok.core.types import Evaluation, Predictions
from anmok.evaluate import confusion as cm
from anmok.evaluate.averages import Metric, average_metrics, class_metrics, share, undefined
from anmok.evaluate.calibration import bin_gaps, brier_scores, label_means, log_losses, true_ranks
from anmok.evaluate.groups import group_codes
from anmok.evaluate.hierarchy import class_distances
from anmok.evaluate.intervals import of_mean, reflected
from anmok.evaluate.ranking import AREAS, areas
from anmok.evaluate.resampling import RESAMPLES, resample_cells, resample_sums
from anmok.evaluate.rows import Rows, of_split, usable_rows
from anmok.evaluate.tally import Tally, tally

THRESHOLD = 0.5
TOP = (3, 5)  # k of the top-k accuracies, where there are more classes
RANKING_SCORES = 20_000_000  # N × K up to which curves are computed unasked: each class is one sort of N
SHARES = 200  # classes up to which the confusion matrix is also given as shares


@dataclass(frozen=True)
class Asked:
    """What an evaluation is asked for besides the rows.

    seed, resamples: of the bootstrap.  ranking: ask for areas under curves, or against them, whatever they cost.
    top: k of the top-k accuracies.  beta: add F-beta.  groups: id to group; images of a group are not independent.
    parents: the class hierarchy, each name to the one above; adds `hierarchical_cost`.
    """

    seed: int = 0
    resamples: int = RESAMPLES
    ranking: bool | None = None
    top: tuple[int, ...] = TOP
    beta: float | None = None
    groups: Mapping[str, str] | None = None
    parents: Mapping[str, str] | None = None


def evaluate(p: Predictions, split: str, **asked: Any) -> Evaluation:
    """Score the rows of one split; `data` has the keys of evaluation.json and the counts `rejected` and `unlabelled`.

    Rows without a readable image (NaN) and rows without a label are left out and counted.  Where the Predictions mark
    splits, only rows of `split` count.  asked: see `Asked`.  Intervals are 95 %: Wilson for proportions (and what is
    one in other words, a class's F1), logit-normal for areas under curves, for the rest the percentile bootstrap within
    each class, or over groups, not narrower than the fewest images of a class allow.  Multi-label: `accuracy` is
    the share of images with exactly the right set of labels, `log_loss` the mean binary cross-entropy, `ece` is over
    all (image, label) pairs.  ROC-AUC and average precision are one-vs-rest means over classes (so the latter is the
    mAP; binary: of classes[1]).  What is unknown of a multi-label image (NaN) counts in no score; `unknown` says how
    many pairs that are.  DataError: see `usable_rows`.
    """
    return scored(of_split(p, split), split, Asked(**asked))


def scored(p: Predictions, split: str, asked: Asked) -> Evaluation:
    """The Evaluation of all rows, called those of `split`; see `evaluate`."""
    rows = usable_rows(p)
    rng = np.random.default_rng(asked.seed)
    multi = rows.task == "multilabel"
    predicted = rows.probs >= THRESHOLD if multi else rows.probs.argmax(axis=1)
    found = tally(rows, predicted, group_codes(rows.ids, asked.groups), rng, asked.resamples)
    task_areas, class_areas = _areas(rows, asked.ranking, found.groups)
    metrics = (
        _accuracies(rows, found, asked.top)
        | average_metrics(rows.classes, found, not multi, asked.beta)
        | _probabilities(rows, found, rng, asked)
        | task_areas
    )
    if asked.parents is not None:
        metrics["hierarchical_cost"] = _hierarchical(rows, found, rng, asked)
    return Evaluation({
        "split": split,
        "n": len(predicted),
        "task": rows.task,
        "metrics": metrics,
        "per_class": class_metrics(rows.classes, found, class_areas, asked.beta),
        "confusion": _confusion(rows, found),
        "decision": _decision(rows),
        "rejected": rows.rejected,
        "unlabelled": rows.unlabelled,
        **({} if rows.known is None else {"unknown": int((~rows.known).sum())}),
    })  # fmt: skip


def evaluate_without(p: Predictions, ids: Collection[str], split: str | None = None, **asked: Any) -> dict[str, Any]:
    """{n, left_out, metrics} without the rows named by `ids` (leaked ones, say), to stand beside the plain score.

    The metrics are one n/a accuracy where no labelled row remains.
    """
    p = of_split(p, split)
    ids = set(ids)
    keep = np.array([i not in ids for i in p.ids], bool)
    left_out = int((~keep).sum())
    try:
        data = scored(p.select(keep), split or "", Asked(**asked))
    except DataError as error:
        if error.code not in ("no-rows", "unlabelled"):
            raise
        return {"n": 0, "left_out": left_out, "metrics": {"accuracy": undefined("no row remains")}}
    return {"n": data["n"], "left_out": left_out, "metrics": data["metrics"]}


def evaluate_baselines(p: Predictions, baselines: Mapping[str, np.ndarray], split: str | None = None) -> dict[str, Any]:
    """{name: metrics} of other probabilities float[N, K] for the rows of `p`, on the rows the model is scored on.

    A baseline's row counts where the model's does: an image the model could not read is left out of both.
    """
    unreadable = np.isnan(p.probs).any(axis=1)[:, None]
    others = {name: replace(p, probs=np.where(unreadable, np.nan, probs)) for name, probs in baselines.items()}
    return {name: scored(of_split(q, split), "", Asked(ranking=False))["metrics"] for name, q in others.items()}


def _decision(rows: Rows) -> dict[str, Any]:
    if rows.task == "multilabel":
        return {"rule": "threshold", "threshold": THRESHOLD}
    if rows.task == "binary":
        return {"rule": "argmax", "threshold": THRESHOLD, "positive": rows.classes[1]}
    return {"rule": "argmax"}


def _accuracies(rows: Rows, found: Tally, top: tuple[int, ...]) -> dict[str, Metric]:
    right = found.predicted == rows.targets
    right = right.all(axis=1) if right.ndim == 2 else right
    out = {"accuracy": share(int(right.sum()), len(right), "", found.images(right))}
    wanted = [k for k in top if rows.task == "multiclass" and 1 < k < len(rows.classes)]
    ranks = true_ranks(rows.probs, rows.targets) if wanted else np.zeros(0)
    for k in wanted:
        among = ranks < k
        out[f"top_{k}_accuracy"] = share(int(among.sum()), len(among), "", found.images(among))
    return out


def _probabilities(rows: Rows, found: Tally, rng: np.random.Generator, asked: Asked) -> dict[str, Metric]:
    """Log loss, Brier score and calibration error: one bootstrap of their sums serves all, and the Hamming loss."""
    n, multi = len(rows.probs), rows.task == "multilabel"
    known = rows.known
    per_image = {
        "log_loss": log_losses(rows.probs, rows.targets, known), "brier": brier_scores(rows.probs, rows.targets, known)
    }  # fmt: skip
    if multi:
        per_image["hamming_loss"] = label_means((found.predicted != rows.targets).astype(np.float64), known)
    pairs = rows.targets.size if known is None else int(known.sum())
    gaps = bin_gaps(rows.probs, rows.targets, known=known) / (pairs / n)
    features = np.column_stack([*per_image.values(), gaps])
    drawn = resample_sums(
        features, rng, asked.resamples, strata=None if multi else rows.targets, groups=found.groups
    ) / n  # fmt: skip
    highest = {"log_loss": np.inf, "brier": 2.0 if rows.task == "multiclass" else 1.0, "hamming_loss": 1.0}
    out = {
        name: of_mean(values, drawn[:, i], found.images(values), 0.0, highest[name])
        for i, (name, values) in enumerate(per_image.items())
    }
    ece = float(np.abs(gaps.sum(axis=0)).sum() / n)
    worth = n if found.groups is None else int(found.groups.max()) + 1
    out["ece"] = reflected(ece, np.abs(drawn[:, len(per_image) :]).sum(axis=1), worth)
    return {name: out[name] for name in ("log_loss", "brier", "ece", "hamming_loss") if name in out}


def _hierarchical(rows: Rows, found: Tally, rng: np.random.Generator, asked: Asked) -> Metric:
    if rows.task == "multilabel":
        return undefined("is for one label per image")
    distance = class_distances(rows.classes, asked.parents or {})
    costs = distance[rows.targets, found.predicted]
    if found.groups is None:
        drawn = resample_cells(found.matrix, rng, asked.resamples, (distance,)).costs[0]
    else:
        drawn = resample_sums(costs[:, None], rng, asked.resamples, groups=found.groups)[:, 0]
    return of_mean(costs, drawn / len(costs), found.images(costs), 0.0, float(distance.max()))


def _confusion(rows: Rows, found: Tally) -> dict[str, Any]:
    out: dict[str, Any] = {"classes": list(rows.classes), "counts": found.matrix.tolist()}
    if rows.task != "multilabel" and len(rows.classes) <= SHARES:
        for over in ("true", "predicted"):
            shares = cm.normalized(found.matrix, over)
            out[f"by_{over}"] = [[None if np.isnan(x) else float(x) for x in row] for row in shares]
    return out


def _areas(
    rows: Rows, ranking: bool | None, groups: np.ndarray | None
) -> tuple[dict[str, Metric], list[dict[str, Metric]]]:
    n, k = rows.probs.shape
    if ranking is None and n * k > RANKING_SCORES:
        reason = f"not computed for {n:,} × {k:,} scores unless asked for"
    elif ranking is False:
        reason = "not computed"
    else:
        one_hot = rows.targets if rows.targets.ndim == 2 else rows.targets[:, None] == np.arange(k)
        return areas(rows.probs, one_hot, rows.task == "binary", groups, rows.known)
    return {name: undefined(reason) for name in AREAS}, [{name: undefined(reason) for name in AREAS}] * k
