"""Lookahead: slow weights that follow the fast ones, which start again from them every few steps."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Lookahead:
    """Zhang et al. 2019 (arXiv:1907.08610), algorithm 1: every k steps φ ← φ + α (θ − φ), then θ ← φ.

    θ: the module that an optimizer trains, whose momentum goes on as it was; φ: the parameters of `module`, which are
    judged and kept. α = 1 − (1 − share) t^power at a share t of the course: the same throughout with power 0, as in the
    paper; with share 1 − 0.95⁵ and power 3 as in airbench94 (Jordan 2024, arXiv:2404.00498), where it begins at 1.
    Buffers are no weights: `module` has those of θ, batch-norm statistics too. Between two meetings φ stays.
    """

    def __init__(self, module: nn.Module, share: float, every: int = 5, power: float = 0.0):
        self.share, self.every, self.power, self.updates = share, every, power, 0
        self.module = copy.deepcopy(module).eval()
        self.weights = self.module.state_dict()  # the tensors themselves: what changes them changes the module

    def share_at(self, done: float) -> float:
        """α where a share `done` of the course is behind."""
        return float(1 - (1 - self.share) * min(1.0, done) ** self.power)

    @torch.no_grad()
    def update(self, module: nn.Module, done: float = 0.0) -> None:
        """A step of the module is done; every few of them the two meet, and the module's parameters change."""
        self.updates += 1
        for mine, theirs in zip(self.module.buffers(), module.buffers(), strict=True):
            mine.copy_(theirs)
        if self.updates % self.every:
            return
        slow: list[torch.Tensor] = list(self.module.parameters())
        fast: list[torch.Tensor] = list(module.parameters())
        torch._foreach_lerp_(slow, fast, self.share_at(done))
        torch._foreach_copy_(fast, slow)

    def restore(self, tensors: dict[str, torch.Tensor], updates: int) -> None:
        """Back to a checkpoint's state."""
        for name, value in tensors.items():
            self.weights[name].copy_(value)
        self.updates = updates
