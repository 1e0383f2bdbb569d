"""A dual encoder of one's own as a stage: from pairs to a folder, resumed exactly, wrong calls named."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import anmok
from anmok.augment.preprocess import Preprocess
from anmok.core.errors import DataError, Interrupted, UsageError
from anmok.core.files import read_json, verify_manifest
from anmok.data.batches import Loader
from anmok.deploy.dual import load_dual
from anmok.stages import image_text_learn
from anmok.stages.image_text import ImageTextRun, image_text
from anmok.stages.image_text_recall import recall
from anmok.stages.image_text_settings import resolve_pairs

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from drawn_scenes import combinations, write_pairs

SMALL: dict[str, Any] = {
    "model": "lenet", "image_size": 32, "epochs": 2, "batch_size": 32, "plan": "none", "threads": 1, "cache": "none",
    "text": {"width": 32, "depth": 1, "heads": 2, "length": 16}, "pairs": {"dim": 16},
}  # fmt: skip


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 drawn scenes of 12 combinations."""
    return write_pairs(tmp_path_factory.mktemp("pairs"), combinations(3, 2, 2), 8, 32, 0, shares=(0.75, 0.25))


@pytest.fixture(scope="module")
def run(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> ImageTextRun:
    made = anmok.train(pairs, objective="image-text", out=tmp_path_factory.mktemp("runs") / "run", **SMALL)
    assert isinstance(made, ImageTextRun)
    return made


def test_a_run_leaves_what_a_run_leaves(run: ImageTextRun) -> None:
    names = {p.name for p in run.path.iterdir()}
    assert {"config.toml", "table.parquet", "events.jsonl", "checkpoints", "model", "encoder", "report.html"} <= names
    verify_manifest(run.path / "model")
    assert run.finished
    assert [sorted(h["val"]) for h in run.history] == [["image_to_text_r1", "loss", "text_to_image_r1"]] * 2
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/webp") >= 12
    assert 'data-figure="Retrieval"' in page
    assert "recall@1" in page
    assert "anmok search" in run.next
    assert run.config.augment.hflip == 0  # captions may say left and right


def test_the_folder_gives_the_vectors_that_were_judged(run: ImageTextRun) -> None:
    model = load_dual(run.path)
    val = run.table.where(split="val")
    loader = Loader(val, preprocess=Preprocess.from_dict(model.preprocess), batch_size=64)
    batches = list(loader.epoch())
    images = np.concatenate([b.images for b in batches])
    texts = sorted({t for own in val.rows["caption"].to_list() for t in own})
    alike = model.encode_images(images) @ model.encode_texts(texts).T
    truth = [texts.index(own[0]) for own in val.rows["caption"].to_list()]
    found = run.retrieval["recall"]["image_to_text"]["1"]["value"]
    assert found == pytest.approx(float((alike.argmax(1) == truth).mean()))
    assert run.retrieval["captions"] == len(texts)
    assert 1 <= model.scale <= 100
    assert model.bias == 0
    assert model.image_size == 32
    assert torch.equal(run.model.log_scale, model.log_scale)


def test_its_image_tower_starts_a_training(run: ImageTextRun, digits: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from anmok.models.build import build
    from anmok.models.config import ModelConfig

    built = build(ModelConfig(name="lenet", weights=str(run.path)), list("abcd"), "multiclass", 3, 32)
    state = built.classifier.backbone.state_dict()
    assert all(torch.equal(state[k], v) for k, v in load_file(run.path / "model" / "image.safetensors").items())


def test_stopped_and_resumed_is_bit_identical(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SMALL | {"pairs": {"dim": 16, "loss": "sigmoid"}, "optim": {"ema": 0.9}}
    whole = image_text(pairs, out=tmp_path / "whole", **settings)
    steps = iter([False, False, True])
    kept = image_text_learn.run_job
    monkeypatch.setattr(
        image_text_learn, "run_job", lambda job, events, stop, *rest: kept(job, events, lambda: next(steps), *rest)
    )
    with pytest.raises(Interrupted):
        image_text(pairs, out=tmp_path / "part", **settings)
    monkeypatch.undo()
    with pytest.raises(DataError, match="no model yet"):
        ImageTextRun(tmp_path / "part").load_model()
    again = anmok.train(resume=tmp_path / "part")
    for name in ("image.safetensors", "text.safetensors", "tokenizer.json"):
        assert (whole.path / "model" / name).read_bytes() == (again.path / "model" / name).read_bytes(), name
    assert [h["loss"] for h in whole.history] == [h["loss"] for h in again.history]
    assert load_dual(whole.path).bias != -10


def test_it_is_no_classifier(run: ImageTextRun) -> None:
    with pytest.raises(UsageError, match="dual encoder") as error:
        anmok.load(run.path)
    assert "zeroshot" in str(error.value)


def test_a_folder_that_was_touched_is_not_loaded(run: ImageTextRun, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run.path / "model", tmp_path / "model"))
    config = read_json(folder / "config.json")
    (folder / "config.json").write_text(json.dumps(config | {"dim": 8}))
    with pytest.raises(DataError) as error:
        load_dual(folder)
    assert error.value.code == "tampered"
    with pytest.raises(UsageError, match="no dual encoder"):
        load_dual(tmp_path / "nowhere")


def test_wrong_calls(pairs: Path, digits: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no captions"):
        anmok.train(digits, objective="image-text", out=tmp_path / "a", **SMALL)
    assert not (tmp_path / "a").exists()
    with pytest.raises(UsageError, match="heads"):
        resolve_pairs({"text": {"width": 30, "heads": 4}})
    with pytest.raises(UsageError, match=r"training\.select"):
        resolve_pairs({"training": {"select": "accuracy"}})
    with pytest.raises(UsageError, match="mixed image"):
        resolve_pairs({"augment": {"mixup": 0.2}})
    with pytest.raises(UsageError, match="loss"):
        anmok.train(pairs, objective="image-text", loss="focal", out=tmp_path / "b", **SMALL)
    same = tmp_path / "same.csv"
    lines = pairs.read_text(encoding="utf-8").splitlines()
    rows = [line.split(",")[0] for line in lines[1:]]
    same.write_text("image,caption\n" + "".join(f"{r},a thing\n" for r in rows), encoding="utf-8")
    with pytest.raises(DataError, match="all captions are the same"):
        anmok.train(same, objective="image-text", image_root=str(pairs.parent), out=tmp_path / "c", **SMALL)


def test_recall_by_hand() -> None:
    images, texts = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    pairs = np.stack([np.arange(3), np.arange(3)], 1)
    found = recall(images, texts[[1, 0, 2]], pairs)  # two captions are exchanged
    assert found.both["image_to_text"]["1"]["value"] == pytest.approx(1 / 3)
    assert found.both["text_to_image"]["5"]["value"] == 1
    assert found.chance["image_to_text"] == pytest.approx(1 / 3)
    collapsed = recall(np.ones((3, 1), np.float32), np.ones((3, 1), np.float32), pairs)
    assert collapsed.both["image_to_text"]["1"]["value"] == 0  # ties find nothing
    two = recall(images, np.concatenate([texts, texts]), np.concatenate([pairs, pairs + np.array([0, 3])]))
    assert [two.both[way]["1"]["value"] for way in two.both] == [1, 1]
    assert two.captions == 6
    shared = recall(images, texts, np.array([[0, 0], [1, 0], [1, 1], [2, 2]]))  # the first two share a caption
    assert shared.both["image_to_text"]["1"]["value"] == pytest.approx(1)
    assert shared.chance["text_to_image"] == pytest.approx((2 + 1 + 1) / 9)


@given(st.integers(0, 10_000))
def test_recall_against_a_full_sort(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images, texts = rng.normal(size=(6, 3)), rng.normal(size=(9, 3))
    belongs = rng.random((6, 9)) < 0.3
    found = recall(images, texts, np.argwhere(belongs))
    order = np.argsort(-(images @ texts.T), axis=1)
    asked = belongs.any(1)
    hits = [belongs[i, order[i, :5]].any() for i in np.flatnonzero(asked)]
    assert found.both["image_to_text"]["5"]["value"] == pytest.approx(np.mean(hits) if hits else 0.0)
