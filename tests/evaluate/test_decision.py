"""Decisions: what they answer, by hand; how they are saved; what they do not accept."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.core.errors import DataError, UsageError
from anmok.deploy.bundle import default_decision
from anmok.evaluate.calibrate import Calibration
from anmok.evaluate.decide import plain_decision
from anmok.evaluate.decision import PERSON, Decision, Prior

ABC = ("a", "b", "c")


def test_binary_threshold() -> None:
    own = Decision(("guest", "thief"), "binary", thresholds={"thief": 0.1})
    probs = np.array([[0.95, 0.05], [0.9, 0.1], [0.2, 0.8]])
    assert own.apply(probs) == ["guest", "thief", "thief"]
    first = Decision(("thief", "guest"), "binary", thresholds={"thief": 0.1})
    assert first.apply(probs[:, ::-1]) == ["guest", "thief", "thief"]


def test_multilabel_thresholds() -> None:
    own = Decision(ABC, "multilabel", thresholds={"a": 0.9, "b": 0.2})
    assert own.apply(np.array([[0.8, 0.3, 0.5], [0.95, 0.1, 0.4]])) == [["b", "c"], ["a"]]


def test_multiclass_threshold_of_one_class() -> None:
    """b is called from 0.2 on, and not below though it were the most probable."""
    probs = np.array([[0.7, 0.25, 0.05], [0.75, 0.15, 0.1]])
    assert Decision(ABC, "multiclass", thresholds={"b": 0.2}).apply(probs) == ["b", "a"]
    assert Decision(ABC, "multiclass", thresholds={"a": 0.8}).apply(probs) == ["b", "b"]


def test_costs_decide() -> None:
    costs = ((0, 1, 1), (9, 0, 9), (1, 1, 0))
    own = Decision(ABC, "multiclass", costs=costs)
    probs = np.array([[0.7, 0.25, 0.05], [0.9, 0.05, 0.05]])
    assert own.apply(probs) == ["b", "a"]


def test_prior_and_calibration_come_first() -> None:
    prior = Prior((0.5, 0.5), (0.9, 0.1))
    own = Decision(("a", "b"), "binary", prior=prior)
    probs = np.array([[0.2, 0.8], [0.05, 0.95]])
    assert own.apply(probs) == ["a", "b"]  # 0.8 · 0.2 against 0.2 · 1.8
    curve = Calibration("isotonic", "binary", knots=(((0.0, 1.0), (0.0, 0.5)),))
    assert replace(own, calibration=curve).apply(probs) == ["a", "a"]


def test_a_person_is_asked() -> None:
    probs = np.array([[0.5, 0.3, 0.2], [0.9, 0.05, 0.05], [np.nan] * 3])
    own = Decision(ABC, "multiclass", abstain_below=0.6)
    assert own.apply(probs) == [PERSON, "a", PERSON]
    assert own.decide(probs).tolist() == [0, 0, -1]
    labels = Decision(ABC, "multilabel", abstain_below=0.3)
    assert labels.apply(np.array([[0.55, 0.9, 0.1], [0.99, 0.95, 0.01]])) == [[PERSON], ["a", "b"]]


@settings(max_examples=40, deadline=None)
@given(task=st.sampled_from(["binary", "multiclass", "multilabel"]), t=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_saved_and_read_again(task: str, t: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = ("a", "b") if task == "binary" else ABC
    k = len(classes)
    own = Decision(
        classes, task, 1.3, {"b": t}, calibration=Calibration("temperature", task, 0.7),  # type: ignore[arg-type]
        prior=Prior((1 / k,) * k, (0.5 / (k - 1),) * (k - 1) + (0.5,)), abstain_below=0.2, text=("Of 100 alarms …",),
        promises={"b": {"threshold": t, "reason": "precision", "needed": None}},
    )  # fmt: skip
    again = Decision.from_dict(json.loads(json.dumps(own.to_dict())), classes, task)  # type: ignore[arg-type]
    assert again == own
    probs = rng.dirichlet(np.ones(k), 6)
    assert again.apply(probs) == own.apply(probs)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_what_folders_have_today(task: str) -> None:
    classes = ["a", "b"] if task == "binary" else list(ABC)
    content = default_decision(classes, task)  # type: ignore[arg-type]
    own = Decision.from_dict(content, classes, task)  # type: ignore[arg-type]
    assert own == plain_decision(classes, task)  # type: ignore[arg-type]
    assert {k: own.to_dict()[k] for k in content} == content


def test_what_is_refused() -> None:
    with pytest.raises(DataError, match="version"):
        Decision.from_dict({"version": 2}, ABC, "multiclass")
    with pytest.raises(DataError, match="other classes") as e:
        Decision.from_dict({"version": 1, "classes": ["a", "c", "b"]}, ABC, "multiclass")
    assert e.value.code == "class-map"
    with pytest.raises(DataError, match="damaged"):
        Decision.from_dict({"version": 1, "thresholds": {"a": "x"}}, ABC, "multiclass")
    with pytest.raises(DataError, match="no such class as d"):
        Decision(ABC, "multiclass", thresholds={"d": 0.5})
    with pytest.raises(UsageError, match="3 × 3"):
        Decision(ABC, "multiclass", costs=((0.0, 1.0), (1.0, 0.0)))
    with pytest.raises(DataError, match=r"shape \(1, 2\), the decision is for 3 classes"):
        Decision(ABC, "multiclass").apply(np.array([[0.5, 0.5]]))
