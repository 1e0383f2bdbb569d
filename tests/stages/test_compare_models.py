"""The comparison as a whole: rows, failures, resuming, and what it refuses before anything is trained."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from anmok.core.config import read_toml, resolve
from anmok.core.errors import DataError, Interrupted, UsageError
from anmok.core.files import write_json
from anmok.data import Table
from anmok.stages.compare import check_models, compare
from anmok.stages.compare_child import folder_of, run_child
from anmok.stages.compare_result import Comparison
from anmok.stages.compare_row import Row, load_row
from anmok.stages.compare_settings import CompareTree
from anmok.stages.defaults import HEAD_LR, WHOLE
from anmok.stages.run import Run
from anmok.stages.split import split
from anmok.stages.train import train

pytest.importorskip("torch")

SMALL: dict[str, Any] = {
    "image_size": 32, "batch_size": 16, "plan": "none", "augment": "none", "threads": 1,
    "compare": {"shares": (0.3, 1), "images": 40, "batch": 4},
}  # fmt: skip
BROKEN = """
import os, signal
def no_module(num_classes): return "nothing"
def killed(num_classes): os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANMOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_every_model_is_a_row(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "broken_nets.py").write_text(BROKEN)
    names = ["lenet", "pixels/ridge", "broken_nets:no_module", "broken_nets:killed"]
    found = compare(digits, out=tmp_path / "c", models=names, epochs=2, **SMALL)
    rows = {row.model: row for row in found.rows}
    assert list(rows)[2:] == names[2:]
    assert "not a torch module" in rows["broken_nets:no_module"].error
    assert "SIGKILL" in rows["broken_nets:killed"].error
    table = Table.load(tmp_path / "c" / "table.parquet")
    test = table.where(split="test")

    run = Run(tmp_path / "c" / "lenet")  # an ordinary run, on the same rows
    assert run.finished
    assert run.table.fingerprint == table.fingerprint
    p = run.predictions("test")
    right = int((p.probs.argmax(1) == p.targets).sum())
    lenet = rows["lenet"]
    assert lenet.accuracy is not None
    assert lenet.accuracy["value"] == right / len(test)
    assert sorted(p.ids) == sorted(test.rows["id"])
    assert lenet.parameters == 3 * 6 * 25 + 6 + 6 * 16 * 25 + 16 + 400 * 120 + 120 + 120 * 84 + 84 + 84 * 4 + 4
    assert (lenet.epochs, lenet.image_size, lenet.family) == (2, 32, "CNN")
    assert lenet.gmacs is not None
    conv = 28 * 28 * 6 * 75 + 10 * 10 * 16 * 150
    assert lenet.gmacs * 1e9 == pytest.approx(conv + 400 * 120 + 120 * 84 + 84 * 4)
    assert lenet.peak_memory_bytes is not None
    assert 5e7 < lenet.peak_memory_bytes < 8e9
    assert lenet.latency_ms is not None
    assert lenet.latency_ms > 0
    assert lenet.runtime.split()[0] in ("torch", "onnxruntime", "openvino")
    assert not any("torch's" in note for note in lenet.notes)
    assert [part["size"] for part in lenet.sizes] == [24, 40]
    assert all(part["accuracy"]["value"] is not None for part in lenet.sizes)
    assert lenet.reach is not None
    assert 0 < lenet.reach["value"] < 0.6
    assert [(part["share"], part["images"]) for part in lenet.shares] == [(0.3, 32), (1.0, 112)]
    assert not (tmp_path / "c" / "lenet" / "shares" / "0.3" / "checkpoints").exists()

    ridge = rows["pixels/ridge"]
    assert ridge.accuracy is not None
    assert ridge.accuracy["value"] > 0.9
    assert ridge.simple
    assert ridge.setting.startswith("alpha")
    assert ridge.parameters == 4 * (32 * 32 * 3 + 1)
    assert ridge.reach is not None
    assert "no receptive field" in ridge.reach["reason"]

    flat = pl.read_csv(tmp_path / "c" / "compare.csv")
    assert flat["model"].to_list() == [row.model for row in found.rows]
    assert flat.filter(pl.col("model") == "lenet")["accuracy"].item() == pytest.approx(right / len(test))
    stored = json.loads((tmp_path / "c" / "compare.json").read_text())
    assert stored["fingerprint"] == table.fingerprint
    assert {row["model"] for row in stored["models"]} == set(names)
    for name in ("report.html", "pareto.png", "data.png", "robustness.png"):
        assert (tmp_path / "c" / name).stat().st_size > 5000
    said = repr(found)
    assert "lenet" in said
    assert "SIGKILL" in said

    row = load_row(tmp_path / "c" / "lenet", "lenet")
    again = compare(resume=tmp_path / "c")  # only those that failed are tried again
    assert load_row(tmp_path / "c" / "lenet", "lenet") == row
    assert len(again.rows) == 4


