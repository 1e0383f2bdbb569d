"""How much of the labels a representation holds, without training it: nearest neighbours and a linear classifier."""

from __future__ import annotations

import numpy as np

from anmok.core.errors import DataError

NEIGHBOURS = 20
TEMPERATURE = 0.07
BLOCK = 1024  # images compared at a time: 1,024 × 50,000 similarities are 200 MB


def knn_votes(
    known: np.ndarray, labels: np.ndarray, asked: np.ndarray, classes: int, k: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> np.ndarray:  # fmt: skip
    """Votes of the k nearest known images, float32[N, K], rows sum to 1 (Wu et al. 2018, arXiv:1805.01978, § 3.4).

    known float[M, D] and asked float[N, D]: vectors, compared by cosine s; a neighbour's vote weighs exp(s / τ). labels
    int64[M], all of them known. k is at most M. DataError: no known image.
    """
    if not len(known):
        raise DataError("no labelled image to compare with.", where="probe", code="unlabelled")
    known, asked = unit(known), unit(asked)
    k = min(k, len(known))
    one_hot = np.eye(classes, dtype=np.float32)[labels]
    votes = np.zeros((len(asked), classes), np.float32)
    for start in range(0, len(asked), BLOCK):
        alike = asked[start : start + BLOCK] @ known.T
        near = np.argpartition(alike, -k, axis=1)[:, -k:]
        close = np.take_along_axis(alike, near, axis=1)
        weights = np.exp((close - close.max(axis=1, keepdims=True)) / temperature)
        votes[start : start + BLOCK] = (weights[:, :, None] * one_hot[near]).sum(axis=1)
    return votes / votes.sum(axis=1, keepdims=True)


def knn_accuracy(
    known: np.ndarray, labels: np.ndarray, asked: np.ndarray, truth: np.ndarray, k: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> float:  # fmt: skip
    """Share of the asked images whose weighted vote is right; see `knn_votes`.  truth int64[N]."""
    classes = int(max(labels.max(initial=0), truth.max(initial=0))) + 1
    return float((knn_votes(known, labels, asked, classes, k, temperature).argmax(axis=1) == truth).mean())


def linear_probe(
    known: np.ndarray, labels: np.ndarray, asked: np.ndarray, strength: float = 0.1, most: int = 200
) -> np.ndarray:
    """Classes, int64[N], that a logistic regression on standardised vectors gives (Alain & Bengio 2016,
    arXiv:1610.01644).

    known float[M, D], labels int64[M], asked float[N, D]. strength: inverse of the L2 penalty, scikit-learn's C; most:
    steps of the optimizer at most, as the last digits of a monitor's score are not worth waiting for. Where all labels
    are one class, that class. DataError: no known image.
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if not len(known):
        raise DataError("no labelled image to learn from.", where="probe", code="unlabelled")
    if len(np.unique(labels)) == 1:
        return np.full(len(asked), labels[0], np.int64)
    mean, scale = known.mean(axis=0), known.std(axis=0)
    scale = np.where(scale < 1e-6, 1, scale)
    model = LogisticRegression(C=strength, max_iter=most)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # as said of `most`
        model.fit((known - mean) / scale, labels)
    return np.asarray(model.predict((asked - mean) / scale), np.int64)


def unit(vectors: np.ndarray) -> np.ndarray:
    """float32[..., N, D] of length 1; a vector of zeros stays one."""
    vectors = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
