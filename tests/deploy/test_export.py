"""The exported graph: the same answers as torch, from uint8, at any batch, with what belongs to it in its metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_folders import KOREAN, Make
from torch import nn

from anmok.core.errors import DataError, MachineError
from anmok.data.decode import to_rgb
from anmok.deploy.bundle import load_model
from anmok.deploy.export import CLOSE, check_graph, export_onnx, read_about
from anmok.deploy.export_int8 import quantize
from anmok.deploy.graph import Answering, Calibrated, Together, answering, with_calibration
from anmok.evaluate.calibrate import Calibration
from anmok.models.classifier import Classifier


class Tiny(nn.Module):
    """Two layers that export in a second."""

    def __init__(self, outputs: int, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(4, outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 3 * self.head(self.layers(images))


def classifier(task: Any = "multiclass", outputs: int = 3, seed: int = 0) -> Classifier:
    classes = KOREAN[:2] if task == "binary" else KOREAN
    return Classifier(Tiny(outputs, seed), classes, task, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), outputs).eval()


def pixels(n: int, size: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def by_hand(own: Classifier, images: np.ndarray, temperature: float) -> np.ndarray:
    """Normalisation, network, softmax or sigmoid, each written out in numpy."""
    mean, std = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.25, 0.3])
    normal = ((images / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    with torch.inference_mode():
        z = own.backbone(torch.from_numpy(normal)).double().numpy() / temperature
    if own.task == "multilabel":
        return 1 / (1 + np.exp(-z))
    if z.shape[1] == 1:
        z = np.concatenate([np.zeros_like(z), z], axis=1)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("task", "outputs"), [("multiclass", 3), ("binary", 1), ("multilabel", 3)])
def test_the_graph_gives_what_is_computed_by_hand(task: Any, outputs: int, tmp_path: Path) -> None:
    own = classifier(task, outputs)
    path = export_onnx(Answering(own, 1.7), (16, 16, 3), tmp_path / "m.onnx", {})
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [(i.name, i.type, i.shape[1:]) for i in session.get_inputs()] == [("images", "tensor(uint8)", [16, 16, 3])]
    for n in (1, 2, 7):  # any batch
        found = session.run(["probabilities"], {"images": pixels(n)})[0]
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, by_hand(own, pixels(n), 1.7), atol=1e-5)


def test_a_model_folder_answers_the_same_on_photos(make: Make, photos: list[Path], tmp_path: Path) -> None:
    folder, _, preprocess = make("lenet")
    model = load_model(folder)
    path = export_onnx(answering(model), (64, 64, 3), tmp_path / "m.onnx", {"classes": KOREAN})
    images = np.stack([preprocess.apply(to_rgb(photo)) for photo in photos])
    checked = check_graph(answering(model), path, images)
    assert (checked.images, checked.bound) == (5, CLOSE)
    assert 0 <= checked.largest <= CLOSE
    found = onnxruntime.InferenceSession(str(path)).run(None, {"images": images})[0]
    np.testing.assert_allclose(found, model.predict(photos).probs, atol=CLOSE)


def test_one_file_that_says_what_it_is(tmp_path: Path) -> None:
    about = {"classes": KOREAN, "task": "multiclass", "preprocess": {"image_size": 16}, "model_hash": "ab" * 32}
    path = export_onnx(Answering(classifier()), (16, 16, 3), tmp_path / "m.onnx", about)
    assert [f.name for f in tmp_path.iterdir()] == ["m.onnx"]
    graph = onnx.load(path)
    onnx.checker.check_model(graph, full_check=True)
    assert not any(t.HasField("data_location") and t.data_location for t in graph.graph.initializer)
    stored = {p.key: json.loads(p.value) for p in graph.metadata_props if p.key.startswith("anmok.")}
    assert stored == {f"anmok.{k}": v for k, v in about.items()}
    assert read_about(path) == about


@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_a_linear_calibration_is_inside(task: Any, tmp_path: Path) -> None:
    outputs, k = {"multiclass": (3, 3), "binary": (1, 2)}[task]
    vector = Calibration("vector", task, 1.0, tuple(np.linspace(0.5, 1.5, k)), tuple(np.linspace(-0.4, 0.7, k)))
    plain = Answering(classifier(task, outputs))
    path = export_onnx(with_calibration(plain, vector), (16, 16, 3), tmp_path / "m.onnx", {})
    session = onnxruntime.InferenceSession(str(path))
    calibrated, raw = session.run(["probabilities", "uncalibrated"], {"images": pixels(9)})
    with torch.inference_mode():
        wanted = plain(torch.from_numpy(pixels(9))).numpy()
    np.testing.assert_allclose(raw, wanted, atol=1e-6)
    np.testing.assert_allclose(calibrated, vector.apply(wanted), atol=2e-5)
    assert check_graph(with_calibration(plain, vector), path, pixels(9)).largest < CLOSE


@settings(max_examples=20)
@given(temperature=st.floats(0.2, 5), seed=st.integers(0, 5))
def test_a_temperature_behind_probabilities_is_calibrate_apply(temperature: float, seed: int) -> None:
    calibration = Calibration("temperature", "multiclass", temperature)
    plain = Answering(classifier(seed=seed))
    with torch.inference_mode():
        calibrated, raw = Calibrated(plain, calibration)(torch.from_numpy(pixels(5, seed=seed)))
    np.testing.assert_allclose(calibrated.numpy(), calibration.apply(raw.numpy()), atol=1e-5)


def test_isotonic_stays_outside() -> None:
    knots = tuple(((0.0, 1.0), (0.1, 0.9)) for _ in range(3))
    plain = Answering(classifier())
    assert with_calibration(plain, Calibration("isotonic", "multiclass", knots=knots)) is plain
    with pytest.raises(ValueError, match="isotonic"):
        Calibrated(plain, Calibration("isotonic", "multiclass", knots=knots))


def test_several_members_in_one_graph(tmp_path: Path) -> None:
    members = [classifier(seed=seed) for seed in (1, 2)]
    path = export_onnx(Together([Answering(m) for m in members], (0.25, 0.75)), (16, 16, 3), tmp_path / "m.onnx", {})
    found = onnxruntime.InferenceSession(str(path)).run(None, {"images": pixels(4)})[0]
    wanted = 0.25 * by_hand(members[0], pixels(4), 1) + 0.75 * by_hand(members[1], pixels(4), 1)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


class Odd(nn.Module):
    """A network with an operation that ONNX has not."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(images.mean(dim=(2, 3)) * self.weight)


