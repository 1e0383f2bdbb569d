"""Another prevalence: Bayes' rule by hand, a shift that is known, and one that is estimated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_predictions import made, softmax

from anmok.core.errors import DataError, UsageError
from anmok.evaluate.prior import class_shares, estimate_prior, full_prior, image_weights, reweigh


def test_by_hand() -> None:
    """0.5 at a prevalence of one half is 0.001 at one of a thousandth; of labels each by its own odds."""
    half, rare = np.array([0.5, 0.5]), np.array([0.999, 0.001])
    np.testing.assert_allclose(reweigh(np.array([[0.5, 0.5], [0.1, 0.9]]), half, rare, "binary")[:, 1],
                               [0.001, 0.9 * 0.001 / (0.9 * 0.001 + 0.1 * 0.999)])  # fmt: skip
    got = reweigh(np.array([[0.5, 0.25]]), half, np.array([0.1, 0.5]), "multilabel")
    np.testing.assert_allclose(got, [[0.1, 0.25]])


@settings(max_examples=30, deadline=None)
@given(k=st.integers(2, 5), seed=st.integers(0, 999))
def test_there_and_back(k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    probs, a, b = rng.dirichlet(np.ones(k), 7), rng.dirichlet(np.full(k, 5.0)), rng.dirichlet(np.full(k, 5.0))
    moved = reweigh(probs, a, b)
    np.testing.assert_allclose(moved.sum(axis=1), 1)
    np.testing.assert_allclose(reweigh(moved, b, a), probs, atol=1e-9)
    np.testing.assert_allclose(reweigh(probs, a, a), probs, atol=1e-12)


def test_expectation_maximisation_finds_the_shift() -> None:
    """Two Gaussians: trained half and half, met at one in ten."""
    rng = np.random.default_rng(0)
    truth = rng.random(20_000) < 0.1
    x = rng.normal(size=20_000) + 2 * truth
    p1 = 1 / (1 + np.exp(-(2 * x - 2)))  # Bayes for equal priors
    prior, probs = estimate_prior(np.column_stack([1 - p1, p1]), np.array([0.5, 0.5]))
    assert prior[1] == pytest.approx(0.1, abs=0.01)
    exact = 1 / (1 + np.exp(-(2 * x - 2 + np.log(0.1 / 0.9))))
    np.testing.assert_allclose(probs[:, 1], exact, atol=0.03)


def test_weights_give_images_the_prevalence() -> None:
    p = made(500)
    source = class_shares(p.targets, 3)
    target = np.array([0.7, 0.2, 0.1])
    w = image_weights(p.targets, source, target)
    np.testing.assert_allclose(np.bincount(p.targets, weights=w) / w.sum(), target)
    assert w.mean() == pytest.approx(1)
    assert softmax(np.zeros((1, 2))).sum() == 1


def test_the_rest_keeps_its_proportions() -> None:
    source = np.array([0.5, 0.3, 0.2])
    np.testing.assert_allclose(full_prior({"c": 0.6}, ["a", "b", "c"], source, "multiclass"), [0.25, 0.15, 0.6])
    np.testing.assert_allclose(full_prior({"c": 0.6}, ["a", "b", "c"], source, "multilabel"), [0.5, 0.3, 0.6])
    np.testing.assert_allclose(full_prior({}, ["a", "b", "c"], source, "multiclass"), source)


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"thef": 0.1}, r"no such class as thef\. Did you mean thief"),
        ({"thief": 0.0}, "between 0 and 1, found 0"),
        ({"thief": 0.6, "guest": 0.6}, "sum to 1.2; all classes together make 1"),
    ],
)
def test_what_is_no_prevalence(given_: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        full_prior(given_, ["thief", "guest"], np.array([0.5, 0.5]), "binary")


def test_a_class_without_images_cannot_become_frequent() -> None:
    with pytest.raises(DataError, match="no image in the data"):
        reweigh(np.array([[0.5, 0.5]]), np.array([1.0, 0.0]), np.array([0.5, 0.5]))
