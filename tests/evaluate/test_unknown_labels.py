"""Multi-label scores where some labels are unknown: each label by scikit-learn on the images of which it is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from made_predictions import made_labels

from anmok.core.artifacts import load_predictions, save_predictions
from anmok.core.types import Predictions
from anmok.evaluate.baselines import majority, nearest_neighbour
from anmok.evaluate.costs import error_costs
from anmok.evaluate.decide import fit_decision
from anmok.evaluate.ensemble import fit_ensemble
from anmok.evaluate.metrics import evaluate
from anmok.evaluate.outcome import outcome
from anmok.evaluate.scaling import fit_calibration
from anmok.evaluate.thresholds import fit_threshold


def with_gaps(n: int = 120, k: int = 4, seed: int = 0, share: float = 0.3) -> Predictions:
    """Made predictions, a share of whose labels nobody knows."""
    p = made_labels(n, k, seed, sharpen=2.0)
    rng = np.random.default_rng(seed + 1)
    assert p.targets is not None
    return replace(p, targets=np.where(rng.random((n, k)) < share, np.nan, p.targets).astype(np.float32))


@settings(max_examples=15, deadline=None)
@given(n=st.integers(20, 80), k=st.integers(2, 5), seed=st.integers(0, 999), grouped=st.booleans())
def test_every_label_by_scikit_learn(n: int, k: int, seed: int, grouped: bool) -> None:
    p = with_gaps(n, k, seed)
    assert p.targets is not None
    groups = {i: f"g{j // 3}" for j, i in enumerate(p.ids)} if grouped else None
    got = evaluate(p, "val", resamples=200, groups=groups)
    known = ~np.isnan(p.targets)
    used = known.any(axis=1)
    assert got["n"] == used.sum()
    assert got.data["unknown"] == (~known[used]).sum()
    f1, ap = [], []
    for c, name in enumerate(p.classes):
        own = known[:, c]
        truth, called = p.targets[own, c] > 0.5, p.probs[own, c] >= 0.5
        row = got["per_class"][name]
        tn, fp, fn, tp = sk.confusion_matrix(truth, called, labels=[False, True]).ravel()
        assert (row["tn"], row["fp"], row["fn"], row["tp"]) == (tn, fp, fn, tp)
        if row["f1"]["value"] is not None:
            f1.append(sk.f1_score(truth, called))
            assert row["f1"]["value"] == pytest.approx(f1[-1])
        if row["average_precision"]["value"] is not None:
            ap.append(sk.average_precision_score(truth, p.probs[own, c]))
            assert row["average_precision"]["value"] == pytest.approx(ap[-1])
            assert row["average_precision"]["low"] <= ap[-1] <= row["average_precision"]["high"]
    metrics = got["metrics"]
    if f1:
        assert metrics["macro_f1"]["value"] == pytest.approx(np.mean(f1))
    if ap:
        assert metrics["average_precision"]["value"] == pytest.approx(np.mean(ap))
    wrong = [((row >= 0.5) != (t > 0.5))[m] for row, t, m in zip(p.probs, p.targets, known, strict=True) if m.any()]
    assert metrics["accuracy"]["value"] == pytest.approx(np.mean([not w.any() for w in wrong]))
    assert metrics["hamming_loss"]["value"] == pytest.approx(np.mean([w.mean() for w in wrong]))
    losses = [
        sk.log_loss(t[m], row[m], labels=[0, 1])
        for row, t, m in zip(p.probs.astype(float), p.targets, known, strict=True) if m.any()
    ]  # fmt: skip
    assert metrics["log_loss"]["value"] == pytest.approx(np.mean(losses), rel=1e-5)


def test_what_is_unknown_changes_nothing() -> None:
    p = with_gaps()
    assert p.targets is not None
    other = replace(p, probs=np.where(np.isnan(p.targets), 1 - p.probs, p.probs))
    a, b = evaluate(p, "val"), evaluate(other, "val")
    assert a["metrics"] == b["metrics"]
    assert a["per_class"] == b["per_class"]
    for kind in ("temperature", "vector", "isotonic"):
        fitted = [fit_calibration(x, kind).to_dict() for x in (p, other)]  # type: ignore[arg-type]
        assert fitted[0] == fitted[1]
    costs = error_costs(1, 3)
    assert fit_decision(p, costs=costs) == fit_decision(other, costs=costs)
    for how in ("weighted", "greedy"):
        two = [fit_ensemble({"a": x, "b": made_like(x)}, how) for x in (p, other)]  # type: ignore[arg-type]
        np.testing.assert_allclose(two[0].weights or (), two[1].weights or (), atol=1e-6)
    stacked = fit_ensemble({"a": p, "b": made_like(p)}, "stack")
    assert np.isfinite(np.array(stacked.coefficients)).all()


def made_like(p: Predictions) -> Predictions:
    """A second model of the same images, a little worse."""
    assert p.targets is not None
    noise = np.random.default_rng(5).normal(size=p.probs.shape) * 0.2
    probs = np.clip(p.probs + np.where(np.isnan(p.targets), 0, noise), 0.01, 0.99)
    return replace(p, probs=np.where(np.isnan(p.targets), 0.5, probs).astype(np.float32))


def test_a_threshold_is_that_of_the_known_images() -> None:
    p = with_gaps()
    assert p.targets is not None
    costs = error_costs(1, 5)
    alone = p.select(~np.isnan(p.targets[:, 2]))
    assert fit_threshold(p, "c2", costs) == fit_threshold(alone, "c2", costs)
    found = outcome(fit_decision(p, costs=costs), p, costs={"c2": costs})
    row = found["labels"]["c2"]
    assert sum(row[key] for key in ("tp", "fp", "fn", "tn")) == len(alone)
    spent = row["fp"] + 5 * row["fn"]
    assert found["cost"]["value"] == pytest.approx(spent / found["n"])


def test_saved_and_read_again(tmp_path: Path) -> None:
    p = with_gaps(10, 3)
    assert p.targets is not None
    targets = p.targets.copy()
    targets[4] = np.nan  # unlabelled altogether
    save_predictions(replace(p, targets=targets), tmp_path / "p.parquet")
    np.testing.assert_array_equal(load_predictions(tmp_path / "p.parquet").targets, targets)


def test_baselines_guess_what_is_unknown_by_its_share() -> None:
    targets = np.array([[1, np.nan], [0, 1], [np.nan, 0]], np.float32)
    np.testing.assert_allclose(majority(targets, 1, 2), [[0.5, 0.5]])
    pixels = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1) * 100
    np.testing.assert_allclose(nearest_neighbour(pixels, targets, pixels, 2), [[1, 0.5], [0, 1], [0.5, 0]])