def test_an_operation_that_onnx_has_not_is_named(tmp_path: Path) -> None:
    own = Classifier(Odd(), KOREAN, "multiclass", (0.5,) * 3, (0.5,) * 3, 3).eval()
    with pytest.raises(DataError, match="bessel_j0") as caught:
        export_onnx(Answering(own), (16, 16, 3), tmp_path / "m.onnx", {}, "odd")
    assert caught.value.code == "not-exportable"
    assert caught.value.remedy
    assert not (tmp_path / "m.onnx").exists()


def test_a_graph_of_other_weights_is_refused(tmp_path: Path) -> None:
    path = export_onnx(Answering(classifier(seed=1)), (16, 16, 3), tmp_path / "m.onnx", {})
    with pytest.raises(DataError, match="differs by") as caught:
        check_graph(Answering(classifier(seed=2)), path, pixels(4))
    assert caught.value.code == "export-differs"


def test_no_room_for_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(onnx, "save_model", full)
    with pytest.raises(MachineError, match="No space left") as caught:
        export_onnx(Answering(classifier()), (16, 16, 3), tmp_path / "m.onnx", {})
    assert caught.value.code == "disk"


def test_int8_is_int8_and_near(tmp_path: Path) -> None:
    own = Answering(classifier())
    path = export_onnx(own, (16, 16, 3), tmp_path / "m.onnx", {})
    int8 = quantize(path, tmp_path / "m8.onnx", pixels(32))
    graph = onnx.load(int8)
    assert any(n.op_type == "QuantizeLinear" for n in graph.graph.node)
    kinds = {t.data_type for t in graph.graph.initializer}
    assert {onnx.TensorProto.INT8, onnx.TensorProto.UINT8} <= kinds  # weights, and the zero points of activations
    found = onnxruntime.InferenceSession(str(int8)).run(None, {"images": pixels(16, seed=3)})[0]
    with torch.inference_mode():
        wanted = own(torch.from_numpy(pixels(16, seed=3))).numpy()
    assert 0 < np.abs(found - wanted).max() < 0.1
    assert (tmp_path / "m8.onnx").stat().st_size > 0
    with pytest.raises(DataError, match="no images"):
        quantize(path, tmp_path / "none.onnx", pixels(0))
