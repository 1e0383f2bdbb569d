"""Fitting decisions and what they then do to images that were not fitted on."""

from __future__ import annotations

import numpy as np
import pytest
from made_predictions import made, made_labels

from anmok.core.errors import DataError, UsageError
from anmok.core.types import Predictions
from anmok.evaluate.costs import ErrorCosts, matrix_of
from anmok.evaluate.decide import fit_decision, plain_decision
from anmok.evaluate.decision import Decision, Prior
from anmok.evaluate.outcome import outcome
from anmok.evaluate.scaling import fit_calibration


def test_costs_of_a_binary_task_save_on_the_test_split() -> None:
    costs = {"c1": ErrorCosts(1, 20)}
    own = fit_decision(made(500, 2), costs=costs)
    got = outcome(own, made(2000, 2, seed=5, split="test"), "test", costs=costs)
    row = got["labels"]["c1"]
    assert row["tp"] + row["fp"] + row["fn"] + row["tn"] == 2000
    assert got["cost"]["value"] == pytest.approx((row["fp"] + 20 * row["fn"]) / 2000)
    assert got["cost"]["saved"]["low"] > 0
    assert got["cost"]["plain"] - got["cost"]["value"] == pytest.approx(got["cost"]["saved"]["value"])
    assert "more by more than chance explains" in " ".join(got["text"])


def test_the_sentences_by_hand() -> None:
    """Twenty alarms, two of them false; of 19 thieves one passes: 10 of 100 alarms, 5.3 of 100 thieves."""
    targets = np.r_[np.ones(18, int), np.zeros(2, int), [1], np.zeros(79, int)]
    second = np.r_[np.full(20, 0.9), np.full(80, 0.1)]
    probs = np.column_stack([1 - second, second]).astype(np.float32)
    p = Predictions([str(i) for i in range(100)], ["guest", "thief"], probs, targets, "binary")
    own = Decision(("guest", "thief"), "binary", thresholds={"thief": 0.5})
    got = outcome(own, p, costs={"thief": ErrorCosts(1, 50)})
    assert got["text"] == [
        "Of 100 alarms for thief, 10 would be false; of 100 images of thief, 5.3 would pass unnoticed.",
        "100 images would cost 52; with a threshold of 0.5 they would cost 52; so few images cannot tell which is "
        "cheaper.",
    ]
    assert got["labels"]["thief"]["false_alarms"]["value"] == 2 / 81
    never = outcome(Decision(("guest", "thief"), "binary", thresholds={"thief": 2.0}), p)
    assert never["text"][0].startswith("There would be no alarm for thief")
    assert never["cost"] == {"value": None, "reason": "no costs are named"}


def test_a_matrix_decides_and_is_reported() -> None:
    matrix = np.array([[0, 1, 1], [10, 0, 10], [1, 1, 0]], float)
    own = fit_decision(made(300), costs=matrix)
    got = outcome(own, made(1500, seed=3))
    assert own.costs == tuple(map(tuple, matrix))
    assert got["cost"]["saved"]["low"] > 0
    assert len(got["text"]) == 4


def test_labels_each_with_their_costs() -> None:
    costs = {"c0": ErrorCosts(1, 9), "c2": ErrorCosts(9, 1)}
    own = fit_decision(made_labels(3000), costs=costs)
    assert own.thresholds is not None
    assert own.thresholds["c0"] == pytest.approx(0.1, abs=0.05)
    assert own.thresholds["c1"] == pytest.approx(0.5, abs=0.1)
    assert own.thresholds["c2"] == pytest.approx(0.9, abs=0.05)
    got = outcome(own, made_labels(800, seed=2), costs=costs)
    assert got["cost"]["saved"]["low"] > 0
    assert got["labels"].keys() == {"c0", "c1", "c2"}


def test_a_promise_and_how_many_images_it_would_need() -> None:
    own = fit_decision(made(4000, 2, sharpen=1.0), precision=0.8)
    assert own.promises is not None
    fresh = outcome(own, made(20_000, 2, seed=7))
    assert fresh["labels"]["c1"]["precision"]["value"] >= 0.79
    few = fit_decision(made(20, 2), precision=0.95)
    assert few.thresholds == {"c1": 2.0}
    assert "alarms, all right, are needed" in few.promises["c1"]["reason"]
    assert outcome(few, made(50, 2))["labels"]["c1"]["precision"]["value"] is None
    assert fit_decision(made(20, 2), recall=0.99).thresholds == {"c1": 0.0}


