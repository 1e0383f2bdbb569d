"""`ask` and `describe` as stages and as commands, on tiny models in the hub's layout."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from anmok.core.errors import UsageError
from anmok.data.captions import captions_of, open_pairs
from anmok.data.config import DataConfig
from anmok.nshot.vision_language import load_vision_language
from anmok.stages.ask import ask
from anmok.stages.describe import describe

sys.path.insert(0, str(Path(__file__).parents[1] / "nshot"))
import tiny_speakers


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three readable images, one of which is named like a formula, and a text that calls itself an image."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "=c.png"):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)).save(folder / name)
    (folder / "bad.png").write_bytes((folder / "a.png").read_bytes()[:200])
    return folder


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_speakers.blip(tmp_path_factory.mktemp("speakers") / "blip")


def test_a_described_folder_is_a_source_of_pairs(photos: Path, captioner: Path) -> None:
    out = photos / "captions.csv"
    said = describe(photos, model=captioner, out=out, max_tokens=6)
    assert len(said) == 4
    assert "bad.png: no answer, truncated" in repr(said)
    model = load_vision_language(captioner)
    expected = model.describe([np.asarray(Image.open(photos / "a.png"))], max_tokens=6)[0]
    assert f"a.png: {expected}" in repr(said)
    pairs = captions_of(open_pairs(out, DataConfig(max_rejects=0.3)))
    assert len(pairs) == 3  # the unreadable one has none
    assert pairs["a.png"] == [expected]
    assert "=c.png" in pairs
    frame = pl.read_csv(out)
    assert frame.filter(pl.col("id") == "a.png")["caption"].to_list() == [expected]
    assert frame["image"].to_list().count("./=c.png") == 1
    assert frame.filter(pl.col("id") == "bad.png")["caption"].to_list() == [None]


def test_a_sheet_and_parquet(photos: Path, captioner: Path, tmp_path: Path) -> None:
    describe(photos / "a.png", model=captioner, out=tmp_path / "sheet.png", max_tokens=3)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 600
    said = describe(photos / "b.jpg", model=captioner, prompt="a can", out=tmp_path / "x.parquet", max_tokens=3)
    assert pl.read_parquet(tmp_path / "x.parquet")["caption"][0].startswith("a can")
    assert "<td>b.jpg</td>" in said._repr_html_()


def test_questions(photos: Path, tmp_path: Path) -> None:
    model = load_vision_language(tiny_speakers.vilt(tmp_path / "vilt"))
    said = ask(photos / "a.png", "is this glass?", model=model, out=tmp_path / "x.csv")
    direct = model.ask([np.asarray(Image.open(photos / "a.png"))], "is this glass?")[0]
    assert pl.read_csv(tmp_path / "x.csv")["answer"].to_list() == [direct.text]
    assert f"{direct.text} ({direct.probability:.3f})" in repr(said)
    with pytest.raises(UsageError, match="empty"):
        ask(photos, " ", model=model)
    with pytest.raises(UsageError, match=r"expected a \.csv"):
        ask(photos, "what?", model=model, out=tmp_path / "x.docx")


def test_examples(photos: Path, tmp_path: Path) -> None:
    model = load_vision_language(tiny_speakers.idefics(tmp_path / "idefics"))
    said = ask(photos / "a.png", "what is this?", model=model, examples=[f"{photos / 'b.jpg'}=a can"], max_tokens=5)
    assert len(said) == 1
    with pytest.raises(UsageError, match="IMAGE=TEXT"):
        ask(photos / "a.png", "what is this?", model=model, examples=[str(photos / "b.jpg")])
    with pytest.raises(UsageError, match="no such image"):
        ask(photos / "a.png", "what is this?", model=model, examples=["nowhere.jpg=a can"])


@pytest.mark.slow
def test_the_commands(
    photos: Path, captioner: Path, tmp_path: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = cli("describe", photos / "a.png", "--model", captioner, "--out", tmp_path / "c.csv", "--max-tokens", 4)
    assert done.returncode == 0, done.stderr
    assert f"next: anmok train {tmp_path / 'c.csv'} --objective image-text" in done.stdout
    gone = cli("ask", photos / "a.png", "what is this?")
    assert gone.returncode == 4
    assert "HuggingFaceTB/SmolVLM-256M-Instruct" in gone.stderr
    assert "HF_HUB_OFFLINE" in gone.stderr
