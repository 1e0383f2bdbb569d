"""ONNX of a module that answers: one file, uint8 in, probabilities out, checked against torch on images."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from anmok.core.errors import DataError, MachineError
from anmok.core.optional import need
from anmok.deploy.graph import Calibrated
from anmok.deploy.names import PROBS, RAW
from anmok.models.classifier import evaluating

OPSET = 20
CLOSE = 1e-4  # largest difference of a probability between the graph and torch, float32 both
CHECKED = 64  # images at most, by default
PREFIX = "anmok."  # of the keys in the graph's metadata


class Checked(NamedTuple):
    """How near the graph is to torch: on how many images, the largest difference of a probability, the bound."""

    images: int
    largest: float
    bound: float = CLOSE


def export_onnx(
    module: nn.Module, shape: tuple[int, int, int], path: Path, about: Mapping[str, Any], name: str = "the network"
) -> Path:
    """Write a module that answers uint8[B, S, S, C] as ONNX, any batch, all of it in one file.

    shape: (S, S, C). about: plain values for the graph's metadata, each as JSON under `anmok.<key>`. name: of the
    network, for errors.

    MachineError (missing-package) without the extra `export`, (disk) without room; DataError, code `not-exportable`,
    which names the operation.
    """
    onnx = need("onnx", "export")
    need("onnxscript", "export")
    # Two images: an axis of one would be taken for a constant.
    example = torch.zeros((2, *shape), dtype=torch.uint8, device=next(module.parameters()).device)
    outputs = [PROBS, RAW] if isinstance(module, Calibrated) else [PROBS]
    try:
        with evaluating(module), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter about itself
            program = torch.onnx.export(
                module, (example,), dynamo=True, opset_version=OPSET, input_names=["images"], output_names=outputs,
                dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}}, verbose=False,
            )  # fmt: skip
    except torch.onnx.OnnxExporterError as error:
        raise _refused(error, name) from error
    assert program is not None
    graph = program.model_proto
    graph.producer_name = "anmok"
    for key, value in about.items():
        entry = graph.metadata_props.add()
        entry.key, entry.value = f"{PREFIX}{key}", json.dumps(value, ensure_ascii=False)
    try:
        onnx.checker.check_model(graph, full_check=True)
        onnx.save_model(graph, str(path), save_as_external_data=False)
    except OSError as error:
        raise MachineError(
            f"the graph cannot be written ({error.strerror}).", where=str(path), code="disk",
            remedy="Free some room or choose another --out.",
        ) from error  # fmt: skip
    return path


def _refused(error: BaseException, name: str) -> DataError:
    """Why there is no graph, in a line: the innermost reason, which names the operation."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    unsupported = next((line for line in lines if "aten." in line or "aten::" in line or "torchvision::" in line), "")
    reason = unsupported or (lines[0] if lines else type(cause).__name__)
    return DataError(
        f"{name} cannot be exported to ONNX: {reason[:300]}", where="export", code="not-exportable",
        remedy="`anmok predict` runs it with torch; or train a network whose operations ONNX has.",
    )  # fmt: skip


def check_graph(module: nn.Module, path: Path, images: np.ndarray, bound: float = CLOSE) -> Checked:
    """Compare a graph in ONNX Runtime with torch on images, uint8[N, S, S, C], at several batch sizes.

    DataError, code `export-differs`, where a probability differs by more than `bound`, or is no number.
    """
    from anmok.deploy.runtimes import open_onnxruntime

    answer = open_onnxruntime(path, threads=torch.get_num_threads())
    device = next(module.parameters()).device
    largest = 0.0
    bounds = [0, 1, min(4, len(images)), len(images)]
    for low, high in itertools.pairwise(bounds):
        if high <= low:
            continue
        part = images[low:high]
        with evaluating(module):
            given = module(torch.from_numpy(part).to(device))
        wanted = (given[1] if isinstance(given, tuple) else given).float().cpu().numpy()
        found = answer(part)
        worst = float(np.abs(found - wanted).max()) if np.isfinite(found).all() else float("inf")
        largest = max(largest, worst)
    if not largest <= bound:
        raise DataError(
            f"the exported graph answers otherwise than torch: a probability differs by {largest:.2g}, allowed is "
            f"{bound:g}.", where=str(path), code="export-differs", remedy="Nothing is kept; `anmok predict` runs it "
            "with torch.",
        )  # fmt: skip
    return Checked(len(images), largest, bound)


def read_about(path: Path) -> dict[str, Any]:
    """What an exported graph says of itself in its metadata.  DataError, code `damaged`, where it is no such graph."""
    runtime = need("onnxruntime", "export")
    try:
        found = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_modelmeta()
    except runtime.capi.onnxruntime_pybind11_state.Fail as error:
        raise DataError(f"not a graph ({error}).", where=str(path), code="damaged") from error
    return {
        key.removeprefix(PREFIX): json.loads(value)
        for key, value in found.custom_metadata_map.items()
        if key.startswith(PREFIX)
    }