def test_prevalence_raises_the_bar() -> None:
    p, costs = made(4000, 2), ErrorCosts(1, 5)
    here, rare = fit_decision(p, costs=costs), fit_decision(p, costs=costs, prevalence={"c1": 0.01})
    assert rare.prior is not None
    assert rare.prior.target == pytest.approx((0.99, 0.01))
    alarms = [(d.decide(p.probs) == 1).mean() for d in (here, rare)]
    assert alarms[1] < alarms[0] / 2
    assert rare.thresholds["c1"] == pytest.approx(1 / 6, rel=0.6)
    labels = fit_decision(made_labels(4000), costs=costs, prevalence={"c0": 0.01})
    plain, fresh = fit_decision(made_labels(4000), costs=costs), made_labels(1000, seed=1)
    alarms = [d.decide(fresh.probs)[:, 0].mean() for d in (plain, labels)]
    assert alarms[1] < alarms[0] / 2


def test_what_is_said_is_said_of_where_the_model_is_used() -> None:
    """90 of 100 positives and 10 of 100 negatives give alarms; at a prevalence of 1 % one alarm in twelve is right."""
    targets = np.repeat([0, 1], 100)
    second = np.where(np.arange(200) % 10 == 0, 1 - targets, targets) * 0.98 + 0.01
    p = Predictions(
        [str(i) for i in range(200)], ["guest", "thief"], np.column_stack([1 - second, second]).astype(np.float32),
        targets, "binary",
    )  # fmt: skip
    own = Decision(("guest", "thief"), "binary", thresholds={"thief": 0.3}, prior=Prior((0.5, 0.5), (0.99, 0.01)))
    got = outcome(own, p, costs={"thief": ErrorCosts(1, 50)})
    row = got["labels"]["thief"]
    assert row["precision"]["value"] == 0.9
    assert row["precision_there"]["value"] == pytest.approx(0.01 * 0.9 / (0.01 * 0.9 + 0.99 * 0.1))
    assert row["precision_there"]["low"] < 0.08 < row["precision_there"]["high"]
    assert got["cost"]["value"] == pytest.approx(0.99 * 0.1 + 0.01 * 0.1 * 50)
    assert got["text"][0].startswith("Where 1 of 100 images are thief, of 100 alarms for thief, 92 would be false")


def test_the_least_certain_are_asked() -> None:
    p = made(1000, 2)
    own = fit_decision(p, costs=ErrorCosts(1, 20), abstain=0.05)
    assert own.asks(p.probs).mean() == pytest.approx(0.05, abs=1e-9)
    asked = p.probs[own.asks(p.probs), 1]
    assert own.thresholds is not None
    assert abs(np.median(asked) - own.thresholds["c1"]) < 0.05  # about the threshold, not about one half
    got = outcome(own, made(1000, 2, seed=1))
    assert got["asked"]["low"] < 0.05 < got["asked"]["high"]
    assert "left to a person" in got["text"][-1]
    by_costs = fit_decision(p, costs=matrix_of(ErrorCosts(1, 20)), abstain=0.1)
    assert by_costs.asks(p.probs).mean() == pytest.approx(0.1, abs=1e-9)


def test_isotonic_probabilities_are_decided_by() -> None:
    p = made(3000, 2, sharpen=3.0)
    curve = fit_calibration(p, "isotonic")
    own = fit_decision(p, costs=ErrorCosts(1, 3), calibration=curve)
    assert own.thresholds["c1"] == pytest.approx(0.25, abs=0.08)
    assert own.calibration == curve


def test_groups_widen_what_is_said() -> None:
    p = made(400, 2)
    own = plain_decision(["c0", "c1"], "binary")
    index = np.repeat(np.arange(400), 5)
    copies = Predictions(
        [f"{i}-{n}" for n, i in enumerate(index)], p.classes, p.probs[index], p.targets[index], "binary"
    )
    groups = {i: i.split("-")[0] for i in copies.ids}
    once, grouped = outcome(own, p), outcome(own, copies, groups=groups)
    for name in ("precision", "recall", "false_alarms"):
        a, b = once["labels"]["c1"][name], grouped["labels"]["c1"][name]
        assert b["value"] == pytest.approx(a["value"])
        assert b["low"] == pytest.approx(a["low"], abs=0.01)


def test_what_cannot_be_decided() -> None:
    p = made(50)
    for wrong, message in (
        ({"costs": ErrorCosts(1, 2)}, "of which class are alarms meant"),
        ({"costs": ErrorCosts(1, 2), "recall": 0.9}, "cannot both set a threshold"),
        ({"precision": 0.9, "positive": "c0", "prevalence": {"c0": 0.1}}, "cannot be promised for another prevalence"),
        ({"recall": 0.9, "positive": "c7"}, "no such class as c7"),
        ({"costs": np.eye(2)}, "3 classes need 3 × 3"),
    ):
        with pytest.raises(UsageError, match=message):
            fit_decision(p, **wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no matrix"):
        fit_decision(made_labels(9), costs=np.eye(3))
    with pytest.raises(DataError, match="test split"):
        fit_decision(made(50, split="test"), costs=1 - np.eye(3))
    assert fit_decision(made(60), costs={"c1": ErrorCosts(1, 5)}).thresholds.keys() == {"c1"}
