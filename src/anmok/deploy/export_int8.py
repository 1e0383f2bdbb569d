"""An exported graph in int8: static quantisation by ONNX Runtime, ranges from images of the train split."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from anmok.core.errors import DataError
from anmok.core.optional import need

CALIBRATION = 128  # images from which the ranges are taken
BATCH = 8
KINDS = ("Conv", "MatMul", "Gemm", "Add", "GlobalAveragePool", "MaxPool", "AveragePool")


def quantize(graph: Path, out: Path, images: np.ndarray) -> Path:
    """Write the int8 form of a graph: weights int8 a channel, activations uint8 (Jacob et al. 2018, arXiv:1712.05877).

    images: uint8[N, S, S, C], preprocessed, of the train split. Activations are uint8 as that is what the instructions
    of x86 multiply with int8 weights. Normalisation and softmax stay float32.

    MachineError without the extra `export`; DataError, code `not-exportable`, where the graph cannot be quantised.
    """
    need("onnxruntime", "export")
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    if not len(images):
        raise DataError("no images to take the ranges of int8 from.", where="int8", code="no-images")
    with tempfile.TemporaryDirectory() as folder, quiet():
        prepared = Path(folder) / "prepared.onnx"
        try:
            quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)
            quantize_static(
                str(prepared), str(out), _reader(images), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, op_types_to_quantize=list(KINDS),
            )  # fmt: skip
        except (ValueError, RuntimeError, KeyError) as error:
            out.unlink(missing_ok=True)
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"int8: it cannot be quantised ({reason}).", where="int8", code="not-exportable") from error
    return out


def _reader(images: np.ndarray) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc, unused-ignore]
        """Batches of the images, one after the other."""

        def __init__(self) -> None:
            self.batches = iter(images[i : i + BATCH] for i in range(0, len(images), BATCH))

        def get_next(self) -> dict[str, np.ndarray] | None:
            """The next batch, None at the end."""
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch}

    return Reader()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the quantiser's advice on how else it could be called."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
