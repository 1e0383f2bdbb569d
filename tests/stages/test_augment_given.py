"""An augmentation given as a file or an object goes with its run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import anmok
from anmok.augment import compose, flip, rotate
from anmok.core.errors import DataError, UsageError
from anmok.stages import job

SETTINGS = {"model": "lenet", "epochs": 1, "image_size": 32, "plan": "none", "batch_size": 8}


@pytest.fixture
def table(tmp_path: Path) -> Any:
    rng = np.random.default_rng(0)
    for label in "ab":
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(16):
            Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / "data" / label / f"{i}.png")
    return anmok.open(tmp_path / "data")


def begun(table: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, augment: Any) -> None:
    """A run that was ended after its start event."""

    def ends(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(job, "fit", ends)
        with pytest.raises(KeyboardInterrupt):
            anmok.train(table, out=folder, augment=augment, **SETTINGS)


def mirrored(image: np.ndarray) -> np.ndarray:
    return image[:, ::-1]


def test_the_loader_takes_a_function(table: Any) -> None:
    common: dict[str, Any] = {"batch_size": 8, "image_size": 32, "normalize": False, "shuffle": False}
    plain = [batch.images for batch in anmok.data.loader(table, augment=lambda image: image, threads=1, **common)]
    found = [batch.images for batch in anmok.data.loader(table, augment=mirrored, threads=4, **common)]
    for a, b in zip(plain, found, strict=True):
        assert np.abs(a[:, :, ::-1].astype(int) - b).max() <= 1  # the resize rounds the other way round


def test_a_changed_file_does_not_change_a_run(table: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, run = tmp_path / "own.toml", tmp_path / "run"
    path.write_text("[[steps]]\nop = 'rotate'\ndegrees = 20\n", encoding="utf-8")
    whole = anmok.train(table, out=tmp_path / "whole", augment=str(path), **SETTINGS)
    begun(table, run, monkeypatch, str(path))
    path.write_text("[[steps]]\nop = 'rotate'\ndegrees = 90\n", encoding="utf-8")
    resumed = anmok.train(resume=run)
    assert [epoch["loss"] for epoch in resumed.history] == [epoch["loss"] for epoch in whole.history]
    begun(table, tmp_path / "lost", monkeypatch, str(path))
    (tmp_path / "lost" / "augment.toml").unlink()
    with pytest.raises(DataError, match="copy of its augmentation is missing"):
        anmok.train(resume=tmp_path / "lost")


def test_a_function_is_given_again(table: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(table, tmp_path / "run", monkeypatch, mirrored)
    with pytest.raises(UsageError, match="Give it again"):
        anmok.train(resume=tmp_path / "run")
    with pytest.raises(UsageError, match="another augmentation"):
        anmok.train(resume=tmp_path / "run", augment=np.fliplr)
    assert anmok.train(resume=tmp_path / "run", augment=mirrored).finished


def test_a_policy_is_kept(table: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(table, tmp_path / "run", monkeypatch, compose(flip(), rotate(5)))
    run = anmok.train(resume=tmp_path / "run")
    assert run.finished
    assert run.config.augment.policy == "augment.toml"
    begun(table, tmp_path / "other", monkeypatch, compose(flip(), rotate(5)))
    with pytest.raises(UsageError, match="another augmentation"):
        anmok.train(resume=tmp_path / "other", augment=compose(flip()))


def test_what_gives_no_image_leaves_no_run(table: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Leave normalisation out"):
        anmok.train(table, out=tmp_path / "run", augment=lambda image: image / 255.0 - 0.5, **SETTINGS)
    assert not (tmp_path / "run").exists()
