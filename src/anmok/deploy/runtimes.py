"""What runs an exported graph on this machine, each as one function of uint8 images; none of it needs torch."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anmok.core.errors import DataError
from anmok.core.machine import cores, cpu_flags
from anmok.core.optional import need
from anmok.deploy.names import PROBS, RAW

Answer = Callable[[np.ndarray], np.ndarray]  # uint8[B, S, S, C] to float32[B, K]


class Form(NamedTuple):
    """A way to run a model: by which runtime, in which precision, torch in which memory format."""

    runtime: str
    dtype: str
    layout: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in self if part)

    @property
    def graph(self) -> bool:
        """Whether it runs an exported graph, without torch."""
        return self.runtime != "torch"


EAGER = Form("torch", "fp32")  # what every other form is measured against
TORCH = (EAGER, Form("torch", "fp32", "channels_last"), Form("torch", "bf16"), Form("torch", "bf16", "channels_last"))
GRAPHS = (
    Form("onnxruntime", "fp32"), Form("onnxruntime", "int8"), Form("openvino", "fp32"), Form("openvino", "bf16"),
    Form("openvino", "int8"),
)  # fmt: skip
FORMS = (*TORCH, *GRAPHS)


def why_not(form: Form) -> str:
    """Why this machine cannot run a form: a package or an instruction is missing; '' where it can."""
    if not _installed(form.runtime):
        extra = "train" if form.runtime == "torch" else "export"
        return f"the package {form.runtime} is not installed (pip install 'anmok[{extra}]')"
    if form.dtype == "bf16" and not {"avx512_bf16", "amx_bf16", "bf16"} & set(cpu_flags()):
        return "this CPU has no bfloat16 instructions"
    return ""


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def open_graph(form: Form, path: Path, shape: tuple[int, int, int], batch: int, threads: int | None = None) -> Answer:
    """A graph in a runtime, for batches of `batch` images (more are taken in parts, fewer are filled up).

    path: the file of the form's precision, float32 but for int8. shape: (S, S, C). threads: by default all cores.
    MachineError where the package is missing; DataError, code `runtime`, where the runtime refuses the graph.
    """
    if form.runtime == "onnxruntime":
        return open_onnxruntime(path, threads)
    return open_openvino(path, form.dtype, shape, batch, threads)


def open_onnxruntime(path: Path, threads: int | None = None) -> Answer:
    """A graph in ONNX Runtime on the CPU; any batch."""
    ort = need("onnxruntime", "export")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads or cores(), 1
    options.log_severity_level = 3
    errors = ort.capi.onnxruntime_pybind11_state
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (errors.Fail, errors.InvalidGraph, errors.InvalidProtobuf, errors.NotImplemented, errors.NoSuchFile) as e:
        raise _refused("onnxruntime", path, e) from e
    wanted = [_output([o.name for o in session.get_outputs()])]

    def answer(images: np.ndarray) -> np.ndarray:
        found: np.ndarray = session.run(wanted, {"images": images})[0]
        return found

    return answer


def open_openvino(path: Path, dtype: str, shape: tuple[int, int, int], batch: int, threads: int | None) -> Answer:
    """A graph in OpenVINO on the CPU, compiled for one batch size: in int8 a batch of any size is silently wrong."""
    ov = need("openvino", "export")
    # Without a hint OpenVINO takes bfloat16 wherever the CPU has it.
    precision = ov.Type.bf16 if dtype == "bf16" else ov.Type.f32
    settings = {
        "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads or cores(),
        "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1,
    }  # fmt: skip
    try:
        core = _core()
        model = core.read_model(str(path))
        model.reshape([batch, *shape])
        request = core.compile_model(model, "CPU", settings).create_infer_request()
    except RuntimeError as error:
        raise _refused("openvino", path, error) from error
    place = [o.get_any_name() for o in model.outputs].index(_output([o.get_any_name() for o in model.outputs]))

    def fixed(images: np.ndarray) -> np.ndarray:
        request.infer([images], share_inputs=True)
        return np.array(request.get_output_tensor(place).data, np.float32)

    return in_batches(fixed, batch)


@functools.cache
def _core() -> Any:
    """The process's one OpenVINO core, never given back.

    Its CPU plugin takes the thread's alternate signal stack; of two cores the one that ends last puts back what the
    other has freed, and the next signal, a Ctrl-C say, ends the process with a segmentation fault.
    """
    return need("openvino", "export").Core()


def in_batches(fixed: Answer, batch: int) -> Answer:
    """Any number of images by a function that takes exactly `batch`: the last ones are filled up and cut off again."""

    def answer(images: np.ndarray) -> np.ndarray:
        if len(images) == batch:
            return fixed(images)
        parts = []
        for low in range(0, len(images), batch):
            part = images[low : low + batch]
            if len(part) < batch:
                filled = np.zeros((batch, *images.shape[1:]), np.uint8)
                filled[: len(part)] = part
                parts.append(fixed(filled)[: len(part)])
            else:
                parts.append(fixed(part))
        return np.concatenate(parts)

    return answer


def _output(names: list[str]) -> str:
    """The output that is the model's own, before what decision.json does."""
    return RAW if RAW in names else PROBS


def _refused(runtime: str, path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:200]
    return DataError(f"{runtime} refuses the graph ({reason}).", where=str(path), code="runtime")
