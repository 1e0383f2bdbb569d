"""What is exported: a module that starts at uint8 pixels and ends at probabilities, calibration and all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from anmok.core.types import Task
from anmok.evaluate.calibrate import TINY, Calibration
from anmok.models.classifier import Classifier

if TYPE_CHECKING:
    from anmok.deploy.model import Model


class Answering(nn.Module):
    """A classifier as its model folder answers: logits divided by the temperature, then probabilities."""

    def __init__(self, classifier: Classifier, temperature: float = 1.0):
        super().__init__()
        self.classifier, self.temperature = classifier, float(temperature)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """uint8[B, S, S, C] to float32[B, K]."""
        return self.classifier.activate(self.classifier(images) / self.temperature)


class Together(nn.Module):
    """The weighted mean of several members' probabilities; weights sum to 1."""

    def __init__(self, members: Sequence[nn.Module], weights: Sequence[float]):
        super().__init__()
        self.members, self.weights = nn.ModuleList(members), tuple(map(float, weights))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """uint8[B, S, S, C] to float32[B, K]."""
        parts = [share * member(images) for share, member in zip(self.weights, self.members, strict=True)]
        return torch.stack(parts).sum(dim=0)


class Calibrated(nn.Module):
    """Two outputs: the probabilities after a calibration that decision.json carries, and before it.

    The calibration is one of temperature or vector; see `evaluate.calibrate.Calibration`, whose `apply` this is.
    """

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, answering: nn.Module, calibration: Calibration):
        super().__init__()
        self.answering, self.task = answering, calibration.task
        self.kind, self.temperature = calibration.kind, calibration.temperature
        if calibration.kind == "isotonic":
            raise ValueError("an isotonic calibration stays in decision.json")
        for name in ("weight", "bias"):
            values = np.array(getattr(calibration, name) or (0.0,), np.float32)
            self.register_buffer(name, torch.from_numpy(values), persistent=False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """uint8[B, S, S, C] to (calibrated, uncalibrated), float32[B, K] each."""
        raw = self.answering(images)
        logits = torch_logits(raw, self.task)
        if self.kind == "temperature":
            logits = logits / self.temperature
        elif self.kind == "vector":
            if self.task != "multilabel":
                logits = logits - logits.mean(dim=1, keepdim=True)
            logits = logits * self.weight + self.bias
        return (logits.sigmoid() if self.task == "multilabel" else logits.softmax(dim=1)), raw


def torch_logits(probs: torch.Tensor, task: Task) -> torch.Tensor:
    """`evaluate.calibrate.logits_of` in torch, float32."""
    if task != "multilabel":
        return probs.clamp(min=TINY).log()
    p = probs.clamp(min=TINY, max=1 - 2**-24)
    return p.log() - (1 - p).log()


def answering(model: Model) -> Answering:
    """What a loaded model answers with."""
    return Answering(model.classifier, model.decision["temperature"]).eval()


def with_calibration(module: nn.Module, calibration: Calibration | None) -> nn.Module:
    """The module with a calibration behind it, where it is one that a graph can carry."""
    if calibration is None or calibration.kind in ("none", "isotonic"):
        return module
    return Calibrated(module, calibration).eval()
