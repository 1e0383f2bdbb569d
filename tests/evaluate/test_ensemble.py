"""Ensembles: closed forms, convex optima against scipy, and what cannot be combined."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_predictions import made, made_labels
from scipy.optimize import minimize
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression

from anmok.core.errors import DataError, UsageError
from anmok.core.types import Predictions
from anmok.evaluate.blend import fit_weights, greedy_counts, mean_log_loss, mean_probs, stack_features, vote_probs
from anmok.evaluate.diversity import additions, diversity
from anmok.evaluate.ensemble import FITTED, WAYS, Ensemble, fit_ensemble


def members(n: int = 400, seed: int = 0, split: str | None = "val") -> dict[str, Predictions]:
    """A good one, the same with noise of its own twice, and one that knows nothing."""
    rng = np.random.default_rng(seed + 1)
    base = made(n, seed=seed, split=split)
    noisy = [
        (0.6 * base.probs + 0.4 * rng.dirichlet(np.ones(3) * 0.5, n)).astype(np.float32) for _ in range(2)
    ]  # fmt: skip
    rest = rng.dirichlet(np.ones(3), n).astype(np.float32)
    return {"good": base} | {
        name: replace(base, probs=p) for name, p in (("x", noisy[0]), ("y", noisy[1]), ("poor", rest))
    }


def test_soft_and_hard_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 3)), rng.integers(0, 3, 80)
    models = [LogisticRegression(C=c).fit(x, y) for c in (0.01, 1, 100)]
    probs = [m.predict_proba(x) for m in models]
    for voting in ("soft", "hard"):
        vote = VotingClassifier([(str(i), m) for i, m in enumerate(models)], voting=voting)
        vote.estimators_, vote.classes_ = models, np.arange(3)
        if voting == "soft":
            np.testing.assert_allclose(mean_probs(probs), vote.predict_proba(x), atol=1e-6)
        counts = np.stack([np.bincount([p[i].argmax() for p in probs], minlength=3) for i in range(80)])
        clear = np.sort(counts, axis=1)[:, -1] > np.sort(counts, axis=1)[:, -2]
        got = vote_probs(probs, "multiclass")
        np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-6)
        assert (got.argmax(axis=1) == counts.argmax(axis=1))[clear].all()


def test_a_tied_vote_goes_to_the_surer() -> None:
    probs = [np.array([[0.6, 0.4, 0.0]]), np.array([[0.1, 0.9, 0.0]])]
    assert vote_probs(probs, "multiclass").argmax() == 1
    labels = [np.array([[0.9, 0.2]]), np.array([[0.4, 0.6]]), np.array([[0.5, 0.7]])]
    np.testing.assert_allclose(vote_probs(labels, "multilabel"), [[2 / 3, 2 / 3]])


@settings(max_examples=15, deadline=None)
@given(n=st.integers(5, 80), m=st.integers(2, 4), seed=st.integers(0, 999))
def test_weights_are_the_convex_optimum(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    probs, targets = [rng.dirichlet(np.ones(3), n) for _ in range(m)], rng.integers(0, 3, n)
    w = fit_weights(probs, targets)
    assert w.sum() == pytest.approx(1)
    assert (w >= 0).all()
    chosen = np.stack([p[np.arange(n), targets] for p in probs], axis=1)
    found = minimize(
        lambda v: -np.log(np.maximum(chosen @ v, 1e-300)).mean(), np.full(m, 1 / m), method="SLSQP",
        bounds=[(0, 1)] * m, constraints={"type": "eq", "fun": lambda v: v.sum() - 1}, options={"ftol": 1e-12},
    )  # fmt: skip
    assert -np.log(chosen @ w).mean() <= found.fun + 1e-6


def test_weights_pass_over_who_knows_nothing() -> None:
    got = fit_ensemble(members(), "weighted")
    assert got.weights is not None
    assert got.weights[0] > 0.5
    assert got.weights[3] < 0.06


@settings(max_examples=10, deadline=None)
@given(n=st.integers(5, 60), seed=st.integers(0, 999))
def test_greedy_selection_by_hand(n: int, seed: int) -> None:
    """Each round's member, found again by trying all; never worse than the best alone."""
    rng = np.random.default_rng(seed)
    probs, targets = [rng.dirichlet(np.ones(3), n) for _ in range(3)], rng.integers(0, 3, n)
    counts = greedy_counts(probs, targets, 6)
    total, best = [], (np.inf, [])
    for _ in range(6):
        tried = [mean_log_loss(np.mean([probs[i] for i in [*total, m]], axis=0), targets) for m in range(3)]
        total.append(int(np.argmin(tried)))
        if min(tried) < best[0] - 1e-12:
            best = (min(tried), list(total))
    assert counts.tolist() == np.bincount(best[1], minlength=3).tolist()
    mixed = mean_probs(probs, counts / counts.sum())
    assert mean_log_loss(mixed, targets) <= min(mean_log_loss(p, targets) for p in probs) + 1e-6


