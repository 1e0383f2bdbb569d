"""Classes told apart by their names alone: logits, probabilities, and which images are none of the classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anmok.core.errors import DataError
from anmok.evaluate.unknown import alarm_above

NONE = "none of these"
FALSE_ALARMS = 0.05


class NoneRule(NamedTuple):
    """Which images are none of the classes: those whose strangeness lies above `threshold`.

    false_alarms: the share of images of the classes that it was set for, None where it was set by the background.
    """

    threshold: float = 0.0
    false_alarms: float | None = None

    def flags(self, strange: np.ndarray) -> np.ndarray:
        """bool[N]; an image that could not be read (NaN) is not one of them."""
        return np.asarray(strange) > self.threshold


def logits(images: np.ndarray, classes: np.ndarray, scale: float, bias: float = 0.0) -> np.ndarray:
    """scale · cosine + bias, float64[N, K], of unit vectors float[N, D] and float[K, D]; NaN rows stay NaN.

    DataError: vectors of different lengths.
    """
    if images.shape[1] != classes.shape[1]:
        raise DataError(
            f"images have {images.shape[1]} numbers, texts {classes.shape[1]}: they are not of one model.",
            where="zeroshot", code="shape",
        )  # fmt: skip
    return scale * (np.asarray(images, np.float64) @ np.asarray(classes, np.float64).T) + bias


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Softmax over the classes of logits / temperature, float32[N, K].

    One class an image, also for a model that was trained with a sigmoid of each pair: its bias is the same for all
    classes and drops out.
    """
    from scipy.special import softmax

    return softmax(np.asarray(logits) / temperature, axis=1).astype(np.float32)


def strangeness(images: np.ndarray, classes: np.ndarray, background: np.ndarray, scale: float) -> np.ndarray:
    """How much better the best background text fits than the best class, in logits, float64[N]; above 0: it does.

    background float[B, D]: unit vectors of texts that name none of the classes.
    """
    return logits(images, background, scale).max(axis=1) - logits(images, classes, scale).max(axis=1)


def fit_none(strange: np.ndarray, false_alarms: float = FALSE_ALARMS) -> NoneRule:
    """The rule that calls at most this share of images of the classes none of them, on average (conformal quantile).

    strange float[N]: of labelled images of the classes.  DataError, UsageError: see `alarm_above`.
    """
    known = np.asarray(strange)[np.isfinite(strange)]
    return NoneRule(alarm_above(known, false_alarms), false_alarms)
