"""anmok ensemble: members by path and hash, one answer, the gain beside the latency."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from judged_runs import one_table, trained

from anmok.core.errors import DataError, UsageError
from anmok.core.files import read_json, verify_manifest, write_json
from anmok.deploy.bundle import load_model
from anmok.evaluate.ensemble import fit_ensemble
from anmok.models.weights import read_weights
from anmok.stages.decide import decide
from anmok.stages.ensemble import ensemble
from anmok.stages.ensemble_gain import gain, held_out
from anmok.stages.ensemble_run import EnsembleRun
from anmok.stages.evaluate import evaluate
from anmok.stages.run import Run
from anmok.stages.split import split


@pytest.fixture(scope="module")
def home(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs of one split: a and b of one network, c of another size and seed."""
    folder = tmp_path_factory.mktemp("members")
    table = one_table(digits, folder)
    trained(table, folder / "a")
    trained(table, folder / "b", weights=str(folder / "a"), epochs=2, seed=5)
    trained(table, folder / "c", image_size=28, seed=2)
    return folder


def members(home: Path, *names: str) -> list[Path]:
    return [home / name for name in names or ("a", "b", "c")]


def val_images(run: Run) -> list[Path]:
    return [run.table.root / name for name in run.table.where(split="val").rows["image"]]


@pytest.mark.parametrize("how", ["soft", "hard", "weighted", "greedy", "stack"])
def test_an_ensemble_is_a_run(home: Path, tmp_path: Path, how: str) -> None:
    made = ensemble(members(home), how=how, out=tmp_path / "ens")
    verify_manifest(tmp_path / "ens" / "model")
    runs = {name: Run(home / name) for name in "abc"}
    stored = {name: run.predictions("val") for name, run in runs.items()}
    p = made.predictions("val")
    fitted = fit_ensemble(stored, how)  # type: ignore[arg-type]
    np.testing.assert_allclose(p.probs, fitted.predict(stored).probs, atol=1e-6)
    again = made.model.predict(val_images(made))
    np.testing.assert_allclose(again.probs, p.probs, atol=1e-5)
    assert p.model_hash == made.model.hash
    assert (tmp_path / "ens" / "report.html").is_file()
    text = repr(made)
    assert "ms an image" in text
    assert "the best member" in text
    facts = made.facts
    assert set(facts["latency_ms"]) == {"a", "b", "c"}
    assert f"{sum(facts['latency_ms'].values()):.1f} ms" in text
    assert facts["gain"]["in_folds"] == (how in ("weighted", "greedy", "stack"))


def test_it_is_evaluated_and_decided_as_a_run(home: Path, tmp_path: Path) -> None:
    made = ensemble(members(home, "a", "c"), out=tmp_path / "ens")
    found = evaluate(tmp_path / "ens")
    assert found["split"] == "test"
    parts = [evaluate(home / name) and Run(home / name).predictions("test").probs for name in "ac"]
    np.testing.assert_allclose(made.predictions("test").probs, np.mean(parts, axis=0), atol=1e-5)
    decided = decide(tmp_path / "ens", cost="fp=1,fn=9", positive="digit-1", calibrate="temperature")
    assert "decision.json alone" in decided.calibration
    content = read_json(tmp_path / "ens" / "model" / "decision.json")
    assert content["calibration"]["kind"] == "temperature"
    assert content["temperature"] == 1.0
    again = EnsembleRun(tmp_path / "ens")
    assert again.predictions("val").model_hash == again.model.hash
    assert evaluate(again)["decision"]["rule"] == "threshold"


def test_a_mean_needs_no_validation(digits: Path, tmp_path: Path) -> None:
    split(digits, out=tmp_path / "table.parquet", **{"split.val": 0.0, "split.test": 0.3})
    for seed, name in enumerate("ab"):
        trained(tmp_path / "table.parquet", tmp_path / name, seed=seed, **{"split.val": 0.0})
    made = ensemble([tmp_path / "a", tmp_path / "b"], out=tmp_path / "ens")
    assert "no member has a validation split" in repr(made)
    evaluate(made)
    parts = [evaluate(tmp_path / name) and Run(tmp_path / name).predictions("test").probs for name in "ab"]
    np.testing.assert_allclose(made.predictions("test").probs, np.mean(parts, axis=0), atol=1e-5)
    with pytest.raises(UsageError, match="--how soft does without"):
        ensemble([tmp_path / "a", tmp_path / "b"], how="weighted", out=tmp_path / "weighted")
    shutil.rmtree(tmp_path / "b" / "model")
    with pytest.raises(DataError, match="no model yet"):
        ensemble([tmp_path / "a", tmp_path / "b"], out=tmp_path / "unfinished")
    assert not (tmp_path / "unfinished").exists()


def test_the_gain_is_measured_on_rows_that_fitted_nothing(home: Path) -> None:
    stored = {name: Run(home / name).predictions("val") for name in "abc"}
    apart = held_out(stored, "stack")
    own = fit_ensemble(stored, "stack").predict(stored)
    assert apart.ids == own.ids
    assert not np.allclose(apart.probs, own.probs)
    found = gain(stored, apart, "val", True, None)
    accuracy = {name: float((p.probs.argmax(1) == p.targets).mean()) for name, p in stored.items()}
    assert accuracy[found["best"]] == max(accuracy.values())
    mine = float((apart.probs.argmax(1) == apart.targets).mean())
    assert found["metrics"]["accuracy"]["value"] == pytest.approx(mine - max(accuracy.values()))