@pytest.mark.slow
def test_too_little_time_and_too_few_images_are_said(digits: Path, tmp_path: Path) -> None:
    settings = SMALL | {"compare": {"shares": (0.01, 1), "images": 16, "batch": 2}}
    found = compare(digits, out=tmp_path / "c", models="lenet,colors/tree", minutes=1e-6, **settings)
    tree, lenet = found.rows
    assert lenet.code == "budget"
    assert "too few for one epoch" in lenet.error
    assert not (tmp_path / "c" / "lenet" / "config.toml").exists()
    assert "fewer than 2 for each of 4 classes" in tree.shares[0]["accuracy"]["reason"]
    with pytest.raises(DataError, match="no model has figures"):
        compare(digits, out=tmp_path / "d", models="lenet", minutes=1e-6, **settings)
    assert (tmp_path / "d" / "compare.csv").is_file()


PROGRAM = """
import sys
from anmok.core.errors import Interrupted
from anmok.stages.compare import compare
try:
    compare(sys.argv[1], out=sys.argv[2], models="lenet", epochs=40, image_size=32, batch_size=16, plan="none",
            augment="light", threads=1, compare={"shares": (1,), "images": 16, "batch": 2})
except Interrupted as error:
    print(error)
    raise SystemExit(5)
"""


@pytest.mark.slow
def test_interrupted_and_gone_on_with_it_is_the_same(digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "c"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, digits, out], stdout=subprocess.PIPE, text=True)
    log, ends = out / "lenet" / "events.jsonl", time.monotonic() + 120
    while time.monotonic() < ends and not (log.exists() and log.read_text().count('"epoch"') > 2):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 5
    assert f"anmok compare --resume {out}" in said
    assert any((out / "lenet" / "checkpoints").glob("step-*"))  # its own process was asked, and saved
    compare(resume=out)
    interrupted = load_file(out / "lenet" / "model" / "model.safetensors")
    settings = Run(out / "lenet").config
    assert settings.minutes is None
    table = Table.load(out / "table.parquet")
    whole = train(
        table, out=tmp_path / "whole", model="lenet", epochs=40, image_size=32, batch_size=16, plan="none",
        augment="light", threads=1, cache="disk", checkpoint_every="1 min",
    )  # fmt: skip
    for name, tensor in load_file(whole.path / "model" / "model.safetensors").items():
        np.testing.assert_array_equal(interrupted[name], tensor)


def test_every_name_is_checked_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        compare("nowhere", out=tmp_path / "c", models="lenett,resnet18,hog/logistc,pixls/knn,torchvision/resnet19")
    for said in ("Did you mean lenet,", "Did you mean hog/logistic?", "Did you mean pixels/knn?", "resnet19"):
        assert said in str(error.value)
    assert "resnet18." not in str(error.value)
    assert error.value.code == "model"
    assert not (tmp_path / "c").exists()
    with pytest.raises(UsageError, match="no models are named"):
        compare("nowhere", out=tmp_path / "c")
    (tmp_path / "two_nets.py").write_text("def net(num_classes): ...\nNet = net\n")
    with pytest.raises(UsageError, match="same folder"):
        check_models(resolve(CompareTree, {"models": "two_nets:net,two_nets:Net"}))
    with pytest.raises(UsageError, match="shares lie above 0"):
        resolve(CompareTree, {"models": "lenet", "compare.shares": "0,1"})


