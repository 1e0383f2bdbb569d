"""Paired comparisons: exact tests by hand, coverage and size by simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_predictions import made, made_labels
from scipy.stats import binom

from anmok.core.errors import DataError
from anmok.evaluate.metrics import evaluate
from anmok.evaluate.paired import compare, compare_all, holm, mcnemar


def test_mcnemar_by_hand() -> None:
    """One image that a alone gets right, five that b alone does: 2 · (1 + 6) / 2⁶."""
    a = np.array([1, 0, 0, 0, 0, 0, 1, 1, 0], bool)
    b = np.array([0, 1, 1, 1, 1, 1, 1, 1, 0], bool)
    assert mcnemar(a, b) == {"only_a": 1, "only_b": 5, "p_value": pytest.approx(2 * 7 / 64)}
    assert mcnemar(a, a)["p_value"] == 1.0


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]).tolist() == [1.0, 1.0]
    assert len(holm([])) == 0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_each_and_bonferroni(p: list[float]) -> None:
    adjusted = holm(p)
    assert (adjusted >= np.array(p)).all()
    assert (adjusted <= np.minimum(1, np.array(p) * len(p)) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


def test_values_are_those_of_each_model() -> None:
    a, b = made(300, seed=1), made(300, seed=1, sharpen=0.3)
    noise = np.random.default_rng(2).dirichlet(np.ones(3), 300).astype(np.float32)
    b = replace(b, probs=(0.6 * b.probs + 0.4 * noise))
    shuffled = b.select(np.random.default_rng(0).permutation(300))  # joined by id
    got = compare(a, shuffled, "val")
    assert got["n"] == 300
    for name, m in got["metrics"].items():
        assert m["a"] == pytest.approx(evaluate(a, "val").value(name), abs=1e-12), name
        assert m["b"] == pytest.approx(evaluate(b, "val").value(name), abs=1e-12), name
        assert m["low"] <= m["value"] <= m["high"], name
        assert m["value"] == pytest.approx(m["b"] - m["a"], abs=1e-12), name
    assert got["metrics"]["log_loss"]["p_value"] < 0.01


def test_equal_models_differ_by_chance_only() -> None:
    """Two models equally good: the paired interval of the accuracy holds 0 about 95 times of 100."""
    held, small = 0, 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        a = made(150, seed=seed)
        called = [np.where(rng.random(150) < 0.75, a.targets, (a.targets + 1) % 3) for _ in range(2)]
        one, other = (replace(a, probs=np.eye(3, dtype=np.float32)[c] * 0.9 + np.float32(0.1 / 3)) for c in called)
        got = compare(one, other, resamples=300)
        held += got["metrics"]["accuracy"]["low"] <= 0 <= got["metrics"]["accuracy"]["high"]
        small += got["mcnemar"]["p_value"] < 0.05
    assert 108 <= held <= 119
    assert small <= 11


def test_the_same_model_twice() -> None:
    a = made(50)
    got = compare(a, a)
    assert all(m["value"] == 0 and m["p_value"] == 1 for m in got["metrics"].values())


def test_several_models_and_groups() -> None:
    a = made(90)
    models = {"a": a, "b": made(90, sharpen=3.0), "c": replace(a, probs=np.full((90, 3), 1 / 3, np.float32))}
    found = compare_all(models)
    assert [(row["a"], row["b"]) for row in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    raw = [row["mcnemar"]["p_value"] for row in found]
    np.testing.assert_allclose([row["mcnemar"]["p_holm"] for row in found], holm(raw))
    assert found[1]["metrics"]["accuracy"]["p_holm"] >= found[1]["metrics"]["accuracy"]["p_value"]
    grouped = compare(a, models["c"], groups={i: str(n // 10) for n, i in enumerate(a.ids)})
    assert grouped["mcnemar"]["value"] is None
    assert "groups" in grouped["mcnemar"]["reason"]
    labels = compare(made_labels(60), made_labels(60, sharpen=0.2))
    assert labels["metrics"].keys() == {"accuracy", "log_loss", "brier"}
    assert labels["metrics"]["log_loss"]["value"] > 0


def test_large_p_is_binomial() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(500) < 0.6, rng.random(500) < 0.7
    got = mcnemar(a, b)
    n, x = got["only_a"] + got["only_b"], min(got["only_a"], got["only_b"])
    assert got["p_value"] == pytest.approx(2 * binom.cdf(x, n, 0.5), rel=1e-9)


def test_what_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="ids do not match: number 2 lacks 1 of the first's, such as 'i9'"):
        compare(made(10), made(9))
    with pytest.raises(DataError, match="the order differs"):
        compare(made(10), replace(made(10), classes=["c1", "c0", "c2"]))
