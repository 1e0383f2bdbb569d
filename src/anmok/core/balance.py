"""Weights of classes that occur unequally often: one function for sampling and for the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from anmok.core.errors import UsageError, did_you_mean

Balance = Literal["none", "balanced", "sqrt", "effective"]
BALANCES: tuple[Balance, ...] = ("none", "balanced", "sqrt", "effective")
BETA = 0.9999


def class_weights(counts: Sequence[int] | np.ndarray, how: str, beta: float = BETA) -> np.ndarray:
    """float64[K], the weight of one image of each class with counts int[K]; 0 for a class without images.

    none: 1; balanced: 1 / n, every class weighs the same; sqrt: 1 / √n, half way between the two;
    effective: (1 − β) / (1 − β^n), the inverse of the effective number of images (Cui et al. 2019, arXiv:1901.05555,
    proposition 1), like `balanced` while n is far below 1 / (1 − β) and like `none` far above. With the default that
    is 10,000: smaller classes are simply balanced. The paper reads β as (N − 1) / N for N images that differ.

    UsageError for an unknown name, or β outside [0, 1).
    """
    n = np.asarray(counts, np.float64)
    if how not in BALANCES:
        raise UsageError(f"no such balance: {how}.", remedy=did_you_mean(how, BALANCES), code="setting")
    if not 0 <= beta < 1:
        raise UsageError(f"beta is at least 0 and below 1, found {beta}.", where="beta", code="setting")
    weights = np.zeros(len(n))
    has = n > 0
    if how == "none":
        weights[has] = 1
    elif how == "balanced":
        weights[has] = 1 / n[has]
    elif how == "sqrt":
        weights[has] = 1 / np.sqrt(n[has])
    else:  # expm1 keeps the digits where β^n is near 1; β = 0 makes every class one image
        weights[has] = (1 - beta) / -np.expm1(n[has] * np.log(beta)) if beta else 1.0
    return weights


def loss_weights(counts: Sequence[int] | np.ndarray, how: str, beta: float = BETA) -> np.ndarray:
    """float64[K]: `class_weights` scaled so that they average 1 over the images, which keeps the step size's meaning.

    For `balanced` that is n / (K n_k) over the classes that occur, as scikit-learn's.
    """
    weights = class_weights(counts, how, beta)
    total = float(np.dot(weights, counts))
    return weights * (float(np.sum(counts)) / total) if total else weights
