"""Falling back to a parent: costs by hand, the threshold against a search over all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_predictions import made

from anmok.core.errors import DataError
from anmok.core.types import Predictions
from anmok.evaluate.answers import answered
from anmok.evaluate.decision import Decision
from anmok.evaluate.fall_back import fall_back_outcome, fit_fall_back
from anmok.evaluate.hierarchy import check_parents, coarse_of, coarse_predictions

PARENTS = {"c0": "dog", "c1": "dog", "c2": "cat", "c3": "cat"}


def four() -> Predictions:
    """Sure and right; unsure between two dogs; unsure between a dog and cats; sure and wrong."""
    probs = np.array([[0.9, 0.1, 0, 0], [0.55, 0.45, 0, 0], [0.4, 0, 0.3, 0.3], [0.1, 0.8, 0.1, 0]], np.float32)
    return Predictions(list("wxyz"), list(PARENTS), probs, np.array([0, 1, 3, 0]), split=["val"] * 4)


def test_costs_by_hand() -> None:
    never = fall_back_outcome(four(), PARENTS, 0.0)
    assert never["cost"]["value"] == never["cost"]["plain"] == pytest.approx((0 + 2 + 4 + 2) / 4)
    assert never["share"]["value"] == 0
    found = fall_back_outcome(four(), PARENTS, 0.6)
    assert found["share"]["value"] == 0.5
    assert found["cost"]["value"] == pytest.approx((0 + 1 + 1 + 2) / 4)
    assert found["cost"]["saved"]["value"] == pytest.approx(1.0)
    assert found["right"]["value"] == 0.75
    assert (found["fine_right"]["value"], found["parent_right"]["value"]) == (0.5, 1.0)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(5, 60), seed=st.integers(0, 999), sharpen=st.floats(0.3, 3))
def test_threshold_is_as_good_as_any(n: int, seed: int, sharpen: float) -> None:
    p = made(n, 4, seed, sharpen)
    below = fit_fall_back(p, PARENTS)
    costs = {t: fall_back_outcome(p, PARENTS, t, resamples=20)["cost"]["value"] for t in [0, below, *p.probs.max(1), 1]}
    chosen, best = costs[below], min(costs.values())
    assert 0 <= below <= 1
    assert chosen - best <= 2 / np.sqrt(n)  # a cost differs by one at most where an answer changes level, or by three
    confident = replace(p, probs=np.eye(4, dtype=np.float32)[p.targets])
    assert fall_back_outcome(confident, PARENTS, fit_fall_back(confident, PARENTS))["cost"]["value"] == 0


def test_of_many_calibrated_images_the_threshold_is_near_one_half() -> None:
    assert fit_fall_back(made(4000, 4), PARENTS) == pytest.approx(0.5, abs=0.02)


def test_the_test_split_is_never_fitted_on() -> None:
    with pytest.raises(DataError, match="test split"):
        fit_fall_back(made(50, 4, split="test"), PARENTS)


def test_answers_fall_back() -> None:
    content = Decision(tuple(PARENTS), "multiclass").to_dict() | {"fall_back": {"parents": PARENTS, "below": 0.6}}
    p = replace(four(), probs=np.vstack([four().probs[:3], np.full((1, 4), np.nan, np.float32)]))
    found = answered(p, content)
    assert found.labels == ["c0", "dog", "cat", ""]
    np.testing.assert_allclose(found.chances, [0.9, 1.0, 0.6, 0], atol=1e-6)  # type: ignore[attr-defined]
    again = Decision.from_dict(content, list(PARENTS), "multiclass")
    assert again.to_dict() == content
    costly = content | {"costs": (1 - np.eye(4)).tolist()}
    assert answered(four(), costly).labels == ["c0", "c0", "c0", "c1"]  # what mistakes cost has been said
    with pytest.raises(DataError, match="damaged"):
        Decision.from_dict(content | {"fall_back": {"parents": {}, "below": 0.5}}, list(PARENTS), "multiclass")


def test_coarse_predictions_sum() -> None:
    coarse = coarse_predictions(four(), PARENTS)
    assert coarse.classes == ["dog", "cat"]
    np.testing.assert_allclose(coarse.probs, [[1, 0], [1, 0], [0.4, 0.6], [0.9, 0.1]], atol=1e-6)
    assert coarse.targets is not None
    assert coarse.targets.tolist() == [0, 0, 1, 0]
    assert coarse_of(list(PARENTS), PARENTS).codes.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("parents", "message"),
    [
        ({"a": "x", "b": "y"}, r"1 classes have no parent: 'c'"),
        ({"a": "x", "b": "y", "c": "x", "cc": "x"}, r"no such class as 'cc'\. Did you mean c"),
        ({"a": "x", "b": "a", "c": "x"}, r"'a' is a class and the parent of 'b'"),
        ({"a": "x", "b": "x", "c": "x"}, r"all classes have the same parent \('x'\)"),
        ({"a": "x", "b": "y", "c": "x", "x": "y", "y": "x"}, r"own ancestor"),
    ],
)
def test_what_is_no_hierarchy_of_these_classes(parents: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_parents(["a", "b", "c"], parents)
