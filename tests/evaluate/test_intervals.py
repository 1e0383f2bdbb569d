"""Intervals: closed forms, coverage by simulation, and agreement of the quick way with the plain one."""

from __future__ import annotations

import numpy as np
import pytest

from anmok.evaluate import confusion as cm
from anmok.evaluate.intervals import (
    effective,
    logit_normal,
    percentile,
    reflected,
    resample_cells,
    resample_rows,
    wilson,
)


def test_wilson_by_hand() -> None:
    """Newcombe (1998), table I: 81 of 263 and 0 of 20; and a known bound at n successes of n."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert wilson(10, 10)[0] == pytest.approx(10 / (10 + 1.959964**2), abs=1e-6)
    assert wilson(0, 0) == (0, 1)


def test_wilson_covers() -> None:
    rng = np.random.default_rng(0)
    for n, share in ((200, 0.8), (200, 0.95), (2000, 0.6)):
        bounds = np.array([wilson(x, n) for x in rng.binomial(n, share, 2000)])
        assert 0.93 < ((bounds[:, 0] <= share) & (share <= bounds[:, 1])).mean() < 0.97


def test_drawing_cells_is_drawing_images() -> None:
    """Mean and spread of the multinomial draws agree with images drawn one by one."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 4, 300)
    called = np.where(rng.random(300) < 0.7, targets, rng.integers(0, 4, 300))
    matrix = cm.confusion_counts(targets, called, 5)  # the fifth class has neither images nor predictions
    cells = resample_cells(matrix, np.random.default_rng(1), 4000)
    assert (cells.support.sum(axis=1) == 300).all()
    assert (cells.predicted.sum(axis=1) == 300).all()
    assert (cells.tp <= np.minimum(cells.support, cells.predicted)).all()
    assert (cells.tp[:, 4] == 0).all()
    quick = cm.macro(cm.f1(cells))
    plain = []
    for _ in range(4000):
        index = rng.integers(0, 300, 300)
        plain.append(float(cm.macro(cm.f1(cm.counts_of(_matrix(targets[index], called[index]))))))
    assert quick.mean() == pytest.approx(np.mean(plain), abs=0.003)
    assert quick.std() == pytest.approx(np.std(plain), rel=0.1)


def _matrix(targets: np.ndarray, called: np.ndarray) -> np.ndarray:
    return np.bincount(targets * 5 + called, minlength=25).reshape(5, 5)


def test_rows_are_drawn_in_blocks_with_n_each() -> None:
    sums = resample_rows(7, lambda w: {"n": w.sum(axis=1), "first": w[:, 0]}, np.random.default_rng(0), 500)
    assert sums["n"].shape == (500,)
    assert (sums["n"] == 7).all()
    assert sums["first"].mean() == pytest.approx(1, abs=0.2)


def test_percentile_of_agreeing_draws_is_wilson() -> None:
    assert percentile(1.0, np.ones(500), 20) == {"value": 1.0, "low": pytest.approx(wilson(20, 20)[0]), "high": 1.0}
    assert percentile(1.0, np.ones(500), 20, low=-1)["low"] == pytest.approx(2 * wilson(20, 20)[0] - 1)
    assert percentile(0.5, np.full(500, np.nan), 20) == {"value": 0.5}
    assert percentile(0.5, np.linspace(0, 1, 1001), 20) == {"value": 0.5, "low": 0.025, "high": 0.975}


def test_reflected_mirrors_upward_bias() -> None:
    got = reflected(0.05, np.linspace(0.05, 0.09, 1001), 100)
    assert got["low"] == pytest.approx(0.011)
    assert got["high"] == pytest.approx(0.05)


def test_logit_normal_stays_inside() -> None:
    got = logit_normal(0.99, 0.02, 50)
    assert 0 < got["low"] < 0.99 < got["high"] < 1
    assert logit_normal(1.0, 0.0, 10)["low"] == pytest.approx(wilson(10, 10)[0])


def test_effective_size() -> None:
    assert effective(np.array([50, 50])) == 100
    assert effective(np.array([10, 0, 90])) == pytest.approx(36)
    assert effective(np.zeros(3)) == 0
