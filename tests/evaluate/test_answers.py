"""Answers by a decision: the same rows as Decision gives, and no class that is taken for a question."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.core.errors import DataError
from anmok.core.types import Predictions, Task
from anmok.evaluate.answers import ASK, Answers, answered
from anmok.evaluate.decision import PERSON, Decision, free_word


def content(**more: Any) -> dict[str, Any]:
    return {"version": 1, "temperature": 1.0, "thresholds": None, "costs": None, **more}


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_a_class_called_ask_is_no_question(task: Task) -> None:
    probs = np.array([[0.9, 0.05], [0.6, 0.4], [np.nan, np.nan]], np.float32)
    p = Predictions(list("abc"), [ASK, PERSON], probs, task=task, errors={"c": "unreadable"})
    found = answered(p, content(abstain_below=0.7))
    assert isinstance(found, Answers)
    assert found.asked is not None
    assert found.asked.tolist() == [False, True, False]
    labels = [label if isinstance(label, str) else ";".join(label) for label in found.labels]
    assert labels == ["ask", "ask 2", ""]
    said = Decision.from_dict(content(abstain_below=0.7), p.classes, task).apply(probs[:2])
    assert [one if isinstance(one, str) else ";".join(one) for one in said] == ["ask", "ask a person 2"]


@given(st.lists(st.sampled_from(["ask", "Ask", "ask 2", "ASK 3", "ask a person", "cat"]), unique=True))
def test_the_word_is_never_a_class(classes: list[str]) -> None:
    for word in (ASK, PERSON):
        found = free_word(word, classes)
        assert found.startswith(word)
        assert found.casefold() not in {name.casefold() for name in classes}
    assert free_word(ASK, ["cat", "dog"]) == ASK


@given(st.integers(0, 10_000), st.sampled_from(["multiclass", "multilabel"]))
def test_the_rest_is_as_the_decision_says(seed: int, task: Task) -> None:
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(3), 20).astype(np.float32)
    classes = ["x", "y", "z"]
    p = Predictions([str(i) for i in range(20)], classes, probs, task=task)
    rules = content(thresholds={"x": 0.3, "y": 0.6}, abstain_below=0.55)
    decision = Decision.from_dict(rules, classes, task)
    found = answered(p, rules)
    assert isinstance(found, Answers)
    expected: list[Any] = [ASK if one == PERSON else [ASK] if one == [PERSON] else one for one in decision.apply(probs)]
    assert found.labels == expected
    assert found.asked is not None
    np.testing.assert_array_equal(found.asked, decision.asks(probs))
    some = found.select(np.array([3, 1]))
    assert some.labels == [expected[3], expected[1]]
    assert some.asked is not None
    assert some.asked.tolist() == found.asked[[3, 1]].tolist()


def test_it_prints_the_probability_of_the_answer() -> None:
    p = Predictions(["a"], ["no", "yes"], np.array([[0.7, 0.3]], np.float32), task="binary")
    text = repr(answered(p, content(thresholds={"yes": 0.2})))
    assert "a: yes (0.300)" in text


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_a_temperature_that_is_none(temperature: float) -> None:
    with pytest.raises(DataError, match="temperature must be above 0") as caught:
        Decision.from_dict(content() | {"temperature": temperature}, ["a", "b"], "binary")
    assert caught.value.code == "damaged"
