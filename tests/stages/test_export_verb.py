"""export and what follows: the folder, the choice of a runtime, and predictions without torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import polars as pl
import pytest
import torch
from small_runs import SMALL
from test_base_install import BLOCK, EXTRAS

import anmok
from anmok.core.errors import DataError, UsageError
from anmok.core.files import MANIFEST, read_json, sha256, verify_manifest, write_json, write_manifest
from anmok.data.decode import to_rgb
from anmok.deploy.bakeoff import Bounds
from anmok.deploy.decision import write_decision
from anmok.deploy.fast import FastModel
from anmok.stages import runtime_choice
from anmok.stages.bench_model import bench_model
from anmok.stages.export import Export, export
from anmok.stages.load import load
from anmok.stages.predict import predict
from anmok.stages.runtime_choice import load_fastest, load_to_predict, machine_key

QUICK: dict[str, Any] = {"batches": (1, 4), "threads": 1, "limit": 40, "seconds": 0.01}


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("export") / "run"
    return anmok.train(anmok.open(digits), out=folder, **SMALL | {"epochs": 4, "optim.lr": 0.003})


@pytest.fixture(scope="module")
def made(run: Any, tmp_path_factory: pytest.TempPathFactory) -> Export:
    return export(run, tmp_path_factory.mktemp("made") / "model", **QUICK)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANMOK_CACHE", str(tmp_path / "cache"))


def copy(made: Export, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.path, tmp_path / "copy"))


def test_the_folder_is_whole_and_says_what_was_measured(run: Any, made: Export) -> None:
    verify_manifest(made.path)
    names = {f.name for f in made.path.iterdir()}
    assert {"model.onnx", "model.safetensors", "config.json", "decision.json", "runtime.json", "README.md"} <= names
    assert not any(n.endswith((".data", ".bin")) for n in names)
    listed = (made.path / MANIFEST).read_text()
    assert "model.onnx" in listed
    assert "runtime.json" in listed
    content = read_json(made.path / "runtime.json")
    choice = content["machines"][machine_key()]
    assert choice["threads"] == 1
    assert {(r["runtime"], r["batch"]) for r in choice["rows"] if not r["why"]} >= {("torch", 1), ("onnxruntime", 4)}
    assert content["graph"]["source"] == run.model.hash
    checked = content["graph"]["checked"]
    assert checked["largest"] <= checked["bound"] == 1e-4
    assert checked["split"] == "val"
    for batch in (1, 4):  # the one that is taken is the fastest that may be
        rows = [r for r in choice["rows"] if r["batch"] == batch and not r["why"]]
        assert [r["ms"] for r in rows if r["chosen"]] == [min(r["ms"] for r in rows)]
    text = repr(made)
    assert "taken" in text
    assert "images/s" in text
    assert "## Graph" in (made.path / "README.md").read_text()
    assert json.dumps(made.to_dict())
    assert "<table>" in made._repr_html_()


def test_predictions_are_those_of_torch(run: Any, made: Export, digits: Path, tmp_path: Path) -> None:
    wanted = predict(run.path, digits, threads=1)
    fast = load_fastest(made.path)
    assert isinstance(fast, FastModel)
    assert fast.hash == sha256(made.path / MANIFEST)
    found = predict(made.path, digits, out=tmp_path / "p.parquet", threads=1)
    assert found.ids == wanted.ids
    assert found.model_hash == fast.hash
    rows = [r for r in read_json(made.path / "runtime.json")["machines"][machine_key()]["rows"] if r["chosen"]]
    bound = 1e-4 if {r["dtype"] for r in rows} == {"fp32"} else 0.2
    np.testing.assert_allclose(found.probs, wanted.probs, atol=bound)
    assert np.mean(np.array(found.labels) == np.array(wanted.labels)) >= 0.97
    one = next(iter(sorted((digits / "digit-1").iterdir())))
    by_path = fast.predict(one)
    np.testing.assert_allclose(by_path.probs, predict(run.path, one.parent).select(np.array([0])).probs, atol=bound)
    assert fast.predict(one, tta="flips").probs.shape == (1, 4)
    assert load(made.path).classifier is not None  # torch's, as from any model folder


def test_onnx_runtime_alone_gives_the_same(run: Any, made: Export, digits: Path) -> None:
    pre = read_json(made.path / "preprocess.json")
    files = sorted((digits / "digit-2").iterdir())[:6]
    pixels = np.stack([run.model.preprocess.apply(to_rgb(f)) for f in files])
    assert pixels.shape[1:] == (pre["image_size"], pre["image_size"], 3)
    session = onnxruntime.InferenceSession(str(made.path / "model.onnx"))
    found = session.run(["probabilities"], {"images": pixels})[0]
    np.testing.assert_allclose(found, run.predict(files).probs, atol=1e-4)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["anmok.classes"]) == list(run.model.classes)
    assert json.loads(about["anmok.model_hash"]) == run.model.hash
    assert json.loads(about["anmok.preprocess"]) == pre


def without(*packages: str) -> str:
    return BLOCK.replace(repr(EXTRAS), repr(packages))


def test_a_folder_predicts_without_torch(made: Export, digits: Path, tmp_path: Path) -> None:
    folder = copy(made, tmp_path)
    code = without("torch", "torchvision", "timm", "transformers", "safetensors", "openvino", "onnx", "onnxscript")
    command = [sys.executable, "-W", "error", "-c", code, "predict", folder, digits, "--out", tmp_path / "p.csv"]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = pl.read_csv(tmp_path / "p.csv")
    wanted = predict(folder, digits, runtime="torch", threads=1)
    probs = found.select([f"p_{c}" for c in wanted.classes]).to_numpy()
    np.testing.assert_allclose(probs, wanted.probs, atol=1e-3)
    assert found["id"].to_list() == wanted.ids


def test_without_torch_and_without_a_runtime_the_extra_is_named(made: Export, digits: Path, tmp_path: Path) -> None:
    code = without("torch", "openvino", "onnxruntime")
    command = [sys.executable, "-c", code, "predict", str(made.path), str(digits), "--out", str(tmp_path / "p.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "pip install 'anmok[export]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_another_machine_takes_the_plain_runtime_until_it_is_measured(
    made: Export, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runtime_choice, "cpu_name", lambda: "another processor")
    monkeypatch.setenv("ANMOK_QUIET", "")
    fast = load_fastest(made.path)
    assert fast is not None
    assert fast.runtime == "onnxruntime fp32"
    assert "no measurement of this machine" in capsys.readouterr().err
    before = sha256(made.path / MANIFEST)
    speed = bench_model(made.path, images=None, **QUICK)  # random pixels: the folder has no run around it
    assert sha256(made.path / MANIFEST) == before  # kept apart, the folder stays as it is
    err = capsys.readouterr().err
    assert "kept for this machine" in err
    assert "random pixels" in err
    fast = load_fastest(made.path)
    assert fast is not None
    assert {b: t.form for b, t in fast.taken.items()} == {b: r.form for b, r in speed.chosen.items()}


def test_what_cannot_run_here_gives_way_to_the_next(
    made: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy(made, tmp_path)
    content = read_json(folder / "runtime.json")
    rows = content["machines"][machine_key()]["rows"]
    for row in rows:  # openvino is the fastest by far
        row["ms"] = {"openvino": 0.001, "onnxruntime": 0.1, "torch": 9.0}[row["runtime"]] if row["ms"] else None
        row["why"] = "" if row["runtime"] != "onnxruntime" or row["dtype"] == "fp32" else "asked"
    write_json(folder / "runtime.json", content)
    write_manifest(folder)
    fast = load_fastest(folder)
    assert fast is not None
    assert "openvino" in fast.runtime
    real = runtime_choice.why_not
    gone = lambda form: "the package openvino is not installed" if form.runtime == "openvino" else real(form)  # noqa: E731
    monkeypatch.setattr(runtime_choice, "why_not", gone)
    monkeypatch.setenv("ANMOK_QUIET", "")
    fast = load_fastest(folder)
    assert fast is not None
    assert fast.runtime == "onnxruntime fp32"
    assert "cannot run here (the package openvino is not installed)" in capsys.readouterr().err


def test_a_decision_made_since_is_obeyed(
    made: Export, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy(made, tmp_path)
    write_decision(folder, read_json(folder / "decision.json") | {"temperature": 4.0})
    monkeypatch.setenv("ANMOK_QUIET", "")
    model = load_to_predict(folder)
    assert not isinstance(model, FastModel)
    assert "older than the weights or the decision" in capsys.readouterr().err.replace("\n", " ")
    softer = predict(folder, digits, threads=1).probs.max(axis=1)
    assert softer.mean() < predict(made.path, digits, threads=1).probs.max(axis=1).mean() - 0.05
    again = export(folder, tmp_path / "again", images=digits, **QUICK)  # and an export of an export holds it
    assert load_fastest(again.path) is not None
    np.testing.assert_allclose(predict(again.path, digits, threads=1).probs.max(axis=1), softer, atol=0.1)


def test_int8_that_disagrees_is_not_kept(run: Any, tmp_path: Path) -> None:
    strict = export(run, tmp_path / "strict", bounds=Bounds(int8=1.1), **QUICK)
    rows = [r for r in strict.speed.rows if r.dtype == "int8"]
    assert rows
    assert all("agrees on" in r.why and "110.00%" in r.why for r in rows if r.ms is not None)
    assert not any(r.chosen for r in rows)
    assert not (strict.path / "model-int8.onnx").exists()
    loose = export(run, tmp_path / "loose", bounds=Bounds(int8=0.0, accuracy=1.0), **QUICK)
    assert (loose.path / "model-int8.onnx").is_file()


def test_openvino_files_are_read_by_openvino(run: Any, digits: Path, tmp_path: Path) -> None:
    import openvino

    made = export(run, tmp_path / "m", formats=("onnx", "openvino"), int8=False, **QUICK)
    assert {r.why for r in made.speed.rows if r.dtype == "int8"} == {"int8 is not asked for"}
    core = openvino.Core()
    model = core.compile_model(
        core.read_model(made.path / "model.xml", made.path / "model.weights"),
        "CPU",
        {"INFERENCE_PRECISION_HINT": "f32"},
    )
    files = sorted((digits / "digit-3").iterdir())[:3]
    pixels = np.stack([run.model.preprocess.apply(to_rgb(f)) for f in files])
    np.testing.assert_allclose(model([pixels])[0], run.predict(files).probs, atol=1e-4)
    anmok.load(made.path)  # its files are no pickles


def test_an_ensemble_is_one_graph_that_needs_no_other_folder(run: Any, digits: Path, tmp_path: Path) -> None:
    other = anmok.train(anmok.open(digits), out=tmp_path / "b", **SMALL | {"seed": 1, "epochs": 2, "optim.lr": 0.003})
    together = anmok.ensemble([run.path, other.path], out=tmp_path / "both")
    made = export(together.path, tmp_path / "model", **QUICK)
    wanted = predict(together.path, digits, threads=1)
    (tmp_path / "b").rename(tmp_path / "gone")
    fast = load_fastest(made.path)
    assert fast is not None
    np.testing.assert_allclose(
        load(made.path).predict(sorted((digits / "digit-1").iterdir())).probs,
        wanted.probs[[i.startswith("digit-1/") for i in wanted.ids]], atol=1e-5,
    )  # fmt: skip
    found = predict(made.path, digits, threads=1)
    np.testing.assert_allclose(found.probs, wanted.probs, atol=0.2)
    session = onnxruntime.InferenceSession(str(made.path / "model.onnx"))
    pixels = np.stack([fast.preprocess.apply(to_rgb(digits / i)) for i in wanted.ids[:5]])
    np.testing.assert_allclose(session.run(None, {"images": pixels})[0], wanted.probs[:5], atol=1e-4)


def test_wrong_calls(
    run: Any, made: Export, tmp_path: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    with pytest.raises(UsageError, match="exists already"):
        export(run, made.path, **QUICK)
    with pytest.raises(UsageError, match="onnx") as caught:
        export(run, tmp_path / "m", formats=("onx",), **QUICK)
    assert caught.value.where == "--formats"
    with pytest.raises(UsageError, match="--batch must be at least 1"):
        export(run, tmp_path / "m", batches=(0,))
    with pytest.raises(UsageError, match="--threads"):
        bench_model(run, threads=0)
    with pytest.raises(UsageError, match="only a trained model"):
        export("lenet", tmp_path / "m", **QUICK)
    with pytest.raises(UsageError, match="no such runtime"):
        load_to_predict(made.path, runtime="tensorrt")
    assert not (tmp_path / "m").exists()
    done = cli("export", tmp_path / "nothing", "--out", tmp_path / "m")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    folder = copy(made, tmp_path)
    with (folder / "model.onnx").open("ab") as handle:
        handle.write(b"x")
    with pytest.raises(DataError, match=r"model\.onnx does not match") as tampered:
        load_to_predict(folder)
    assert tampered.value.code == "tampered"
