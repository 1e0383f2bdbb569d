"""torch's own ways to run a model: precision and memory format, on a copy of the network."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from anmok.deploy.runtimes import Answer, Form
from anmok.models.classifier import Classifier, evaluating


def torch_answer(module: nn.Module, form: Form, threads: int | None = None) -> Answer:
    """A module that answers (see `deploy.graph`), on the CPU in this form; its first output before any calibration.

    In bfloat16 the networks are cast, their images with them; normalisation, calibration and softmax stay float32.
    threads: torch's while it answers, None for as many as it has.
    """
    own = copy.deepcopy(module).cpu().eval()
    for part in [m for m in own.modules() if isinstance(m, Classifier)]:
        if form.dtype == "bf16":
            part.backbone.to(torch.bfloat16)
            part.backbone.register_forward_pre_hook(_cast)
        if form.layout == "channels_last":
            part.backbone.to(memory_format=torch.channels_last)

    def answer(images: np.ndarray) -> np.ndarray:
        if threads is not None and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        pixels = torch.from_numpy(np.require(images, np.uint8, ["C", "W"]))
        with evaluating(own):
            given = own(pixels)
        found = given[1] if isinstance(given, tuple) else given
        return found.float().numpy()

    return answer


def _cast(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(i.to(torch.bfloat16) if isinstance(i, torch.Tensor) and i.is_floating_point() else i for i in inputs)
