"""Pseudo labels as a verb, with validation and test images planted among the unlabelled ones; FixMatch."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image, ImageOps

import anmok
from anmok.core.errors import DataError, Interrupted, UsageError
from anmok.core.files import read_json, write_json
from anmok.data.table import Table
from anmok.stages import pseudo_refused, semi
from anmok.stages.predict import predict_table
from anmok.stages.pseudo import pseudo
from anmok.stages.pseudo_retrain import retrained
from anmok.stages.pseudo_sure import calibrated_by, is_calibrated
from anmok.stages.pseudo_views import predict_views
from anmok.stages.run import Run
from anmok.stages.semi_batches import SemiBatches, among, onward

QUICK: dict[str, Any] = {
    "model": "lenet", "image_size": 32, "epochs": 12, "batch_size": 16, "plan": "none", "augment": "none", "threads": 1,
    "optim": {"lr": 0.003},
}  # fmt: skip


def digits_of(folder: Path, first: int, last: int, classes: bool = True) -> Path:
    """Handwritten digits 0 to 3, the first-th to the last-th of each, 32 pixels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    for digit in range(4):
        for number in np.flatnonzero(data.target == digit)[first:last]:
            path = folder / (f"digit-{digit}/{number:04d}.png" if classes else f"{number:04d}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = 255 - np.rint(data.images[number] * (255 / 16)).astype(np.uint8)
            Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC).save(path)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A network that has learned from 100 labelled digits."""
    home = tmp_path_factory.mktemp("run")
    return anmok.train(digits_of(home / "few", 0, 25), out=home / "run", split={"val": 0.3, "test": 0.3}, **QUICK)


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 other digits, without labels."""
    return digits_of(tmp_path_factory.mktemp("rest"), 30, 80, classes=False)


def truth(name: str) -> str:
    from sklearn.datasets import load_digits

    return f"digit-{load_digits().target[int(Path(name).stem)]}"


def test_a_new_table_that_can_be_trained_on(run: Run, rest: Path, tmp_path: Path) -> None:
    made = pseudo(run, rest, out=tmp_path / "table2.parquet", confidence=0.8, views="none", threads=1)
    table = Table.load(tmp_path / "table2.parquet")
    new = table.rows.filter(pl.col("pseudo"))
    assert len(new) == made.rounds[0]["selected"] > 40
    right = np.mean([label == truth(name) for name, label in new.select("id", "label").iter_rows()])
    assert right > 0.85  # chance: 0.25
    assert set(new["split"]) == {"train"}
    assert set(new["pseudo_model"]) == {run.model.hash}
    assert new["pseudo_confidence"].min() >= 0.8
    assert run.table.fingerprint in table.parents
    held = table.rows.filter(pl.col("split") != "train").select("id", "label", "split")
    assert held.equals(run.table.rows.filter(pl.col("split") != "train").select("id", "label", "split"))
    for name, n in made.rounds[0]["classes"].items():
        assert n == (new["label"] == name).sum() <= made.rounds[0]["quota"][name]
        assert name in repr(made)
    images = pl.read_parquet(made.beside / "images.parquet")
    assert images.filter(pl.col("refused").is_null())["id"].to_list() == new["id"].to_list()
    with Image.open(made.beside / "selected.png") as sheet:
        assert sheet.width > 600
    again = anmok.train(tmp_path / "table2.parquet", out=tmp_path / "run2", **QUICK | {"epochs": 1})
    assert again.table.where("val").rows["id"].to_list() == run.table.where("val").rows["id"].to_list()
    assert len(again.table.where("train")) == len(run.table.where("train")) + len(new)


