"""Test-time views on runs and as commands: beside the plain evaluation, weights fitted on validation alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from judged_runs import one_table, trained

import anmok
from anmok.core.artifacts import load_predictions
from anmok.core.errors import DataError, UsageError
from anmok.core.events import read_events
from anmok.core.files import read_json
from anmok.stages import tta as stage
from anmok.stages.decide import decide
from anmok.stages.ensemble import ensemble
from anmok.stages.ensemble_run import EnsembleRun
from anmok.stages.predict import Reading, predict
from anmok.stages.run import Run
from anmok.stages.tta_evaluate import Viewed


@pytest.fixture(scope="module")
def home(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one split and the ensemble of them."""
    folder = tmp_path_factory.mktemp("views")
    table = one_table(digits, folder)
    trained(table, folder / "a")
    trained(table, folder / "b", image_size=28, seed=2)
    ensemble([folder / "a", folder / "b"], out=folder / "ens")
    return folder


@pytest.fixture
def copied(home: Path, tmp_path: Path) -> Path:
    """A copy that a test may write into."""
    shutil.copytree(home, tmp_path / "home")
    return tmp_path / "home"


def images(run: Run, split: str = "test") -> list[Path]:
    return [run.table.root / name for name in run.table.labelled().where(split=split).rows["image"]]


def test_it_is_written_beside_the_plain_evaluation(copied: Path) -> None:
    run = Run(copied / "a")
    anmok.evaluate(run)
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file() and p.name != "events.jsonl"}
    found = anmok.evaluate(run, tta="five-crop")
    assert isinstance(found, Viewed)
    assert {p: p.read_bytes() for p in before} == before
    assert found.path == run.path / "tta" / "five-crop-test.json"
    plain = run.predictions("test")
    stored = load_predictions(found.path.with_suffix(".parquet"))
    model = run.model
    np.testing.assert_allclose(stored.probs, model.predict(images(run), tta="five-crop").probs, atol=1e-5)
    content = read_json(found.path)
    accuracy = {name: float((p.probs.argmax(1) == p.targets).mean()) for name, p in (("a", plain), ("b", stored))}
    row = content["tta"]["paired"]["pairs"][0]["metrics"]["accuracy"]
    assert {name: row[name] for name in "ab"} == pytest.approx(accuracy)
    assert content["metrics"]["accuracy"]["value"] == pytest.approx(accuracy["b"])
    assert row["low"] <= row["value"] <= row["high"]
    text = repr(found)
    for said in ("5-crop", f"{accuracy['a']:.4f}", f"{accuracy['b']:.4f}", "times as long", "plain, top left"):
        assert said.replace("5-", "five-") in text
    assert found.facts["latency_ms"]["views"] > found.facts["latency_ms"]["plain"] > 0
    looks = list(read_events(run.path / "events.jsonl", "look"))
    assert [look.get("tta") for look in looks] == [None, "five-crop"]
    assert content["looks"] == 2


