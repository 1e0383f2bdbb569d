from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anmok
from anmok.audit.result import load_audit
from anmok.core.errors import DataError, UsageError
from anmok.stages.audit import audit, unsafe
from anmok.stages.split import split


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label in ("cat", "dog"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for i in range(2):
            pixels = np.random.default_rng(ord(label[0]) + i).integers(0, 256, (9, 9 + 40 * i, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / label / f"{i}.png")
    return tmp_path / "set"


def test_audit_of_a_source_into_a_new_folder(folder: Path, tmp_path: Path) -> None:
    result = audit(folder, out=tmp_path / "out", threads=1)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "audit.json", "findings.parquet", "images.parquet", "report.html",
    }  # fmt: skip
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


@pytest.fixture
def copies(folder: Path) -> Path:
    """The set with a file under two names, and one more image of each class."""
    (folder / "cat" / "copy.png").write_bytes((folder / "cat" / "0.png").read_bytes())
    for label, shade in (("cat", 200), ("dog", 90)):
        Image.fromarray(np.full((9, 9, 3), shade, np.uint8)).save(folder / label / "more.png")
    return folder


def test_an_audit_comes_back_from_its_folder(copies: Path, tmp_path: Path) -> None:
    made = audit(copies, out=tmp_path / "out")
    read = load_audit(tmp_path / "out")
    assert read.images.equals(made.images)
    assert read.findings.equals(made.findings)
    assert read.summary == made.summary
    assert made.duplicates["ids"].to_list() == [["cat/0.png", "cat/copy.png"]]
    with pytest.raises(DataError, match="no audit here"):
        load_audit(tmp_path)
    (tmp_path / "out" / "findings.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(DataError, match="a damaged audit"):
        load_audit(tmp_path / "out")


def test_a_split_carries_out_what_was_decided(copies: Path, tmp_path: Path) -> None:
    audit(copies, out=tmp_path / "out")
    shares = {"split.test": 0.3, "split.val": 0.3}
    kept = split(copies, audit=tmp_path / "out", out=tmp_path / "kept.parquet", **shares)
    sides = dict(kept.rows.select("id", "split").iter_rows())
    assert sides["cat/0.png"] == sides["cat/copy.png"]
    assert "audit: 2 images in 1 duplicate groups" in " ".join(kept.notes)
    fewer = split(copies, audit=tmp_path / "out", drop=["exact-duplicate"], out=tmp_path / "fewer.parquet", **shares)
    assert set(kept.rows["id"]) - set(fewer.rows["id"]) == {"cat/copy.png"}
    assert (copies / "cat" / "copy.png").is_file()  # originals are never touched
    assert anmok.open(tmp_path / "fewer.parquet").parents[0] == anmok.open(copies).fingerprint
    with pytest.raises(UsageError, match="Did you mean exact-duplicate"):
        split(copies, audit=tmp_path / "out", drop=["exact-duplicates"])
    with pytest.raises(UsageError, match="needs --audit"):
        split(copies, drop=["dark"])
