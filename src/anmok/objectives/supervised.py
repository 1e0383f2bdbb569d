"""Learning from labels: a module around the classifier that turns a batch into a loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from anmok.core.types import Batch
from anmok.models.classifier import Classifier
from anmok.objectives.losses import Loss, MeanLoss


class Outcome(NamedTuple):
    """What one batch gives: the loss to minimise (mean over its images) and counts to log (sums over its images)."""

    loss: torch.Tensor
    logs: dict[str, torch.Tensor]


class Weighing(Protocol):
    """Who says what each image's loss weighs, and hears what it was."""

    def of(self, ids: Sequence[str]) -> Any:
        """float32[B], the weights of these images."""

    def note(self, ids: Sequence[str], losses: Any) -> None:
        """The losses of these images, float[B] on their device, before they are weighed."""


class Supervised(nn.Module):
    """forward(batch) with images uint8[B, H, W, C] and targets on the device gives an Outcome.

    weighing: where images weigh differently; the loss has then to be one of images (a MeanLoss that is no whole).
    """

    weighing: Weighing | None = None

    def __init__(self, model: Classifier, loss: Loss):
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Batch) -> Outcome:
        """The loss of a batch and how many of its images are right (of a multi-label one: in every known label)."""
        logits = self.model(batch.images)
        loss = self.loss(logits, batch.targets) if self.weighing is None else self._weighed(logits, batch)
        with torch.no_grad():
            correct = self._correct(logits, batch.targets)
        return Outcome(loss, {"correct": correct})

    def _weighed(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The weighted sum over images, by what the plain sum would be divided by."""
        assert self.weighing is not None
        assert isinstance(self.loss, MeanLoss)
        each = self.loss.each(logits, batch.targets)
        self.weighing.note(batch.ids, each.detach())
        weights = torch.as_tensor(self.weighing.of(batch.ids)).to(each)
        return (weights * each).sum() / torch.as_tensor(self.counted(batch)).clamp_min(1)

    def counted(self, batch: Batch) -> int | torch.Tensor:
        """How many the loss of a batch is the mean over, see `MeanLoss.counted`."""
        counted = getattr(self.loss, "counted", None)
        return len(batch) if counted is None else counted(torch.as_tensor(batch.targets))

    @property
    def whole_batch(self) -> str:
        """Why the loss means something else of a batch taken in parts; empty where it does not."""
        return getattr(self.loss, "whole", "")

    def _correct(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if self.model.task == "multilabel":
            return (((logits > 0) == (targets > 0.5)) | targets.isnan()).all(1).sum()
        hard = targets.argmax(1) if targets.ndim == 2 else targets
        guess = (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)
        return (guess == hard).sum()