def test_stacking_mends_what_a_mean_cannot() -> None:
    """A member whose classes are turned round is of use to a model on top."""
    models = members(1500)
    models["turned"] = replace(models["good"], probs=np.roll(models["good"].probs, 1, axis=1))
    del models["good"]
    fresh = members(1500, seed=50, split="test")
    fresh["turned"] = replace(fresh["good"], probs=np.roll(fresh["good"].probs, 1, axis=1))
    loss = {}
    for how in ("soft", "stack"):
        p = fit_ensemble(models, how).predict(fresh)
        np.testing.assert_allclose(p.probs.sum(axis=1), 1, atol=1e-5)
        loss[how] = mean_log_loss(p.probs, p.targets)
    good = mean_log_loss(fresh["good"].probs, fresh["good"].targets)
    assert loss["stack"] < loss["soft"] - 0.05
    assert loss["stack"] < good + 0.03


def test_stacking_is_a_logistic_regression_on_the_logits() -> None:
    models = members(300)
    own = fit_ensemble(models, "stack")
    probs = [p.probs for p in models.values()]
    features = stack_features(probs, "multiclass")
    want = LogisticRegression(C=0.1, max_iter=1000).fit(features, models["good"].targets).predict_proba(features)
    np.testing.assert_allclose(own.combine(probs), want, atol=1e-6)


def test_stacking_with_classes_missing() -> None:
    for present in ([0, 2], [1]):
        models = members(200)
        keep = np.isin(models["good"].targets, present)
        some = {name: p.select(keep) for name, p in models.items()}
        got = fit_ensemble(some, "stack").predict(some)
        assert set(got.probs.argmax(axis=1)) <= set(present)
        assert np.isfinite(got.probs).all()


@pytest.mark.parametrize("how", WAYS)
def test_multilabel_and_saving(how: str) -> None:
    models = {"a": made_labels(300, 2), "b": made_labels(300, 2, sharpen=3.0)}
    own = fit_ensemble(models, how)  # type: ignore[arg-type]
    again = Ensemble.from_dict(json.loads(json.dumps(own.to_dict())))
    assert again == own
    p = again.predict(models)
    assert p.task == "multilabel"
    assert ((p.probs >= 0) & (p.probs <= 1)).all()
    if how in FITTED:
        best = min(mean_log_loss(m.probs, m.targets > 0.5) for m in models.values())
        assert mean_log_loss(p.probs, p.targets > 0.5) < best + 0.03


def test_rows_by_id_and_unreadable_images() -> None:
    models = members(30)
    models["x"] = models["x"].select(np.random.default_rng(0).permutation(30))
    row = models["x"].ids.index("i4")
    models["x"].probs[row] = np.nan
    models["x"].errors["i4"] = "truncated"
    own = fit_ensemble(models, "soft")
    p = own.predict(models)
    assert p.ids == models["good"].ids
    assert np.isnan(p.probs[4]).all()
    assert p.errors == {"i4": "truncated"}
    assert not np.isnan(np.delete(p.probs, 4, axis=0)).any()
    assert fit_ensemble(models, "weighted").weights is not None


def test_diversity_by_hand() -> None:
    targets = np.array([0, 0, 0, 0, 1, 1])
    one = Predictions([*"uvwxyz"], ["p", "q"], np.eye(2, dtype=np.float32)[[0, 0, 0, 1, 1, 0]], targets, "binary")
    two = replace(one, probs=np.eye(2, dtype=np.float32)[[0, 1, 0, 1, 1, 1]])
    (pair,) = diversity({"one": one, "two": two})  # wrong: one on x and z, two on v and x
    assert (pair["a"], pair["b"]) == ("one", "two")
    assert pair["disagreement"] == pytest.approx(2 / 6)
    assert pair["both_wrong"] == pytest.approx(1 / 6)
    assert pair["error_correlation"] == pytest.approx(np.corrcoef([0, 0, 0, 1, 0, 1], [0, 1, 0, 1, 0, 0])[0, 1])
    assert pair["q"] == pytest.approx((1 * 3 - 1 * 1) / (1 * 3 + 1 * 1))
    (never,) = diversity({"one": one, "right": replace(one, probs=np.eye(2, dtype=np.float32)[targets])})
    assert never["error_correlation"] is None
    assert never["q"] is None


def test_what_each_member_adds() -> None:
    found = additions(members(1000))
    assert found[0]["member"] == "good"
    assert found[0]["log_loss"]["low"] > 0
    assert found[-1]["member"] == "poor"
    assert found[-1]["log_loss"]["high"] < 0
    assert additions({"only": made(10)}) == []


def test_what_cannot_be_combined() -> None:
    models = members(20)
    with pytest.raises(UsageError, match=r"no such way as sof\. Did you mean soft"):
        fit_ensemble(models, "sof")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no predictions given"):
        fit_ensemble({})
    for how in ("weighted", "greedy", "stack"):
        with pytest.raises(DataError, match="test split") as e:
            fit_ensemble(members(20, split="test"), how)  # type: ignore[arg-type]
        assert e.value.code == "test-split"
    fit_ensemble(members(20, split="test"), "soft")  # nothing is fitted
    own = fit_ensemble(models)
    with pytest.raises(UsageError, match="no predictions of the member poor"):
        own.predict({name: p for name, p in models.items() if name != "poor"})
    with pytest.raises(DataError, match="not the ensemble's"):
        own.predict({name: replace(p, classes=["k", "l", "m"]) for name, p in models.items()})
    with pytest.raises(DataError, match="ids do not match"):
        own.predict(models | {"x": made(21)})
    for content in ({}, own.to_dict() | {"how": "weighted", "weights": [1.0]}, own.to_dict() | {"how": "luck"}):
        with pytest.raises(DataError) as damaged:
            Ensemble.from_dict(content)
        assert damaged.value.code == "damaged"