def test_what_exists_is_not_written_over(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    with pytest.raises(UsageError, match="exists"):
        compare(digits, out=tmp_path / "c", models="colors/tree")
    with pytest.raises(UsageError, match="takes no data"):
        compare(digits, resume=tmp_path / "c")
    with pytest.raises(UsageError, match="no comparison here"):
        compare(resume=tmp_path / "c")
    with pytest.raises(UsageError, match="nothing to compare on"):
        compare(models="colors/tree")


def test_without_a_test_split_one_is_drawn(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def filled(folder: Path, name: str, stop: Any) -> Row:
        known = {"value": 0.5, "low": 0.4, "high": 0.6}
        own = folder_of(folder, name)
        return Row(model=name, accuracy=known, macro_f1=known, latency_ms=1.0, done=True).save(own)

    monkeypatch.setattr("anmok.stages.compare.run_child", filled)
    rows = [
        {
            "image": f"{path.parent.name}/{path.name}",
            "label": path.parent.name,
            "split": "val" if i % 5 == 0 else "train",
        }
        for i, path in enumerate(sorted(digits.rglob("*.png")))
    ]
    source = tmp_path / "list.csv"
    pl.DataFrame(rows).write_csv(source)
    found = compare(source, out=tmp_path / "c", models="colors/tree,pixels/knn", image_root=str(digits))
    assert {split: len(found.table.where(split=split)) for split in ("train", "val", "test")} == {
        "train": 112, "val": 24, "test": 24,
    }  # fmt: skip
    with pytest.raises(DataError, match="no labelled test image"):
        compare(source, out=tmp_path / "d", models="colors/tree", image_root=str(digits), **{"split.test": 0})
    assert not (tmp_path / "d").exists()


def test_what_is_left_open_is_as_a_training_has_it(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anmok.stages.compare._run", Comparison)
    names = [f"{path.parent.name}/{path.name}" for path in sorted(digits.rglob("*.png"))]
    pl.DataFrame({"image": names, "label": [f"{name[0]};all" for name in names]}).write_csv(tmp_path / "several.csv")
    several: dict[str, Any] = {"image_root": str(digits), "data.task": "multilabel"}
    for adapt, rate in (("full", None), ("head", HEAD_LR)):
        found = compare(tmp_path / "several.csv", out=tmp_path / adapt, models="lenet", adapt=adapt, **several)
        config = read_toml(found.path / "config.toml")
        assert config["augment"]["translate"] == WHOLE["translate"]
        assert config.get("optim", {}).get("lr") == rate


def test_a_failed_model_is_tried_again(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "c"
    split(digits).save(folder / "table.parquet")
    (folder / "config.toml").write_text('models = ["colors/tree"]\n')
    write_json(folder / "colors-tree" / "row.json", {"model": "colors/tree", "error": "why", "unknown": 1})
    found = Comparison(folder)
    assert found.missing == ["colors/tree"]
    assert found.rows[0].error == "why"
    assert "colors/tree has no figures: why" in repr(found)

    def interrupted(folder: Path, name: str, stop: Any) -> Row:
        raise Interrupted("stopped")

    monkeypatch.setattr("anmok.stages.compare.run_child", interrupted)
    with pytest.raises(Interrupted, match="anmok compare --resume"):
        compare(resume=folder)


def test_a_child_that_is_asked_to_stop_ends(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('models = ["colors/tree"]\n')
    with pytest.raises(Interrupted):
        run_child(tmp_path, "colors/tree", lambda: True)
    assert not (tmp_path / "colors-tree" / "row.json").exists()


def test_where_nothing_can_be_exported_the_speed_is_torchs_and_it_is_said_why(monkeypatch: pytest.MonkeyPatch) -> None:
    from anmok.core.errors import MachineError
    from anmok.stages import compare_network

    def refused(*_: Any, **__: Any) -> Any:
        raise MachineError("onnx is not installed.")

    monkeypatch.setattr(compare_network, "bench_model", refused)
    monkeypatch.setattr(compare_network, "with_speed", lambda row, *_: row.with_(latency_ms=7.0))
    own = SimpleNamespace(compare=SimpleNamespace(batch=32), runtime=SimpleNamespace(threads=1))
    row = compare_network._timed(Row(model="m", device="cpu"), None, SimpleNamespace(config=own))  # type: ignore[arg-type]
    assert (row.latency_ms, row.runtime, row.batch_runtime) == (7.0, "torch", "torch")
    assert row.notes == ("its speed is torch's, not that of an exported graph: onnx is not installed",)
