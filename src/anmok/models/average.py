"""Averages of weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


class EMA:
    """Exponential moving average of a module's floating-point parameters and buffers; other buffers are copied.

    w ← d w + (1 − d) θ with d = min(decay, (1 + t) / (10 + t)) at update t (the warm-up of TensorFlow's
    ExponentialMovingAverage), kept in float32.
    """

    def __init__(self, module: nn.Module, decay: float):
        self.decay, self.updates = decay, 0
        self.module = copy.deepcopy(module).eval()
        self.weights = self.module.state_dict()  # the tensors themselves: what changes them changes the module

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the module's present weights."""
        self.updates += 1
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        mine, theirs = [], []
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                mine.append(self.weights[name])
                theirs.append(value)
            else:
                self.weights[name].copy_(value)
        torch._foreach_lerp_(mine, theirs, 1 - keep)

    def restore(self, tensors: dict[str, torch.Tensor], updates: int) -> None:
        """Back to a checkpoint's state."""
        for name, value in tensors.items():
            self.weights[name].copy_(value)
        self.updates = updates
