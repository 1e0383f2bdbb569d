"""The Fréchet distance against the formula with a matrix root, and against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.expand.frechet import apart, frechet


@pytest.mark.parametrize(("n", "m", "d"), [(40, 60, 5), (200, 30, 8), (12, 9, 20)])
def test_it_is_the_formula_with_the_root(n: int, m: int, d: int) -> None:
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(n)
    mix = rng.normal(size=(d, d))
    a, b = rng.normal(size=(n, d)) @ mix, rng.normal(size=(m, d)) + 0.5
    one, other = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    jitter = 1e-10 * np.eye(d)  # the root of a singular matrix is none that scipy finds
    root = sqrtm((one + jitter) @ (other + jitter))
    direct = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(one + other - 2 * np.real(root))
    assert frechet(a, b) == pytest.approx(direct, rel=1e-3 if n < d else 1e-8)


def test_closed_forms() -> None:
    # Of one dimension: (difference of means)² + (difference of standard deviations)².
    a, b = np.array([[0.0], [2.0], [4.0]]), np.array([[1.0], [2.0], [3.0]])  # means 2, 2; deviations 2, 1
    assert frechet(a, b) == pytest.approx(1.0)
    assert frechet(a, b + 5) == pytest.approx(26.0)
    rng = np.random.default_rng(0)  # a map by c of a Gaussian of covariance I: d (1 - c)²
    many = rng.normal(size=(50_000, 3))
    assert frechet(many, 3 * rng.normal(size=(50_000, 3))) == pytest.approx(12, rel=0.02)


@settings(max_examples=30)
@given(n=st.integers(2, 12), m=st.integers(2, 12), d=st.integers(1, 6), seed=st.integers(0, 99))
def test_a_distance(n: int, m: int, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    assert frechet(a, b) >= 0
    assert frechet(a, b) == pytest.approx(frechet(b, a), abs=1e-9)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet(a + 1, b + 1) == pytest.approx(frechet(a, b), abs=1e-8)


def test_wrong_shapes() -> None:
    with pytest.raises(ValueError, match="two vectors"):
        frechet(np.zeros((1, 3)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="one length"):
        frechet(np.zeros((4, 3)), np.zeros((4, 2)))


def test_the_yardstick_tells_like_from_unlike() -> None:
    rng = np.random.default_rng(1)
    real = rng.normal(size=(200, 6))
    like = apart(rng.normal(size=(80, 6)), real, np.random.default_rng(0), draws=60)
    unlike = apart(rng.normal(size=(80, 6)) * 0.3 + 1, real, np.random.default_rng(0), draws=60)
    assert like is not None
    assert unlike is not None
    assert like.n == unlike.n == 80
    assert like.real.value == unlike.real.value
    assert like.made.low <= like.real.value <= like.made.high  # not told from another half of real ones
    assert unlike.made.low > 5 * unlike.real.high
    for one in (like.made, like.real, unlike.made):
        assert 0 <= one.low <= one.value <= one.high
    assert apart(real[:7], real, rng) is None
    assert apart(real, real[:15], rng) is None
