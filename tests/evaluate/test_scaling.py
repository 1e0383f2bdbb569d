"""Calibration: parameters that are known, invariances, folding into a head, and the choice among kinds."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_predictions import made, made_labels, softmax
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from anmok.core.errors import DataError
from anmok.evaluate.calibrate import Calibration, logits_of, probs_of
from anmok.evaluate.calibration import log_losses
from anmok.evaluate.reliability import binned_error
from anmok.evaluate.scaling import choose_calibration, fit_calibration


@pytest.mark.parametrize("make", [made, made_labels])
def test_the_temperature_that_was_put_in_comes_out(make: object) -> None:
    p = make(6000, sharpen=2.5)  # type: ignore[operator]
    got = fit_calibration(p, "temperature")
    assert got.temperature == pytest.approx(2.5, rel=0.06)
    truth = p.targets if p.task != "multilabel" else p.targets > 0.5
    best = log_losses(got.apply(p.probs), truth).mean()
    for other in (0.95, 1.05):
        worse = replace(got, temperature=got.temperature * other)
        assert log_losses(worse.apply(p.probs), truth).mean() > best
    assert binned_error(got.apply(p.probs), truth) < binned_error(p.probs, truth) / 2


def test_platt_scaling_is_logistic_regression() -> None:
    p = made_labels(2000, 1, sharpen=3.0)
    got = fit_calibration(p, "vector")
    x = logit(p.probs.astype(np.float64))
    model = LogisticRegression(C=1e9, tol=1e-8).fit(x, p.targets[:, 0])
    assert got.weight[0] == pytest.approx(model.coef_[0, 0], rel=0.02)  # ours is pulled by one image's worth
    assert got.bias[0] == pytest.approx(model.intercept_[0], abs=0.02)


def test_vector_scaling_undoes_a_scale_and_a_shift_of_each_class() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(8000, 3)) * 2
    z -= z.mean(axis=1, keepdims=True)
    scale, shift = np.array([0.5, 0.8, 1.2]), np.array([0.6, -0.2, -0.4])
    targets = (softmax(z * scale + shift).cumsum(axis=1) < rng.random(8000)[:, None]).sum(axis=1)
    p = replace(made(8000), probs=softmax(z).astype(np.float32), targets=targets)
    got = fit_calibration(p, "vector")
    np.testing.assert_allclose(got.weight, scale, atol=0.12)
    np.testing.assert_allclose(np.array(got.bias) - np.mean(got.bias), shift, atol=0.12)
    np.testing.assert_allclose(got.apply(p.probs), softmax(z * scale + shift), atol=0.04)


@settings(max_examples=25, deadline=None)
@given(kind=st.sampled_from(["temperature", "vector"]), outputs=st.sampled_from([1, 2, 4, -3]), seed=st.integers(0, 99))
def test_a_folded_head_gives_the_calibrated_probabilities(kind: str, outputs: int, seed: int) -> None:
    """outputs: 1 and 2 of a binary task, 4 of a multi-class, -3 of a multi-label one."""
    rng = np.random.default_rng(seed)
    o, task = abs(outputs), "multilabel" if outputs < 0 else "multiclass" if outputs > 2 else "binary"
    k = max(2, o)
    x, w, b = rng.normal(size=(20, 5)), rng.normal(size=(o, 5)), rng.normal(size=o)
    own = (
        Calibration("temperature", task, 1.7) if kind == "temperature"
        else Calibration("vector", task, weight=tuple(rng.uniform(0.5, 2, k)), bias=tuple(rng.normal(size=k)))
    )  # fmt: skip

    def probs(weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        z = x @ weight.T + bias
        z = np.hstack([np.zeros((20, 1)), z]) if o == 1 else z
        return expit(z) if outputs < 0 else softmax(z)

    np.testing.assert_allclose(probs(*own.fold(w, b)), own.apply(probs(w, b).astype(np.float32)), atol=2e-6)


def test_isotonic_of_a_binary_task_is_scikit_learns() -> None:
    p = made(500, 2, sharpen=3.0)
    got = fit_calibration(p, "isotonic")
    x, y = p.probs[:, 1].astype(np.float64), p.targets
    want = IsotonicRegression(y_min=0.5 / 501, y_max=1 - 0.5 / 501, out_of_bounds="clip").fit(x, y).predict(x)
    np.testing.assert_allclose(got.apply(p.probs)[:, 1], want, atol=1e-6)
    assert (got.apply(p.probs) > 0).all()
    with pytest.raises(DataError, match="no head carries it"):
        got.fold(np.ones((2, 3)), np.ones(2))
    three = fit_calibration(made(500), "isotonic").apply(made(100, seed=1).probs)
    np.testing.assert_allclose(three.sum(axis=1), 1, atol=1e-6)


def test_logits_up_to_a_constant() -> None:
    p = made(30)
    np.testing.assert_allclose(probs_of(logits_of(p.probs, "multiclass"), "multiclass"), p.probs, atol=1e-7)
    certain = np.array([[1.0, 0.0]], np.float32)
    assert np.isfinite(logits_of(certain, "binary")).all()
    assert np.isfinite(logits_of(certain, "multilabel")).all()


def test_the_choice() -> None:
    """Nothing to mend: none. A temperature was put in: that one, not a richer one. Few images: none, saying so."""
    assert choose_calibration(made(1500)).calibration.kind == "none"
    sharp = choose_calibration(made(1500, sharpen=2.5))
    assert sharp.calibration.kind == "temperature"
    assert sharp.losses["temperature"] < sharp.losses["none"]
    assert sharp.losses.keys() == {"none", "temperature", "vector", "isotonic"}
    few = choose_calibration(made(9))
    assert few.calibration.kind == "none"
    assert "9 labelled images are too few" in few.reason
    ten = choose_calibration(made(10, sharpen=8.0), ("none", "temperature"))
    assert ten.losses.keys() == {"none", "temperature"}


def test_a_curve_that_no_scaling_has_is_isotonic() -> None:
    rng = np.random.default_rng(0)
    score = rng.random(4000)
    truth = rng.random(4000) < np.where(score < 0.5, 0.1, np.where(score < 0.9, 0.5, 0.95))
    p = replace(made(4000, 2), probs=np.column_stack([1 - score, score]).astype(np.float32), targets=truth.astype(int))
    assert choose_calibration(p).calibration.kind == "isotonic"


@pytest.mark.parametrize("kind", ["none", "temperature", "vector", "isotonic"])
def test_saved_and_read_again(kind: str) -> None:
    p = made(100)
    own = fit_calibration(p, kind)  # type: ignore[arg-type]
    again = Calibration.from_dict(json.loads(json.dumps(own.to_dict())))
    assert again == own
    p.probs[3] = np.nan
    got = again.apply(p.probs)
    assert got.dtype == np.float32
    assert np.isnan(got[3]).all()
    assert not np.isnan(np.delete(got, 3, axis=0)).any()


@pytest.mark.parametrize("content", [{}, {"kind": "vector", "task": "binary", "temperature": 1}, 3,
                                     {"kind": "temperature", "task": "binary", "temperature": 0}])  # fmt: skip
def test_damaged(content: object) -> None:
    with pytest.raises(DataError, match="calibration"):
        Calibration.from_dict(content)  # type: ignore[arg-type]


def test_the_test_split_is_refused() -> None:
    p = made(50, split="test")
    for fit in (lambda: fit_calibration(p, "temperature"), lambda: choose_calibration(p)):
        with pytest.raises(
            DataError, match="50 of 50 rows are of the test split, on which a calibration must not"
        ) as e:
            fit()
        assert e.value.code == "test-split"
