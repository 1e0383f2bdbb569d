from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anmok
from anmok.core.errors import UsageError
from anmok.stages.audit import audit, unsafe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label in ("cat", "dog"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for i in range(2):
            pixels = np.full((9, 9 + 40 * i, 3), 40 * i + len(label) + ord(label[0]) % 100, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / label / f"{i}.png")
    return tmp_path / "set"


def test_audit_of_a_source_into_a_new_folder(folder: Path, tmp_path: Path) -> None:
    result = audit(folder, out=tmp_path / "out", threads=1)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["audit.json", "findings.parquet", "images.parquet"]
    assert result.summary["findings"] == {"odd-aspect": 2, "tiny-class": 2}
    assert not unsafe(result)


def test_thresholds_are_settings(folder: Path) -> None:
    settings = {"audit.tiny_class": 1, "audit.aspect": 10}
    assert audit(folder, **settings).summary["findings"] == {}
    assert audit(folder, layers=(settings,)).summary["findings"] == {}


def test_an_existing_folder_is_refused_before_any_work(folder: Path) -> None:
    with pytest.raises(UsageError, match="exists"):
        audit(folder / "no such source", out=folder)


def test_the_room_is_the_verb(folder: Path) -> None:
    assert anmok.audit(anmok.open(folder)).summary["images"] == 4
