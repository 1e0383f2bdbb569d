"""Out-of-fold probabilities without torch: features of random patches, and a logistic regression a fold.

Patches are normalised, whitened, compared with patches drawn from the images themselves, halfway rectified and
averaged over ninths of the image (Coates & Ng 2011, "The importance of encoding versus training"). They are made
from the images alone, so that no label leaks from fold to fold.
"""

from __future__ import annotations

import warnings

import numpy as np

from anmok.core.progress import Bar

PATCH, STRIDE = 6, 2  # side of a patch and the way to the next, pixels
FILTERS = 200
PARTS = 3  # rows and columns of the parts that responses are averaged over
SAMPLE = 20_000  # patches that the whitening is estimated from
FLAT = 10.0  # added to a patch's variance, of pixels in [0, 255], so that noise in flat ones is not blown up
WHITEN = 0.1  # added to the eigenvalues
ALPHA = 0.25  # what a response must exceed
BLOCK = 64  # images at a time
INVERSE_PENALTY = 1e-3  # scikit-learn's C
ITERATIONS = 60


def patch_features(pixels: np.ndarray, seed: int, progress: Bar) -> np.ndarray:
    """float32[N, 2 × PARTS² × FILTERS], standardised, of uint8[N, S, S, 3]."""
    n = len(pixels)
    weights, bias = _filters(pixels, np.random.Generator(np.random.PCG64(seed)))
    out = np.empty((n, 2 * PARTS**2 * FILTERS), np.float32)
    for low in range(0, n, BLOCK):
        block = _normalized(_patches(pixels[low : low + BLOCK].astype(np.float32)))
        response = block @ weights - bias
        both = np.concatenate([np.maximum(response - ALPHA, 0), np.maximum(-response - ALPHA, 0)], axis=-1)
        rows = np.array_split(np.arange(both.shape[1]), PARTS)
        parts = [both[:, y[0] : y[-1] + 1, x[0] : x[-1] + 1].mean(axis=(1, 2)) for y in rows for x in rows]
        out[low : low + BLOCK] = np.concatenate(parts, axis=1)
        progress.advance(len(block))
    spread = out.var(axis=0)
    return (out - out.mean(axis=0)) / np.sqrt(spread + 1e-4 * max(float(spread.mean()), 1e-12))


def _patches(images: np.ndarray) -> np.ndarray:
    """float32[n, H', W', PATCH × PATCH × 3] of float32[n, H, W, 3]."""
    views = np.lib.stride_tricks.sliding_window_view(images, (PATCH, PATCH), axis=(1, 2))[:, ::STRIDE, ::STRIDE]
    return views.reshape(*views.shape[:3], -1)


def _normalized(patches: np.ndarray) -> np.ndarray:
    """Mean 0 and variance 1 in each patch."""
    centred = patches - patches.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(centred.var(axis=-1, keepdims=True) + FLAT)


def _filters(pixels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(weights float32[D, FILTERS], bias float32[FILTERS]): whitening and comparison with drawn patches, in one."""
    which = rng.integers(0, len(pixels), SAMPLE)
    top, left = rng.integers(0, pixels.shape[1] - PATCH + 1, (2, SAMPLE))
    drawn = [
        pixels[i, y : y + PATCH, x : x + PATCH].transpose(2, 0, 1).ravel()
        for i, y, x in zip(which, top, left, strict=True)
    ]
    sample = _normalized(np.stack(drawn).astype(np.float32))
    mean = sample.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(sample - mean, rowvar=False))
    whiten = (vectors / np.sqrt(values + WHITEN)) @ vectors.T
    chosen = (sample[:FILTERS] - mean) @ whiten
    chosen /= np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-6)
    weights = (whiten @ chosen.T).astype(np.float32)
    return weights, (mean @ weights).astype(np.float32)


def fold_probabilities(
    features: np.ndarray, targets: np.ndarray, fold: np.ndarray, classes: int, folds: int, progress: Bar
) -> np.ndarray:
    """float32[N, K] of multinomial (multi-label: a binary one a class) logistic regressions; NaN rows at fold -1."""
    out = np.full((len(features), classes), np.nan, np.float32)
    for f in range(folds):
        test = np.flatnonzero(fold == f)
        train = np.flatnonzero(fold != f)
        if len(test) and targets.ndim == 1:
            out[test] = _fit(features[train], targets[train], features[test], classes)
        elif len(test):
            for c in range(classes):
                known = train[~np.isnan(targets[train, c])]
                answer = (targets[known, c] > 0.5).astype(np.int64)
                out[test, c] = _fit(features[known], answer, features[test], 2)[:, 1]
        progress.advance()
    return out


def _fit(features: np.ndarray, targets: np.ndarray, asked: np.ndarray, classes: int) -> np.ndarray:
    """float32[M, K]: the probabilities of `asked`; a class that was never seen has none."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    out = np.zeros((len(asked), classes), np.float32)
    present = np.unique(targets)
    if len(present) == 1:
        out[:, present] = 1
        return out
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopped early on purpose: it generalises as well
        model = LogisticRegression(C=INVERSE_PENALTY, max_iter=ITERATIONS, tol=1e-2).fit(features, targets)
    out[:, model.classes_] = model.predict_proba(asked)
    return out
