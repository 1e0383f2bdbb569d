"""anmok decide: fitted on validation, written whole, applied everywhere; the test split is never fitted on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judged_runs import one_table, trained

from anmok.core.artifacts import save_predictions
from anmok.core.errors import DataError, UsageError
from anmok.core.files import read_json, verify_manifest
from anmok.core.types import Predictions
from anmok.deploy.bundle import load_model
from anmok.evaluate.answers import ASK, answered
from anmok.evaluate.decision import Decision
from anmok.stages.decide import decide
from anmok.stages.evaluate import evaluate
from anmok.stages.run import Run


@pytest.fixture(scope="module")
def finished(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decide")
    run = trained(one_table(digits, folder), folder / "run")
    evaluate(run)
    return run.path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Run:
    """A copy that a test may decide on."""
    shutil.copytree(finished, tmp_path / "run")
    return Run(tmp_path / "run")


def decision_of(run: Run) -> Decision:
    p = run.predictions("val")
    return Decision.from_dict(read_json(run.path / "model" / "decision.json"), p.classes, p.task)


def test_costs_become_a_threshold_that_costs_less(run: Run) -> None:
    found = decide(run.path, cost="fp=1,fn=50", positive="digit-3")
    verify_manifest(run.path / "model")
    stored = decision_of(run)
    assert set(stored.thresholds or {}) == {"digit-3"}
    p = run.predictions("val")
    truth = np.array([p.classes[t] == "digit-3" for t in p.targets])
    alarm = np.array([label == "digit-3" for label in stored.apply(p.probs)])
    habit = p.probs.argmax(1) == 3
    spent, usual = ((~truth & a).sum() + 50 * (truth & ~a).sum() for a in (alarm, habit))
    assert spent <= usual
    assert found.outcomes["val"]["cost"]["value"] == pytest.approx(spent / len(p))
    text = repr(found)
    assert "On 48 validation images, those it was fitted on:" in text
    assert "test images, which it was not fitted on:" in text
    assert "alarms for digit-3" in text
    content = read_json(run.path / "evaluation-val.json")["decision"]
    assert content["rule"] == "threshold"
    assert content["outcome"]["cost"]["value"] == pytest.approx(spent / len(p))
    assert "## Decision" in (run.path / "model" / "README.md").read_text()


def test_what_is_stored_is_what_the_calibrated_model_says(run: Run) -> None:
    before = run.predictions("val")
    decide(run, calibrate="vector")
    model, after = load_model(run.path / "model"), run.predictions("val")
    assert after.model_hash == model.hash
    assert after.model_hash != before.model_hash
    images = [run.table.root / name for name in run.table.where(split="val").rows["image"]]
    np.testing.assert_allclose(after.probs, model.predict(images).probs, atol=1e-5)
    assert np.abs(after.probs - before.probs).max() > 1e-3
    old, new = (-np.log(p.probs[np.arange(len(p)), p.targets]).mean() for p in (before, after))
    assert new < old
    assert read_json(run.path / "evaluation-val.json")["metrics"]["log_loss"]["value"] == pytest.approx(new, abs=1e-4)
    assert {"baselines"} <= set(read_json(run.path / "evaluation-val.json"))
    test = run.predictions("test")
    assert test.model_hash == model.hash
    expected = -np.log(test.probs[range(48), test.targets]).mean()
    assert evaluate(run).value("log_loss") == pytest.approx(expected, abs=1e-5)


def test_isotonic_stays_beside_the_model(run: Run) -> None:
    before = run.predictions("val")
    found = decide(run, calibrate="isotonic")
    np.testing.assert_array_equal(run.predictions("val").probs, before.probs)
    stored = decision_of(run)
    assert stored.calibration is not None
    assert stored.calibration.kind == "isotonic"
    assert "decision.json alone" in found.calibration
    assert "decision.json alone" in (run.path / "model" / "README.md").read_text()


def test_deciding_again_starts_from_the_model_as_it_is(run: Run) -> None:
    decide(run, calibrate="temperature", cost="fp=1,fn=5", positive="digit-1")
    weights = (run.path / "model" / "model.safetensors").read_bytes()
    second = decide(run, calibrate="none", abstain=0.25)
    assert (run.path / "model" / "model.safetensors").read_bytes() == weights
    assert decision_of(run).thresholds is None
    assert (run.path / "model" / "README.md").read_text().count("## Decision") == 1
    assert second.outcomes["val"]["asked"]["value"] <= 0.25
    third = decide(run, calibrate="temperature")
    assert "Calibrated on 48 images, temperature 1 (" in third.calibration  # there is nothing left to mend


def test_predictions_of_before_a_crash_are_brought_up(run: Run) -> None:
    old = {s: run.predictions(s) for s in ("val", "test")}
    decide(run, calibrate="vector")
    done = run.predictions("val")
    for split, p in old.items():  # as if it had ended before they were written
        save_predictions(p, run.path / "predictions" / f"{split}.parquet")
    decide(run, calibrate="none")
    np.testing.assert_allclose(run.predictions("val").probs, done.probs, atol=1e-6)


def test_predictions_of_another_model_are_refused(run: Run) -> None:
    p = run.predictions("val")
    other = Predictions(p.ids, p.classes, p.probs, p.targets, p.task, p.split, "0" * 64, p.fingerprint)
    save_predictions(other, run.path / "predictions" / "val.parquet")
    before = (run.path / "model" / "MANIFEST.sha256").read_bytes()
    with pytest.raises(DataError, match="not those of this model") as caught:
        decide(run, cost="fp=1,fn=5", positive="digit-1")
    assert caught.value.code == "model-hash"
    assert "--split val" in (caught.value.remedy or "")
    assert (run.path / "model" / "MANIFEST.sha256").read_bytes() == before


def test_the_test_split_is_never_fitted_on(run: Run) -> None:
    shutil.copy(run.path / "predictions" / "test.parquet", run.path / "predictions" / "val.parquet")
    with pytest.raises(DataError, match="test split") as caught:
        decide(run, cost="fp=1,fn=5", positive="digit-1")
    assert caught.value.code == "test-split"


def test_the_decision_does_not_depend_on_the_test_split(run: Run, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "other")
    (tmp_path / "other" / "predictions" / "test.parquet").unlink()
    for path in (run.path, tmp_path / "other"):
        decide(path, cost="fp=1,fn=9", positive="digit-2", abstain=0.1)
    assert decision_of(run).to_dict() == decision_of(Run(tmp_path / "other")).to_dict()


def test_a_look_at_the_test_split_is_counted(run: Run) -> None:
    looks = read_json(run.path / "evaluation-test.json")["looks"]
    decide(run, abstain=0.1)
    assert evaluate(run)["looks"] == looks + 2


def test_a_cost_matrix(run: Run, tmp_path: Path) -> None:
    costs = np.ones((4, 4)) - np.eye(4)
    costs[0, 1:] = 100  # a 0 must not be taken for another
    file = tmp_path / "costs.csv"
    names = run.predictions("val").classes
    rows = [",".join(["", *names])] + [",".join([n, *map(str, row)]) for n, row in zip(names, costs, strict=True)]
    file.write_text("\n".join(rows))
    found = decide(run, cost=file, calibrate="none")
    p = run.predictions("val")
    expected = (p.probs.astype(np.float64) @ costs).argmin(1)
    np.testing.assert_array_equal(found.decision.decide(p.probs), expected)
    assert read_json(run.path / "evaluation-val.json")["decision"]["rule"] == "cost-matrix"


def test_promises_say_what_is_missing(run: Run) -> None:
    text = repr(decide(run, at_least="precision=0.99", positive="digit-1"))
    assert "Nothing can be promised for digit-1" in text
    assert "No alarm for digit-1 is raised." in text
    assert "could have been drawn" not in text
    easy = decide(run, at_least={"recall": 0.2}, positive="digit-1")
    assert "Promised for digit-1: recall at least 0.2" in repr(easy)
    assert "of all validation sets that could have been drawn" in repr(easy)
    assert "not the chance that this very promise is broken" in (run.path / "model" / "README.md").read_text()
    assert easy.outcomes["val"]["labels"]["digit-1"]["recall"]["value"] >= 0.2


def test_another_prevalence_raises_the_bar(run: Run) -> None:
    here = decide(run, cost="fp=1,fn=5", positive="digit-1", calibrate="none")
    there = decide(run, cost="fp=1,fn=5", positive="digit-1", prevalence="digit-1=0.001", calibrate="none")
    alarms = [d.outcomes["test"]["labels"]["digit-1"] for d in (here, there)]
    assert alarms[1]["tp"] + alarms[1]["fp"] <= alarms[0]["tp"] + alarms[0]["fp"]
    assert there.decision.prior is not None
    assert there.decision.prior.target[1] == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"cost": "fp=1,fn=5"}, "None is named"),
        ({"cost": "fp=1,fn=5", "positive": "digit-9"}, "no such class as digit-9"),
        ({"cost": "fp=1,fn=5", "positive": "digit-1", "at_least": "recall=0.5"}, "cannot both"),
        ({"abstain": 1.5}, "below 1"),
        ({"prevalence": "digit-9=0.1"}, "no such class"),
        ({"calibrate": "tempreature"}, "Did you mean temperature"),
    ],
)
def test_a_wrong_call_changes_nothing(run: Run, asked: dict[str, Any], match: str) -> None:
    before = {p: p.read_bytes() for p in (run.path / "model").iterdir()}
    with pytest.raises(UsageError, match=match):
        decide(run, **asked)
    assert {p: p.read_bytes() for p in (run.path / "model").iterdir()} == before


def test_no_run_here(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run here"):
        decide(tmp_path / "absent", abstain=0.1)


def made(n: int = 6) -> Predictions:
    probs = np.array([[0.9, 0.1], [0.6, 0.4], [0.5, 0.5], [0.2, 0.8], [0.05, 0.95], [np.nan, np.nan]], np.float32)
    return Predictions(list("abcdef")[:n], ["no", "yes"], probs[:n], task="binary", errors={"f": "unreadable"})


def test_labels_follow_the_decision() -> None:
    content = {"version": 1, "temperature": 1.0, "thresholds": {"yes": 0.3}, "costs": None, "abstain_below": 0.2}
    p = made()
    found = answered(p, content)
    # how sure: 1 less the doubt min(q / t, (1 - q) / (1 - t)), by hand 0.67, 0.14, 0.29, 0.71, 0.93
    assert found.labels == ["no", ASK, "yes", "yes", "yes", ""]
    assert found.chances is not None
    np.testing.assert_allclose(found.chances, [0.9, 0.6, 0.5, 0.8, 0.95, 0.0], atol=1e-6)
    assert found.errors == p.errors
    assert "b: ask (0.600)" in repr(found)


def test_labels_stay_where_nobody_has_decided() -> None:
    p = made()
    content: dict[str, Any] = {"version": 1, "temperature": 1.7, "thresholds": {"yes": 0.5}, "costs": None}
    assert answered(p, content) is p
    multi = Predictions(["a"], ["x", "y"], np.array([[0.7, 0.2]], np.float32), task="multilabel")
    content["thresholds"] = {"x": 0.8, "y": 0.1}
    assert answered(multi, content).labels == [["y"]]
