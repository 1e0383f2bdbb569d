"""`anmok train DATA --weights FOLDER` from what `anmok zeroshot --save-model` wrote: texts are the first head."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anmok.cli import main
from anmok.core.errors import UsageError
from anmok.engine.predict import predict
from anmok.stages import run_calls
from anmok.stages.crossval import crossval
from anmok.stages.learn import set_up, validate
from anmok.stages.load import load
from anmok.stages.run import Run
from anmok.stages.tower import NAME, tower_of
from anmok.stages.train import train
from anmok.stages.zeroshot import ZeroShot, zeroshot

sys.path.insert(0, str(Path(__file__).parents[1] / "nshot"))
import tiny

CLASSES = "red can, green bottle, blue paper"  # a folder's are in the order of the alphabet
COLORS = {"red can": (200, 30, 30), "green bottle": (30, 180, 40), "blue paper": (40, 40, 210)}
QUICK = ["--batch-size", "8", "--plan", "none", "--augment", "none"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled images of three colours and several aspects."""
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for label, color in COLORS.items():
        (root / label).mkdir()
        for n in range(12):
            noise = rng.integers(-60, 60, (40 + 3 * n, 61, 3))
            Image.fromarray(np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)).save(root / label / f"{n}.png")
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP and a tiny SigLIP in the hub's layout."""
    root = tmp_path_factory.mktemp("models")
    for kind in ("clip", "siglip"):
        tiny.BUILDERS[kind](root / kind)
    return root


def answers(found: ZeroShot, run: Run) -> tuple[np.ndarray, float]:
    """(probabilities of a run's validation images in the order of its classes, their accuracy)."""
    val = run.table.where(split="val").rows
    rows = [found.ids.index(name) for name in val["id"]]
    probs = found.probs[rows][:, [found.classes.index(name) for name in run.table.classes]]
    truth = np.array([run.table.classes.index(label) for label in val["label"]])
    return probs, float((probs.argmax(axis=1) == truth).mean())


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize("adapt", ["full", "head"])
def test_before_the_first_step_it_answers_as_the_texts_do(
    kind: str, adapt: str, folder: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = zeroshot(photos, CLASSES, model=str(folder / kind))
    main(["zeroshot", str(photos), "--classes", CLASSES, "--model", str(folder / kind), "--save-model",
          str(tmp_path / "zero")])  # fmt: skip
    assert f"anmok train DATA --weights {tmp_path / 'zero'}" in capsys.readouterr().out
    main(["train", str(photos), "--weights", str(tmp_path / "zero"), "--adapt", adapt, "--optim.lr", "1e-9",
          "--out", str(tmp_path / "run"), *QUICK, "--epochs", "1"])  # fmt: skip
    run = Run(tmp_path / "run")
    assert list(run.table.classes) == sorted(COLORS)
    wanted, accuracy = answers(found, run)
    assert wanted.std() > 0.01  # they tell images apart
    job = set_up(run.path, run.config, tower_of(run.config))
    assert job.val is not None
    start = predict(job.judged.model, job.val.epoch(), job.runtime, len(job.val.table), "validate")
    np.testing.assert_allclose(start.probs, wanted, atol=1e-5)
    assert validate(job)["accuracy"] == pytest.approx(accuracy)
    assert run.history[0]["val"]["accuracy"] == pytest.approx(accuracy)  # of a rate that changes nothing
    again = load(run.path)  # built again from its own folder
    names = run.table.where(split="val").rows["id"]
    np.testing.assert_allclose(again.predict([photos / name for name in names]).probs, wanted, atol=1e-4)


def test_it_learns_and_an_interrupted_run_goes_on(
    folder: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zeroshot(photos, CLASSES, model=str(folder / "clip"), save_model=tmp_path / "zero")
    with monkeypatch.context() as patch:
        patch.setattr(run_calls, "polite_stop", lambda: contextlib.nullcontext(lambda: True))
        with pytest.raises(SystemExit) as caught:
            main(["train", str(photos), "--weights", str(tmp_path / "zero"), "--out", str(tmp_path / "run"),
                  *QUICK, "--epochs", "4"])  # fmt: skip
        assert caught.value.code == 5
    main(["train", "--resume", str(tmp_path / "run")])
    run = Run(tmp_path / "run")
    assert run.config.model.name == NAME
    assert len(run.history) == 4
    assert run.history[-1]["loss"] < run.history[0]["loss"]
    with Image.open(next((photos / "red can").iterdir())) as image:
        assert load(run.path).predict([image]).probs.sum() == pytest.approx(1)


def test_two_classes_keep_their_texts(folder: Path, photos: Path, tmp_path: Path) -> None:
    found = zeroshot(photos, "red can, blue paper", model=str(folder / "clip"), save_model=tmp_path / "zero")
    for name in ("blue paper", "red can"):
        (tmp_path / "two").mkdir(exist_ok=True)
        (tmp_path / "two" / name).symlink_to(photos / name)
    run = train(
        tmp_path / "two", weights=str(tmp_path / "zero"), epochs=1, batch_size=8, plan="none", out=tmp_path / "run",
        **{"optim.lr": 1e-9, "data.allow_links": True},
    )  # fmt: skip
    wanted, accuracy = answers(found, run)
    assert run.evaluation().value("accuracy") == pytest.approx(accuracy)
    np.testing.assert_allclose(run.predictions().probs, wanted, atol=1e-4)


def test_other_classes_are_named_and_nothing_is_left_behind(folder: Path, photos: Path, tmp_path: Path) -> None:
    zeroshot(photos, "red can, glass, blue paper", model=str(folder / "clip"), save_model=tmp_path / "zero")
    with pytest.raises(UsageError, match=r"no text of: green bottle; texts of no class here: glass") as caught:
        train(photos, weights=str(tmp_path / "zero"), out=tmp_path / "run")
    assert caught.value.code == "class"
    assert "--classes 'blue paper,green bottle,red can' --save-model" in str(caught.value)
    with pytest.raises(UsageError, match="Leave --model out"):
        train(photos, model="resnet18", weights=str(tmp_path / "zero"), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_folds_begin_with_the_texts_too(folder: Path, photos: Path, tmp_path: Path) -> None:
    zeroshot(photos, CLASSES, model=str(folder / "clip"), save_model=tmp_path / "zero")
    done = crossval(
        photos, folds=2, weights=str(tmp_path / "zero"), epochs=1, batch_size=8, plan="none", out=tmp_path / "folds",
        **{"optim.lr": 1e-9},
    )  # fmt: skip
    assert done.evaluation["n"] > 0
    assert Run(tmp_path / "folds" / "fold-1").config.model.name == NAME