def test_weights_are_fitted_on_validation_and_kept(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(copied / "a")
    found = anmok.evaluate(run, tta="flips", tta_weights="fit")
    kept = read_json(run.path / "tta.json")["fits"]["flips seed 0"]
    weights = kept["weights"]["model"]
    assert sum(weights) == pytest.approx(1)
    assert kept["split"] == "val"
    views = run.model.views("flips")
    table = run.table.labelled().where(split="val")
    of_truth = stage.truths(run.model, table, "flips", 0, Reading()).values
    assert of_truth.shape == (len(table), len(views))
    grid = np.linspace(0, 1, 2001)
    losses = [-np.log(of_truth @ [1 - w, w]).mean() for w in grid]
    assert kept["log_loss"]["model"]["fitted"] == pytest.approx(min(losses), abs=1e-6)
    assert weights[1] == pytest.approx(grid[int(np.argmin(losses))], abs=2e-3)
    assert kept["log_loss"]["model"]["fitted"] <= min(kept["log_loss"]["model"][n] for n in ("plain", "uniform")) + 1e-9
    assert found.path.name == "flips-fit-test.json"
    monkeypatch.setattr(stage, "truths", lambda *_: pytest.fail("fitted again"))
    again = predict(run.path, run.table.root, tta="flips", tta_weights="fit")
    by_hand = run.model.predict([run.table.root / i for i in again.ids], tta="flips", tta_weights=weights)
    np.testing.assert_allclose(again.probs, by_hand.probs, atol=1e-5)


def test_weights_of_another_model_are_fitted_anew(copied: Path) -> None:
    run = Run(copied / "a")
    stage.fitted_weights(run, run.model, "flips", 0)
    decide(run, calibrate="vector")
    again = Run(copied / "a")
    stage.fitted_weights(again, again.model, "flips", 0)
    assert read_json(run.path / "tta.json")["fits"]["flips seed 0"]["model_hash"] == again.model.hash
    (run.path / "tta.json").write_text('{"version": 1, "fits": {"flips seed 0": 3}}')
    with pytest.raises(DataError, match="Remove it") as caught:
        stage.fitted_weights(again, again.model, "flips", 0)
    assert caught.value.code == "damaged"


def test_fitted_weights_do_not_judge_what_fitted_them(copied: Path) -> None:
    found = anmok.evaluate(Run(copied / "a"), split="val", tta="scales", tta_weights="fit")
    assert isinstance(found, Viewed)
    assert found.facts["in_folds"]
    assert "other four fifths" in repr(found)
    assert not (copied / "a" / "tta.json").exists()


def test_each_member_of_an_ensemble_has_views_of_its_own(copied: Path, digits: Path) -> None:
    run = EnsembleRun(copied / "ens")
    found = anmok.evaluate(run, tta="scales", tta_weights="fit")
    assert isinstance(found, Viewed)
    fits = read_json(run.path / "tta.json")["fits"]["scales seed 0"]["weights"]
    assert set(fits) == {"a", "b"}
    parts = [Run(copied / n).model.predict(images(run), tta="scales", tta_weights=fits[n]).probs for n in "ab"]
    stored = load_predictions(found.path.with_suffix(".parquet"))
    np.testing.assert_allclose(stored.probs, np.mean(parts, axis=0), atol=1e-5)
    model = anmok.load(run.path)
    from_python = model.predict(images(run), tta="scales", tta_weights=fits)
    np.testing.assert_allclose(from_python.probs, stored.probs, atol=1e-5)
    uniform = predict(run.path, digits, tta="flips", out=copied / "p.parquet")
    np.testing.assert_allclose(
        uniform.probs, model.predict([digits / i for i in uniform.ids], tta="flips").probs, atol=1e-5
    )
    with pytest.raises(UsageError, match="no weights of the member b"):
        model.predict(images(run), tta="flips", tta_weights={"a": [1, 0]})


def test_attention_crops_are_weighed_as_other_views_are(copied: Path) -> None:
    run = Run(copied / "a")
    found = anmok.evaluate(run, tta="attention", tta_weights="fit")
    assert found.facts["views"] == ["plain", "attention crop"]
    weights = found.facts["weights"]["model"]
    stored = load_predictions(run.path / "tta" / "attention-fit-test.parquet")
    np.testing.assert_allclose(
        stored.probs, run.model.predict(images(run), tta="attention", tta_weights=weights).probs, atol=1e-5
    )
    ensembled = predict(copied / "ens", run.table.root, tta="attention")
    parts = [Run(copied / n).model.predict([run.table.root / i for i in ensembled.ids], tta="attention") for n in "ab"]
    np.testing.assert_allclose(ensembled.probs, np.mean([p.probs for p in parts], axis=0), atol=1e-5)
    assert not np.allclose(parts[0].probs, run.model.predict([run.table.root / i for i in ensembled.ids]).probs)


def test_an_ensemble_answers_by_its_own_decision(copied: Path) -> None:
    decide(copied / "a", abstain=0.9)
    made = ensemble([copied / "a", copied / "b"], out=copied / "ens2")
    assert "ask" not in made.model.predict(images(made)).labels
    decide(made, abstain=0.5)
    labels = EnsembleRun(made.path).model.predict(images(made)).labels
    assert 0 < labels.count("ask") < len(labels)


def test_views_are_decoded_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from anmok.data import pixels

    seen: list[int] = []
    decode = pixels.decode

    def counted(data: bytes, **options: object) -> np.ndarray:
        seen.append(len(data))
        return decode(data, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(pixels, "decode", counted)
    run = Run(home / "a")
    found = predict(run.model, run.table.root, tta="randaugment:6")
    assert len(seen) == len(found)


def test_an_ensemble_finds_its_images_by_a_member(digits: Path, tmp_path: Path) -> None:
    shutil.copytree(digits, tmp_path / "set")
    table = one_table(tmp_path / "set", tmp_path)
    for seed, name in enumerate("ab"):
        trained(table, tmp_path / name, epochs=1, seed=seed)
    ensemble([tmp_path / "a", tmp_path / "b"], out=tmp_path / "ens")
    (tmp_path / "set").rename(tmp_path / "elsewhere")
    for options in ({}, {"tta": "flips"}, {"tta": "flips", "tta_weights": "fit"}):
        with pytest.raises(DataError, match=r"which the ensemble follows.*--image-root FOLDER") as caught:
            anmok.evaluate(tmp_path / "ens", **options)
        assert caught.value.code == "missing-root"
        assert f"--resume {tmp_path / 'a'} " in (caught.value.remedy or "")
    anmok.train(resume=tmp_path / "a", image_root=str(tmp_path / "elsewhere"))
    found = EnsembleRun(tmp_path / "ens")
    assert found.table.root == tmp_path / "elsewhere"
    assert anmok.evaluate(found)["n"] == len(found.table.where(split="test"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("evaluate", "a", "--tta", "flip"), "Did you mean flips"),
        (("evaluate", "a", "--tta-weights", "fit"), "no test-time views to weigh"),
        (("evaluate", "a", "--tta", "flips", "--tta-weights", "fits"), "Did you mean fit"),
        (("evaluate", "a", "b", "--tta", "flips"), "one run at a time"),
        (("evaluate", "a", "--tta", "flips", "--out", "x.html"), "has no report"),
        (("evaluate", "a/predictions/val.parquet", "--tta", "flips"), "have no images"),
        (("predict", "a/model", "{digits}", "--tta-weights", "fit"), "no test-time views to weigh"),
        (("predict", "alone", "{digits}", "--tta", "flips", "--tta-weights", "fit"), "lies in no run"),
        (("predict", "a", "{digits}", "--tta", "randaugment"), "As in randaugment:8"),
    ],
)
def test_wrong_calls(
    copied: Path, digits: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...], said: str,
) -> None:  # fmt: skip
    from anmok.cli import main

    shutil.copytree(copied / "a" / "model", copied / "alone")
    monkeypatch.chdir(copied)
    with pytest.raises(SystemExit) as caught:
        main([a.format(digits=digits) for a in arguments])
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_as_commands(copied: Path, digits: Path, cli: Callable[..., CompletedProcess[str]]) -> None:
    found = cli("evaluate", "a", "--tta", "scales", "--tta-weights", "fit", cwd=copied)
    assert found.returncode == 0, found.stderr
    assert "Cost: " in found.stdout
    assert found.stdout.rstrip().endswith("a/tta/scales-fit-test.json")
    found = cli("predict", "ens", digits, "--tta", "randaugment:3", "--tta-seed", "4", "--out", "p.csv", cwd=copied)
    assert found.returncode == 0, found.stderr
    assert "3 views of each image" in found.stderr
    again = anmok.load(copied / "ens").members["a"].views("randaugment:3", 4)
    assert again.names == ("plain", "draw 1", "draw 2")
