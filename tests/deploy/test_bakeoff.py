"""The bake-off: who is taken, who is not and why; and what the runtimes answer."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_folders import KOREAN

from anmok.core.errors import DataError
from anmok.deploy import runtimes
from anmok.deploy.bakeoff import Bounds, Gate, bake_off, equal_answers, sample
from anmok.deploy.export import export_onnx
from anmok.deploy.fast import FastModel, Taken
from anmok.deploy.graph import Answering
from anmok.deploy.runtimes import EAGER, TORCH, Answer, Form, in_batches, open_graph, open_onnxruntime, why_not
from anmok.deploy.torch_forms import torch_answer
from anmok.models.build import build
from anmok.models.config import ModelConfig

ORT, INT8, OV = Form("onnxruntime", "fp32"), Form("onnxruntime", "int8"), Form("openvino", "fp32")
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)


def truth(images: np.ndarray) -> np.ndarray:
    """Probabilities that follow from the pixels alone."""
    z = images.reshape(len(images), -1, 3).mean(axis=1) / 4
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return (e / e.sum(axis=1, keepdims=True)).astype(np.float32)


class Clock:
    """Time that passes only when a form runs."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def forms(clock: Clock, ms: dict[Form, float], wrong: dict[Form, Callable[[np.ndarray], np.ndarray]]) -> Callable:
    def opened(form: Form, batch: int) -> Answer:
        def answer(images: np.ndarray) -> np.ndarray:
            clock.now += ms[form] / 1000
            return wrong.get(form, lambda p: p)(truth(images))

        return answer

    return opened


def gate(targets: np.ndarray | None = None) -> Gate:
    return Gate(PIXELS, truth(PIXELS), "multiclass", targets)


def flipped(share: float) -> Callable[[np.ndarray], np.ndarray]:
    """The first class swapped with another for a share of the images, by their own probabilities."""

    def change(p: np.ndarray) -> np.ndarray:
        limit = np.quantile(truth(PIXELS).max(axis=1), share)
        return np.where((p.max(axis=1) <= limit)[:, None], np.roll(p, 1, axis=1), p)

    return change


def test_the_fastest_that_agrees_is_taken_and_ratios_are_to_torch() -> None:
    clock, ms = Clock(), {EAGER: 8.0, ORT: 4.0, INT8: 1.0, OV: 2.0}
    rows = bake_off(
        dict.fromkeys(ms, ""), forms(clock, ms, {INT8: flipped(0.2)}), gate(), batches=(1, 8), clock=clock, seconds=0.02
    )
    by = {(row.form, row.batch): row for row in rows}
    assert len(rows) == 8
    assert [(row.form, row.batch) for row in rows if row.chosen] == [(OV, 1), (OV, 8)]
    for form, wanted in ms.items():
        assert by[form, 1].ms == pytest.approx(wanted)
        assert by[form, 8].images_per_s == pytest.approx(8000 / wanted)
        assert by[form, 8].ratio == pytest.approx(8 / wanted)
    bad = by[INT8, 8]
    assert bad.agreement == pytest.approx(0.8, abs=0.03)
    assert bad.why == f"it agrees on {bad.agreement:.2%} of the images, 97.00% are asked for"
    assert bad.ms == pytest.approx(1)  # it is measured all the same


def test_a_loose_bound_takes_it_and_a_strict_one_does_not() -> None:
    ms = {EAGER: 8.0, INT8: 1.0}
    for least, taken in ((0.5, INT8), (0.9, EAGER)):
        clock = Clock()
        rows = bake_off(
            dict.fromkeys(ms, ""), forms(clock, ms, {INT8: flipped(0.2)}), gate(), batches=(4,), clock=clock,
            seconds=0.02, bounds=Bounds(int8=least),
        )  # fmt: skip
        assert next(row.form for row in rows if row.chosen) == taken


def test_accuracy_is_a_gate_of_its_own() -> None:
    clock, ms = Clock(), {EAGER: 8.0, INT8: 1.0}
    targets = truth(PIXELS).argmax(axis=1)  # torch is right on all of them
    rows = bake_off(
        dict.fromkeys(ms, ""), forms(clock, ms, {INT8: flipped(0.05)}), gate(targets), batches=(4,), clock=clock,
        seconds=0.02, bounds=Bounds(int8=0.9),
    )  # fmt: skip
    row = next(row for row in rows if row.form == INT8)
    assert row.accuracy == row.agreement
    assert "points lower" in row.why
    assert not row.chosen


def test_no_numbers_a_missing_package_and_a_refusal_are_rows_that_say_so() -> None:
    clock, ms = Clock(), {EAGER: 8.0, ORT: 1.0, INT8: 1.0}
    inner = forms(clock, ms, {ORT: lambda p: p * np.nan})

    def opened(form: Form, batch: int) -> Answer:
        if form == INT8:
            raise DataError("onnxruntime refuses the graph (no kernel).", code="runtime")
        return inner(form, batch)

    candidates = {EAGER: "", ORT: "", INT8: "", OV: "the package openvino is not installed"}
    rows = bake_off(candidates, opened, gate(), batches=(2,), clock=clock, seconds=0.02)
    why = {row.form: row.why for row in rows}
    assert why == {
        EAGER: "", ORT: "some of its probabilities are no numbers",
        INT8: "onnxruntime refuses the graph (no kernel).", OV: "the package openvino is not installed",
    }  # fmt: skip
    assert [row.form for row in rows if row.chosen] == [EAGER]


