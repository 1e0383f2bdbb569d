"""Calls that cannot be carried out are refused before any work, leave nothing behind, and can be put right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from small_runs import SMALL, digits_and

import anmok
from anmok.core.errors import DataError, MachineError, UsageError
from anmok.data.table import Table
from anmok.stages.predict import predict
from anmok.stages.run import Run


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small run on four classes."""
    return anmok.train(digits, out=tmp_path_factory.mktemp("calls") / "run", **SMALL)


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"model": "resnt18"}, UsageError, "no model resnt18. Did you mean resnet18"),
        ({"model": "torchvision/resnet81"}, UsageError, "no model resnet81. Did you mean resnet1"),
        ({"model": "no_such_module:net"}, UsageError, "cannot import no_such_module"),
        ({"weights": "none.safetensors"}, UsageError, "no weights here"),
        ({"device": "gpu"}, UsageError, "no such device: gpu"),
        ({"device": "cuda:99"}, MachineError, "cuda:99 is not"),
        ({"model": {"name": "lenet", "drop": 0.5}}, UsageError, "lenet does not take drop_rate"),
    ],
)
def test_a_wrong_choice_leaves_nothing_behind_and_can_be_put_right(
    digits: Path, tmp_path: Path, settings: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        anmok.train(digits, out=tmp_path / "run", **{**SMALL, **settings})
    assert list(tmp_path.iterdir()) == []


def test_names_are_looked_for_before_any_image_is_read(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Table, "hashed", lambda self: pytest.fail("images were read"))
    with pytest.raises(UsageError, match="no model resnt18"):
        anmok.train(digits, out=tmp_path / "run", **{**SMALL, "model": "resnt18"})


def test_a_folder_that_is_no_run_is_left_as_it_was(digits: Path, tmp_path: Path) -> None:
    folder = digits_and(tmp_path, digits)
    before = sorted(folder.rglob("*"))
    with pytest.raises(UsageError, match="exists already"):
        anmok.train(folder, out=folder, **SMALL)
    assert sorted(folder.rglob("*")) == before


@pytest.fixture
def moved(digits: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A finished run whose images have gone to another folder."""
    folder = digits_and(tmp_path, digits)
    anmok.train(folder, out=tmp_path / "run", **SMALL)
    return tmp_path / "run", folder.rename(tmp_path / "elsewhere")


def test_a_run_finds_its_images_again(moved: tuple[Path, Path], tmp_path: Path) -> None:
    run, images = moved
    remedy = rf"its images lie in {tmp_path / 'set'}, which is not there.*--resume {run} --image-root FOLDER"
    with pytest.raises(DataError, match=remedy) as caught:
        anmok.evaluate(run)
    assert caught.value.code == "missing-root"
    fingerprint = Run(run).table.fingerprint
    again = anmok.train(resume=run, image_root=str(images))
    assert again.table.root == images
    assert again.table.fingerprint == fingerprint
    assert anmok.evaluate(again)["n"] == len(again.table.where(split="test"))


def test_a_run_takes_no_other_images_for_its_own(moved: tuple[Path, Path], tmp_path: Path) -> None:
    run, images = moved
    before = (run / "table.parquet").read_bytes()
    with pytest.raises(UsageError, match=r"no such folder: .*Did you mean elsewhere"):
        anmok.train(resume=run, image_root=str(tmp_path / "elsewere"))
    Image.new("RGB", (9, 9)).save(next(images.rglob("*.png")))
    with pytest.raises(DataError, match="changed content: 1 image"):
        anmok.train(resume=run, image_root=str(images))
    with pytest.raises(UsageError, match="Only --image-root may be said"):
        anmok.train(resume=run, image_root=str(images), epochs=3)
    assert (run / "table.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 5, "out": "p.csv"}, "--top-k must be between 1 and 4, found 5"),
        ({"top_k": 0, "out": "p.csv"}, "--top-k must be between 1 and 4, found 0"),
        ({"top_k": 2}, "--top-k needs --out FILE.csv"),
        ({"top_k": 2, "out": "p.parquet"}, "--top-k needs --out FILE.csv"),
        ({"template": "t.csv", "out": "p.parquet"}, "--template needs --out FILE.csv"),
        ({"template": "t.csv", "top_k": 2, "out": "p.csv"}, "give one of them"),
        ({"template": "t.csv", "out": "p.csv"}, "cannot read the template"),
        ({"out": "p.txt"}, r"expected a \.csv or \.parquet"),
        ({"threads": -1}, "threads must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"device": "gpu"}, "no such device: gpu"),
    ],
)
def test_a_wrong_call_of_predict_is_refused_before_any_image_is_read(
    run: Run, digits: Path, tmp_path: Path, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anmok.data.storage import Storage

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Storage, "read", lambda *_: pytest.fail("an image was read"))
    with pytest.raises(UsageError, match=message):
        predict(run, digits, **options)
    assert list(tmp_path.iterdir()) == []
