"""Answers from a few labelled vectors of a frozen network: prototypes, neighbours, a logistic probe, a cache.

Each function gives scores float[..., N, K] of queries float[..., N, D] from a support float[..., M, D] whose labels
int64[M] are the same in all leading dimensions (episodes): the highest score is the answer. Classes are 0 to K - 1, and
each of them has a support vector.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.evaluate.probes import unit

Metric = Literal["cosine", "euclidean"]
Method = Literal["prototype", "nearest", "logistic", "cache"]
METHODS: tuple[str, ...] = get_args(Method)
ALPHA, BETA = 1.0, 5.5  # of the cache: its weight, and how sharply a key's likeness counts (Zhang et al. 2022, § 4.1)
STRENGTH = 1.0  # of the logistic probe, scikit-learn's C
ITERATIONS = 300


def prepared(vectors: np.ndarray, base_mean: np.ndarray | None = None, metric: Metric = "cosine") -> np.ndarray:
    """float32[..., D] as the functions here compare them: less the mean of the base classes, for cosine of length 1.

    base_mean float[D]: of images that are in no episode; None leaves the vectors where they are. Both steps together
    are CL2N of SimpleShot (Wang et al. 2019, arXiv:1911.04623).
    """
    moved = np.asarray(vectors, np.float32)
    if base_mean is not None:
        moved = moved - np.asarray(base_mean, np.float32)
    return unit(moved) if metric == "cosine" else moved


def prototypes(support: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """The mean support vector of each class, float32[..., K, D] (Snell et al. 2017, arXiv:1703.05175, eq. 1).

    DataError naming the classes that have none.
    """
    counts = np.bincount(labels, minlength=classes)
    if len(counts) > classes or not counts.all():
        missing = ", ".join(map(str, np.flatnonzero(counts == 0))) or "none"
        raise DataError(
            f"expected a support vector of each of {classes} classes, found {len(counts)} labels; without any: "
            f"{missing}.", where="few-shot", code="too-few",
        )  # fmt: skip
    return (np.eye(classes, dtype=np.float32)[labels] / counts).T @ np.asarray(support, np.float32)


def likeness(queries: np.ndarray, keys: np.ndarray, metric: Metric = "cosine") -> np.ndarray:
    """float32[..., N, M] of queries float[..., N, D] and keys float[..., M, D]: the cosine, or minus the square of the
    Euclidean distance."""
    if metric == "cosine":
        return unit(queries) @ np.swapaxes(unit(keys), -1, -2)
    queries, keys = np.asarray(queries, np.float32), np.asarray(keys, np.float32)
    squares = (queries * queries).sum(axis=-1)[..., :, None] + (keys * keys).sum(axis=-1)[..., None, :]
    return 2 * queries @ np.swapaxes(keys, -1, -2) - squares


def prototype_scores(
    support: np.ndarray, labels: np.ndarray, queries: np.ndarray, classes: int, metric: Metric = "cosine"
) -> np.ndarray:
    """How like each class's prototype a query is: minus the squared distance is Snell's, the cosine SimpleShot's."""
    return likeness(queries, prototypes(support, labels, classes), metric)


def nearest_scores(
    support: np.ndarray, labels: np.ndarray, queries: np.ndarray, classes: int, metric: Metric = "cosine"
) -> np.ndarray:
    """How like the most similar support vector of each class a query is; the highest is the nearest neighbour's."""
    alike = likeness(queries, support, metric)
    return np.stack([alike[..., labels == k].max(axis=-1) for k in range(classes)], axis=-1)


def logistic_scores(
    support: np.ndarray, labels: np.ndarray, queries: np.ndarray, classes: int, strength: float = STRENGTH
) -> np.ndarray:
    """Log probabilities of a logistic regression on the support (Tian et al. 2020, arXiv:2003.11539).

    strength: inverse of the L2 penalty on the weights, scikit-learn's C. The weights are a sum of support vectors, so
    they are sought among these vectors' coordinates in the space they span, M numbers instead of D. All episodes are
    fitted at once: their losses do not depend on each other, so the sum has the minimum of each.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    lead = support.shape[:-2]
    known, asked = (np.asarray(x, np.float64).reshape(-1, *x.shape[-2:]) for x in (support, queries))
    if known.shape[1] < known.shape[2]:
        basis = np.linalg.qr(np.swapaxes(known, 1, 2))[0]
        known, asked = known @ basis, asked @ basis
    one_hot = np.eye(classes)[labels]
    shape = (len(known), known.shape[2] + 1, classes)  # the last row is the bias, which is not penalised

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        both = flat.reshape(shape)
        weight = both[:, :-1]
        logs = log_softmax(known @ weight + both[:, -1:], axis=2)
        over = np.exp(logs) - one_hot
        slope = np.empty(shape)
        slope[:, :-1] = np.swapaxes(known, 1, 2) @ over + weight / strength
        slope[:, -1] = over.sum(axis=1)
        return float((weight * weight).sum() / (2 * strength) - logs[:, one_hot > 0].sum()), slope.ravel()

    found = minimize(
        loss, np.zeros(int(np.prod(shape))), jac=True, method="L-BFGS-B",
        options={"maxiter": ITERATIONS, "gtol": 1e-5, "ftol": 1e-13},
    ).x.reshape(shape)  # fmt: skip
    logs = log_softmax(asked @ found[:, :-1] + found[:, -1:], axis=2)
    return logs.reshape(*lead, *logs.shape[1:]).astype(np.float32)


def cache_scores(
    support: np.ndarray, labels: np.ndarray, queries: np.ndarray, base: np.ndarray, alpha: float = ALPHA,
    beta: float = BETA,
) -> np.ndarray:  # fmt: skip
    """base + alpha · exp(-beta (1 - cosine)) · one-hot labels (Tip-Adapter, Zhang et al. 2022, arXiv:2207.09519).

    base float[..., N, K]: logits of any other classifier of the queries, as the cosines with prototypes, or 100 times
    those with the text of a dual encoder, whose own scale alpha is weighed against. Nothing is trained.
    """
    affinity = np.exp(-beta * (1 - likeness(queries, support)))
    return np.asarray(base, np.float32) + alpha * affinity @ np.eye(base.shape[-1], dtype=np.float32)[labels]


def scores(
    method: str, support: np.ndarray, labels: np.ndarray, queries: np.ndarray, classes: int, *,
    metric: Metric = "cosine", base: np.ndarray | None = None, alpha: float = ALPHA, beta: float = BETA,
) -> np.ndarray:  # fmt: skip
    """The scores of a method by its name; see METHODS.

    base: logits that the cache adds to; None: the cosines with the prototypes.  UsageError for an unknown method.
    """
    if method == "prototype":
        return prototype_scores(support, labels, queries, classes, metric)
    if method == "nearest":
        return nearest_scores(support, labels, queries, classes, metric)
    if method == "logistic":
        return logistic_scores(support, labels, queries, classes)
    if method == "cache":
        start = prototype_scores(support, labels, queries, classes) if base is None else base
        return cache_scores(support, labels, queries, start, alpha, beta)
    raise UsageError(f"no such method as {method}.", remedy=did_you_mean(method, METHODS), code="setting")