def test_an_ensemble_moves_with_its_members(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "one" / "runs")
    made = ensemble([tmp_path / "one" / "runs" / n for n in "ac"], out=tmp_path / "one" / "ens")
    before = made.predictions("val").probs
    (tmp_path / "one").rename(tmp_path / "two")
    moved = EnsembleRun(tmp_path / "two" / "ens")
    np.testing.assert_allclose(moved.model.predict(val_images(Run(home / "a"))).probs, before, atol=1e-5)


def test_an_unreadable_image_has_a_reason_once(home: Path, tmp_path: Path) -> None:
    made = ensemble(members(home, "a", "c"), out=tmp_path / "ens")
    good = val_images(made)[0]
    found = made.model.predict([good, b"no image", good])
    assert list(found.errors) == ["1"]
    assert np.isnan(found.probs[1]).all()
    np.testing.assert_array_equal(found.probs[0], found.probs[2])
    assert found.labels[1] == ""


def test_a_member_that_changed_or_went_is_named(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "runs")
    made = ensemble([tmp_path / "runs" / n for n in "ac"], out=tmp_path / "ens")
    decide(tmp_path / "runs" / "c", cost="fp=1,fn=9", positive="digit-1")
    with pytest.raises(DataError, match="its member c has changed") as caught:
        EnsembleRun(tmp_path / "ens").load_model()
    assert caught.value.code == "tampered"
    shutil.rmtree(tmp_path / "runs" / "c")
    with pytest.raises(DataError, match="no longer at") as caught:
        EnsembleRun(tmp_path / "ens").load_model()
    assert caught.value.code == "missing-member"
    write_json(tmp_path / "ens" / "model" / "ensemble.json", {**made.facts, "how": "hard"})
    with pytest.raises(DataError, match="does not match"):
        EnsembleRun(tmp_path / "ens").load_model()


@pytest.mark.parametrize("how", ["soup", "greedy-soup"])
def test_a_soup_is_an_ordinary_model(home: Path, tmp_path: Path, how: str) -> None:
    made = ensemble(members(home, "a", "b"), how=how, out=tmp_path / "ens")
    model = load_model(tmp_path / "ens" / "model")
    assert model.architecture == "lenet"
    p = made.predictions("val")
    np.testing.assert_allclose(model.predict(val_images(made)).probs, p.probs, atol=1e-5)
    states = [read_weights(home / name / "model" / "model.safetensors") for name in made.facts["members"]]
    found = read_weights(tmp_path / "ens" / "model" / "model.safetensors")
    for name, value in found.items():  # lenet has no batch normalisation
        torch.testing.assert_close(value, torch.stack([s[name] for s in states]).mean(0))
    best = max(float((q.probs.argmax(1) == q.targets).mean()) for q in (Run(home / n).predictions("val") for n in "ab"))
    if how == "greedy-soup":
        assert float((p.probs.argmax(1) == p.targets).mean()) >= best
    assert "that of one network" in repr(made)
    assert evaluate(tmp_path / "ens")["n"] == 48
    folded = decide(tmp_path / "ens", calibrate="temperature")
    assert "in the last layer" in folded.calibration


def test_batch_statistics_of_a_soup_are_measured_anew(digits: Path, tmp_path: Path) -> None:
    table = one_table(digits, tmp_path)
    trained(table, tmp_path / "a", model="speednet_small", epochs=1)
    trained(table, tmp_path / "b", model="speednet_small", epochs=1, seed=1)
    made = ensemble([tmp_path / "a", tmp_path / "b"], how="soup", out=tmp_path / "ens")
    own = [read_weights(tmp_path / n / "model" / "model.safetensors") for n in "ab"]
    found = read_weights(tmp_path / "ens" / "model" / "model.safetensors")
    means = [name for name in found if name.endswith("running_mean")]
    assert means
    plain = {name: (own[0][name] + own[1][name]) / 2 for name in means}
    assert any(not torch.allclose(found[name], plain[name], atol=1e-3) for name in means)
    np.testing.assert_allclose(
        load_model(tmp_path / "ens" / "model").predict(val_images(made)).probs, made.predictions("val").probs, atol=1e-5
    )


def test_what_does_not_go_together(home: Path, digits: Path, tmp_path: Path) -> None:
    trained(one_table(digits, tmp_path, **{"split.seed": 7}), tmp_path / "other")
    trained(one_table(digits, tmp_path / "x", labels={"drop": ["digit-3"]}), tmp_path / "three")
    cases: list[tuple[list[Path], dict[str, Any], Any, str]] = [
        (members(home, "a"), {}, UsageError, "two members or more"),
        (members(home, "a", "a"), {}, UsageError, "named twice"),
        (members(home, "a", "b"), {"how": "sotf"}, UsageError, "Did you mean soft"),
        ([home / "a", tmp_path / "none"], {}, UsageError, "no run here"),
        ([home / "a", tmp_path / "other"], {}, DataError, "test images of other"),
        ([home / "a", tmp_path / "three"], {}, DataError, "classes of three"),
        (members(home, "a", "c"), {"how": "soup"}, UsageError, "prepare images otherwise"),
    ]
    for runs, options, error, match in cases:
        with pytest.raises(error, match=match):
            ensemble(runs, out=tmp_path / "ens", **options)
        assert not (tmp_path / "ens").exists()