@given(n=st.integers(0, 23), batch=st.integers(1, 9))
def test_a_fixed_batch_answers_any_number(n: int, batch: int) -> None:
    def fixed(images: np.ndarray) -> np.ndarray:
        assert len(images) == batch
        return truth(images)

    if n:
        np.testing.assert_array_equal(in_batches(fixed, batch)(PIXELS[:n]), truth(PIXELS[:n]))
    assert len(sample(PIXELS, batch)) == batch


def test_equal_answers_of_labels_are_counted_one_by_one() -> None:
    a, b = np.array([[0.6, 0.4], [0.1, 0.9]]), np.array([[0.6, 0.6], [0.1, 0.9]])
    assert equal_answers(a, b, "multilabel") == 0.75
    assert equal_answers(a, b[:, ::-1], "multiclass") == 0.5


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Answering, Path]:
    torch.manual_seed(0)
    module = Answering(build(ModelConfig(name="lenet"), KOREAN, "multiclass", 3, 32).classifier.eval())
    return module, export_onnx(module, (32, 32, 3), tmp_path_factory.mktemp("graph") / "m.onnx", {})


@pytest.mark.parametrize("form", [f for f in (*TORCH, ORT, OV, Form("openvino", "bf16")) if not why_not(f)], ids=str)
def test_every_form_answers_as_torch_does(form: Form, tiny: tuple[Answering, Path]) -> None:
    module, path = tiny
    images = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    with torch.inference_mode():
        wanted = module(torch.from_numpy(images)).numpy()
    if form.graph:
        answer = open_graph(form, path, (32, 32, 3), 2, 1)  # 5 images: two whole batches and one filled up
    else:
        answer = torch_answer(module, form, 1)
    found = answer(images)
    assert (found.dtype, found.shape) == (np.float32, (5, 3))
    np.testing.assert_allclose(found, wanted, atol=1e-5 if form.dtype == "fp32" else 0.02)
    assert {p.dtype for p in module.parameters()} == {torch.float32}  # a copy was cast, not the module


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no graph")
    for form in (ORT, OV):
        with pytest.raises(DataError, match="refuses the graph") as caught:
            open_graph(form, tmp_path / "m.onnx", (8, 8, 3), 1, 1)
        assert caught.value.code == "runtime"


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "_installed", lambda name: False)
    assert why_not(OV) == "the package openvino is not installed (pip install 'anmok[export]')"
    monkeypatch.undo()
    monkeypatch.setattr(runtimes, "cpu_flags", lambda: ["avx2"])
    assert "bfloat16" in why_not(Form("openvino", "bf16"))


def test_a_batch_goes_to_what_is_through_with_it_first(tiny: tuple[Answering, Path]) -> None:
    asked: list[tuple[int, int]] = []

    def counted(batch: int) -> Answer:
        def answer(images: np.ndarray) -> np.ndarray:
            asked.append((batch, len(images)))
            return truth(images)

        return answer

    taken = {1: Taken(ORT, counted(1), 2.0), 8: Taken(OV, counted(8), 10.0)}
    model = FastModel.__new__(FastModel)
    model.taken = taken
    np.testing.assert_array_equal(model.probabilities(PIXELS[:3]), truth(PIXELS[:3]))  # 3 × 2 ms < 10 ms
    assert asked == [(1, 1)] * 3
    asked.clear()
    model.probabilities(PIXELS[:9])  # 18 ms < 2 × 10 ms
    assert asked == [(1, 1)] * 9
    asked.clear()
    model.probabilities(PIXELS[:16])
    assert asked == [(8, 8), (8, 8)]
    assert model.runtime == "batch 1: onnxruntime fp32, batch 8: openvino fp32"


def test_the_clock_is_real_by_default(tiny: tuple[Answering, Path]) -> None:
    """No form is more than a few percent slower than the best when the best is what is taken."""
    path = tiny[1]
    images = np.random.default_rng(1).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    answer = open_onnxruntime(path, 1)
    seen = Gate(images, answer(images), "multiclass")

    def opened(form: Form, batch: int) -> Answer:
        if form == ORT:
            return answer
        return lambda pixels: (time.sleep(0.02), answer(pixels))[1]

    rows = bake_off({EAGER: "", ORT: ""}, opened, seen, batches=(1,), seconds=0.05, rounds=2)
    assert next(row.form for row in rows if row.chosen) == ORT
    assert next(row for row in rows if row.form == EAGER).ms > 20


SIGNALLED = """
import gc, os, signal, sys
from pathlib import Path
from anmok.deploy.runtimes import open_openvino
from anmok.stages.signals import polite_stop
one, two = (open_openvino(Path(sys.argv[1]), "fp32", (32, 32, 3), batch, 1) for batch in (1, 2))
del one
gc.collect()
del two
gc.collect()
with polite_stop() as stop:
    os.kill(os.getpid(), signal.SIGTERM)
    print("asked" if stop() else "deaf")
"""


def test_a_signal_is_heard_after_openvino_has_gone(tiny: tuple[Answering, Path]) -> None:
    command = [sys.executable, "-c", SIGNALLED, str(tiny[1])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "asked\n"), done.stderr