@pytest.fixture(scope="module")
def photo_run(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A network of one epoch on 48 real photos of two classes."""
    home = tmp_path_factory.mktemp("photos")
    for label in ("glass", "paper"):
        files = sorted((data_dir / "trashnet" / label).glob("*.jpg"))[:24]
        (home / "set" / label).mkdir(parents=True)
        for file in files:
            shutil.copy(file, home / "set" / label)
    split = {"val": 0.25, "test": 0.25}
    return anmok.train(home / "set", out=home / "run", split=split, **QUICK | {"epochs": 1})


def planted(table: Table, folder: Path) -> dict[str, str]:
    """Copies of held-out photos as they spread: as they are, saved anew, made smaller, mirrored. Name -> reason."""
    folder.mkdir()
    val, test = (table.where(split).rows["id"].to_list() for split in ("val", "test"))
    of = [(Path(table.root) / name) for name in (*val[:4], *test[:4])]
    shutil.copy(of[0], folder / "as-it-is.jpg")
    shutil.copy(of[4], folder / "test-image.jpg")
    for name, source in (("val", of[1]), ("test", of[5])):
        Image.open(source).save(folder / f"{name}-anew.jpg", quality=50)
    for name, source in (("val", of[2]), ("test", of[6])):
        picture = Image.open(source)
        picture.resize((picture.width // 2, picture.height // 2)).save(folder / f"{name}-smaller.png")
    for name, source in (("val", of[3]), ("test", of[7])):
        ImageOps.mirror(Image.open(source)).save(folder / f"{name}-mirrored.jpg", quality=85)
    return {
        name.name: "bytes" if name.stem in ("as-it-is", "test-image") else "near" for name in folder.iterdir()
    }  # fmt: skip


def test_planted_validation_and_test_images_are_refused(
    photo_run: Run, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = planted(photo_run.table, tmp_path / "rest")
    others = sorted((data_dir / "trashnet" / "glass").glob("*.jpg"))[100:112]
    for file in others:
        shutil.copy(file, tmp_path / "rest")
    said: list[str] = []
    monkeypatch.setattr(pseudo_refused, "warn", said.append)
    made = pseudo(photo_run, tmp_path / "rest", out=tmp_path / "t.parquet", confidence=0.01, per_class="none",
                  views="none", threads=1)  # fmt: skip
    assert {p.name for p in others} == set(made.table.rows.filter(pl.col("pseudo"))["id"])
    reasons = pl.read_parquet(made.beside / "images.parquet").filter(pl.col("refused").is_not_null())
    assert dict(reasons.select("id", "refused").iter_rows()) == expected
    assert made.rounds[0]["refused"] == {"bytes": 2, "near": 6}
    assert "6 refused: nearly the same picture as a validation or test image" in repr(made)
    assert any("bytes of a validation or test image" in text and "as-it-is.jpg" in text for text in said)


def test_the_folder_the_run_came_from_gives_only_what_it_trained_on(photo_run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="48 are refused") as caught:
        pseudo(photo_run, photo_run.table.root, out=tmp_path / "t.parquet", confidence=0.01, threads=1)
    assert caught.value.code == "nothing-sure"
    assert not list(tmp_path.iterdir())


def test_views_are_the_model_on_mirrored_images(run: Run, rest: Path) -> None:
    table = anmok.open(rest).take(np.arange(7))
    first = table.rows["id"][0]
    seen = predict_views(run.model, table, "flips", skip={first}, threads=1)
    assert np.isnan([p[0] for p in seen.probs]).all()
    np.testing.assert_allclose(seen.probs[0][1:], predict_table(run.model, table, threads=1).probs[1:], atol=1e-6)
    mirrored = [ImageOps.mirror(Image.open(rest / name)) for name in table.rows["id"][1:]]
    np.testing.assert_allclose(seen.probs[1][1:], run.model.predict(mirrored, threads=1).probs, atol=1e-5)


def test_confidence_is_calibrated(run: Run, tmp_path: Path) -> None:
    from anmok.evaluate.scaling import fit_calibration

    assert not is_calibrated(run.model.decision)
    temperature = fit_calibration(run.predictions("val"), "temperature").temperature
    probs = run.predictions("val").probs
    logits = np.log(probs) / temperature
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(calibrated_by(run, run.model)(probs), expected, atol=1e-5)
    decided = Run(shutil.copytree(run.path, tmp_path / "decided"))
    decision = decided.path / "model" / "decision.json"
    write_json(decision, read_json(decision) | {"calibration": {"kind": "temperature", "task": "multiclass",
                                                                "temperature": 2.0}})  # fmt: skip
    content = read_json(decision)
    assert is_calibrated(content)
    model = type("Model", (), {"decision": content, "classes": run.model.classes, "task": "multiclass"})
    soft = np.sqrt(probs) / np.sqrt(probs).sum(1, keepdims=True)
    np.testing.assert_allclose(calibrated_by(decided, model)(probs), soft, atol=1e-5)


def test_rounds_train_between_and_go_on(
    run: Run, rest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    from anmok.stages import pseudo as module

    def stopped(*arguments: object) -> Run:
        retrained(*arguments)  # type: ignore[arg-type]
        raise Interrupted("stopped after step 3, as asked.")

    options: dict[str, Any] = {"out": tmp_path / "t.parquet", "confidence": 0.8, "rounds": 2, "threads": 1,
                               "views": "none"}  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(module, "retrained", stopped)
        with pytest.raises(Interrupted, match="after round 1 of 2"):
            pseudo(run, rest, **options)
    trained = Run(tmp_path / "t.rounds" / "round-1")
    when = (trained.path / "events.jsonl").stat().st_mtime_ns
    made = pseudo(run, rest, **options)
    assert (trained.path / "events.jsonl").stat().st_mtime_ns == when  # it was there, and was taken
    assert [found["model"] for found in made.rounds] == [run.model.hash, trained.model.hash]
    assert trained.table.rows.filter(pl.col("pseudo")).height == made.rounds[0]["selected"]
    assert made.table.rows.filter(pl.col("pseudo")).height == made.rounds[1]["selected"]
    assert "round 2" in repr(made)
    (tmp_path / "t.parquet").unlink()
    with pytest.raises(UsageError, match="another selection"):
        pseudo(run, rest, **options | {"confidence": 0.6})


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"out": "t.csv"}, "expected a .parquet"),
        ({"confidence": 1.5}, "probability in"),
        ({"views": "flip"}, "Did you mean flips"),
        ({"rounds": 0}, "1 or more"),
        ({"per_class": "few"}, "--per-class"),
        ({"image_rot": "x"}, "no such setting"),
    ],
)
def test_wrong_calls(run: Run, rest: Path, tmp_path: Path, options: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        pseudo(run, rest, **{"out": tmp_path / "t.parquet", **options})


def test_on_the_command_line(run: Run, rest: Path, tmp_path: Path, cli: Callable[..., Any]) -> None:
    done = cli("pseudo", run.path, rest, "--out", tmp_path / "t.parquet", "--confidence", "0.8", "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert f"next: anmok train {tmp_path / 't.parquet'}" in done.stdout
    assert "not calibrated" in done.stderr
    again = cli("pseudo", run.path, rest, "--out", tmp_path / "t.parquet")
    assert again.returncode == 2
    assert "exists" in again.stderr


# FixMatch


@pytest.fixture(scope="module")
def fixmatch(run: Run, rest: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """FixMatch on the few labelled digits and the others, of which some are validation images."""
    home = tmp_path_factory.mktemp("fixmatch")
    shutil.copytree(rest, home / "rest")
    val = Path(run.table.root) / run.table.where("val").rows["id"][0]
    shutil.copy(val, home / "rest" / "leak.png")
    return anmok.train(
        Table.load(run.path / "table.parquet"), objective="fixmatch", unlabeled=str(home / "rest"), out=home / "run",
        semi={"ratio": 2, "threshold": 0.7, "operations": 1, "magnitude": 3}, **QUICK | {"epochs": 3},
    )  # fmt: skip


def test_fixmatch_leaves_a_run_as_any_other(fixmatch: Run, run: Run, rest: Path) -> None:
    assert fixmatch.finished
    assert fixmatch.config.objective.name == "fixmatch"
    locked = Table.load(fixmatch.path / semi.FILE)
    near = pseudo_refused.refuse(run.table, anmok.open(rest), threads=1)  # digits of 8 pixels do look alike
    assert len(near) < 0.2 * 200
    assert set(locked.rows["id"]) == {p.name for p in rest.iterdir()} - set(near)
    assert "leak.png" not in set(locked.rows["id"])
    assert all(0 <= h["val"]["taken"] <= 1 for h in fixmatch.history)
    assert fixmatch.history[-1]["val"]["taken"] > 0
    assert 0 < fixmatch.history[-1]["val"]["agreement"] <= 1
    assert fixmatch.predictions("val").ids == run.predictions("val").ids
    assert fixmatch.evaluation("val").value("accuracy") > 0.3  # chance 0.25
    assert anmok.evaluate(fixmatch)["n"] == len(run.table.where("test"))


def test_fixmatch_resumes_exactly(fixmatch: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import load_file

    from anmok.stages import run_calls

    config = fixmatch.config
    calls = 0

    def stop_at_seven() -> bool:
        nonlocal calls
        calls += 1
        return calls == 7

    class Stopping:
        def __enter__(self) -> Any:
            return stop_at_seven

        def __exit__(self, *_: object) -> None:
            pass

    options: dict[str, Any] = {
        "objective": "fixmatch", "unlabeled": config.semi.unlabeled, "semi": config.semi.model_dump(),
    }  # fmt: skip
    options["semi"].pop("unlabeled")
    table = Table.load(fixmatch.path / "table.parquet")
    with monkeypatch.context() as patch:
        patch.setattr(run_calls, "polite_stop", Stopping)
        with pytest.raises(Interrupted):
            anmok.train(table, out=tmp_path / "run", **options, **QUICK | {"epochs": 3})
    again = anmok.train(resume=tmp_path / "run")
    mine, theirs = (load_file(r.path / "model" / "model.safetensors") for r in (again, fixmatch))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert [h["val"] for h in again.history] == [h["val"] for h in fixmatch.history]


def test_batches_of_both_kinds_are_a_function_of_the_step(fixmatch: Run) -> None:
    job = semi.set_up(fixmatch.path, fixmatch.config, None)
    batches: Any = job.train
    assert isinstance(batches, SemiBatches)
    assert len(batches) == max(len(batches.labelled), len(batches.unlabelled))
    whole = list(batches.epoch(1))
    later = list(batches.epoch(1, 2))
    assert len(whole) == len(batches)
    for one, other in zip(whole[2:], later, strict=True):
        assert one.ids == other.ids
        assert all(np.array_equal(a, b) for a, b in zip(one.images, other.images, strict=True))
    first = whole[0]
    known = first.targets >= 0
    assert np.array_equal(first.images[0][known], first.images[1][known])
    assert not np.array_equal(first.images[0][~known], first.images[1][~known])
    labels = dict(zip(job.table.rows["id"], job.table.targets(), strict=True))
    assert [labels[i] for i, k in zip(first.ids, known, strict=True) if k] == first.targets[known].tolist()
    seen = [i for b in whole for i, t in zip(b.ids, b.targets, strict=True) if t < 0]
    longer = len(batches.unlabelled) >= len(batches.labelled)
    assert not longer or sorted(seen) == sorted(batches.unlabelled.table.rows["id"].to_list())
    batches.close()


def test_rows_are_spread_evenly() -> None:
    from anmok.core.types import Batch

    def of(n: int, start: int) -> np.ndarray:
        return np.arange(start, start + n, dtype=np.uint8).reshape(n, 1, 1, 1)

    known = Batch(of(2, 0), np.array([3, 4]), ["a", "b"])
    mixed = among(known, Batch((of(4, 10), of(4, 20)), np.full(4, -1), ["c", "d", "e", "f"]))
    assert mixed.ids == ["c", "a", "d", "e", "b", "f"]
    assert mixed.targets.tolist() == [-1, 3, -1, -1, 4, -1]
    assert mixed.images[0].ravel().tolist() == [10, 0, 11, 12, 1, 13]
    assert mixed.images[1].ravel().tolist() == [20, 0, 21, 22, 1, 23]


def test_onward_crosses_epochs() -> None:
    class Three:
        def __len__(self) -> int:
            return 3

        def epoch(self, epoch: int, start: int) -> Any:
            return iter([(epoch, i) for i in range(start, 3)])

    stream = onward(Three(), 5)  # type: ignore[arg-type]
    assert [next(stream) for _ in range(5)] == [(1, 2), (2, 0), (2, 1), (2, 2), (3, 0)]


def test_what_fixmatch_refuses(run: Run, rest: Path, tmp_path: Path) -> None:
    table = run.table
    with pytest.raises(UsageError, match="--unlabeled FOLDER"):
        anmok.train(table, objective="fixmatch", out=tmp_path / "a", **QUICK)
    with pytest.raises(UsageError, match="--objective fixmatch"):
        anmok.train(table, unlabeled=str(rest), out=tmp_path / "b", **QUICK)
    only = tmp_path / "only"
    only.mkdir()
    shutil.copy(Path(table.root) / table.where("test").rows["id"][0], only / "x.png")
    with pytest.raises(DataError, match="none of the unlabelled images is left"):
        anmok.train(table, objective="fixmatch", unlabeled=str(only), out=tmp_path / "c", **QUICK)
    assert not (tmp_path / "c").exists()
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    (only / "y.png").write_bytes(buffer.getvalue())
    with pytest.raises(UsageError, match="mixup and cutmix"):
        anmok.train(table, objective="fixmatch", unlabeled=str(only), out=tmp_path / "d",
                    **QUICK | {"augment": {"policy": "none", "mixup": 0.2}})  # fmt: skip
