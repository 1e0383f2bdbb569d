"""What the tests of model folders share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from model_folders import KOREAN, Make, picture, wake
from PIL import Image

from anmok.augment.preprocess import Preprocess
from anmok.deploy.bundle import save_bundle
from anmok.models.build import build
from anmok.models.classifier import Classifier
from anmok.models.config import ModelConfig


@pytest.fixture(autouse=True)
def _few_threads() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Five pictures of several shapes and formats."""
    folder = tmp_path / "사진"
    folder.mkdir()
    out = []
    for i, (height, width, suffix) in enumerate(
        [(60, 90, "png"), (200, 131, "jpg"), (77, 77, "png"), (300, 400, "jpg"), (40, 33, "webp")]
    ):
        out.append(folder / f"{i}.{suffix}")
        Image.fromarray(picture(height, width, i)).save(out[-1], quality=95)
    return out


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Build a classifier by name and save it: (folder, classifier, preprocess)."""

    def made(
        name: str, classes: list[str] = KOREAN, task: Any = "multiclass", *, size: int | None = 64, channels: int = 3,
        fit: Any = "squash", crop_pct: float = 1.0, drop: float | None = None, **options: Any,
    ) -> tuple[Path, Classifier, Preprocess]:  # fmt: skip
        built = build(ModelConfig(name=name, drop=drop), classes, task, channels, size)
        classifier = built.classifier.eval()
        wake(classifier)
        preprocess = Preprocess(
            built.image_size,
            "gray" if channels == 1 else "rgb",
            fit,
            crop_pct,
            classifier.pixel_mean,
            classifier.pixel_std,
        )
        if drop is not None:
            options["model_args"] = {"drop_rate": drop}
        folder = save_bundle(tmp_path / "model", classifier, preprocess, architecture=name, **options)
        return folder, classifier, preprocess

    return made
