"""Intervals: closed forms, coverage by simulation, and agreement of the quick way with the plain one."""

from __future__ import annotations

import numpy as np
import pytest

from anmok.evaluate.intervals import (
    effective,
    logit_normal,
    mover,
    of_mean,
    percentile,
    reflected,
    widened,
    wilson,
    wilsons,
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


def test_mover_by_hand() -> None:
    """Mean of 0.5 and 0.9: below √(0.1² + 0.3²) / 2, above √(0.2² + 0.05²) / 2; an undefined class is passed over."""
    low, high = mover(np.array([0.5, np.nan, 0.9]), np.array([0.4, np.nan, 0.6]), np.array([0.7, np.nan, 0.95]))
    assert low == pytest.approx(0.7 - np.sqrt(0.01 + 0.09) / 2)
    assert high == pytest.approx(0.7 + np.sqrt(0.04 + 0.0025) / 2)
    weighted = mover(np.array([0.5, 0.9]), np.array([0.4, 0.6]), np.array([0.7, 0.95]), np.array([3.0, 1.0]))
    assert weighted[0] == pytest.approx(0.6 - np.hypot(0.1 * 0.75, 0.3 * 0.25))


def test_mover_of_recalls_covers() -> None:
    rng = np.random.default_rng(0)
    shares, sizes = np.array([0.9, 0.7, 0.8, 0.5]), np.array([10, 40, 100, 50])
    inside = 0
    for _ in range(1000):
        hits = rng.binomial(sizes, shares)
        low, high = mover(hits / sizes, *wilsons(hits, sizes))
        inside += low <= shares.mean() <= high
    assert 0.93 < inside / 1000 < 0.98


def test_a_mean_is_not_surer_than_student() -> None:
    values = np.array([0.1, 0.3, 0.2, 1.0])
    got = of_mean(values, np.full(300, 0.4), 4)
    half = 3.182446 * values.std(ddof=1) / 2  # t of three degrees of freedom
    assert got["high"] == pytest.approx(0.4 + half, abs=1e-6)
    assert got["low"] == pytest.approx(max(0.0, 0.4 - half), abs=1e-6)
    assert of_mean(values[:1], np.full(300, 0.1), 1) == {"value": 0.1}
    assert widened({"value": None, "reason": "x"}, 0, 1) == {"value": None, "reason": "x"}


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
