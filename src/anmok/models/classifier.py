"""The network together with what belongs to it: normalisation, class names, task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from anmok.core.types import Task
from anmok.models.modes import settle_frozen
from anmok.models.normalized import Normalized
from anmok.models.split import Kept, Split


class Classifier(Normalized):
    """A backbone that starts at uint8 pixels and ends at probabilities of named classes.

    backbone: float[B, C, H, W] to logits [B, outputs]; mean, std: one a channel, of pixels in [0, 1]. A binary task has
    one output, the logit of classes[1], or two, as a softmax. Parts whose parameters are all frozen stay in eval mode.
    split: where the backbone is cut, so that what its frozen part gives can be kept.
    """

    split: Split | None = None

    def __init__(
        self, backbone: nn.Module, classes: list[str], task: Task, mean: tuple[float, ...], std: tuple[float, ...],
        outputs: int | None = None,
    ):  # fmt: skip
        super().__init__(mean, std)
        self.backbone, self.classes, self.task = backbone, list(classes), task
        self.outputs = outputs or outputs_for(task, len(classes))

    def forward(self, images: torch.Tensor | Kept) -> torch.Tensor:
        """uint8[B, H, W, C], or a tuple of what `front` kept of them, to logits float32[B, outputs]."""
        if isinstance(images, tuple):
            return self.resume(images)
        return self.backbone(self.normalize(images)).float()

    def front(self, images: torch.Tensor) -> Kept:
        """uint8[B, H, W, C] to what the frozen part gives of them; in evaluation mode, of a classifier with a split."""
        assert self.split is not None
        return self.split.front(self.normalize(images))

    def resume(self, kept: Kept) -> torch.Tensor:
        """What `front` gave to logits float32[B, outputs]."""
        assert self.split is not None
        return self.split.back(kept, self.training).float()

    def activate(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits [B, outputs] to probabilities float32[B, K]."""
        if self.task == "multilabel":
            return logits.sigmoid()
        if self.outputs == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        return logits.softmax(dim=1)

    def probabilities(self, images: torch.Tensor | Kept) -> torch.Tensor:
        """What `forward` takes to float32[B, K]; rows sum to 1, but for multi-label."""
        return self.activate(self(images))

    def train(self, mode: bool = True) -> Classifier:
        """As in torch, but a module with parameters none of which learns stays in eval mode."""
        super().train(mode)
        if mode:
            settle_frozen(self)
        return self


def outputs_for(task: Task, k: int) -> int:
    """Logits a network needs: one for a binary task, else one a class."""
    return 1 if task == "binary" else k


@contextmanager
def evaluating(module: nn.Module) -> Iterator[Any]:
    """Evaluation mode without gradients, for the length of the block."""
    was = module.training
    module.eval()
    try:
        with torch.inference_mode():
            yield module
    finally:
        module.train(was)
