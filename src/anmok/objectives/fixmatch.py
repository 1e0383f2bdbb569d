"""FixMatch: labels by a labelled part, and from a weak view of an image without label the label of its strong view.

Sohn et al. 2020, "FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence", arXiv:2001.07685.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from anmok.core.errors import DataError, UsageError
from anmok.core.types import Batch
from anmok.models.classifier import Classifier
from anmok.objectives.losses import Loss
from anmok.objectives.supervised import Outcome


class Taken(NamedTuple):
    """Of the unlabelled images since `reset`: how many were seen, the share whose pseudo label was sure enough, and of
    these the share whose strong view was recognised as the same (None of none).
    """

    seen: int
    taken: float
    agreement: float | None


class FixMatch(nn.Module):
    """forward(batch) of two views of each image, images (weak, learned) uint8[B, H, W, C] each, gives an Outcome.

    Rows with a target are labelled: what is learned of them is their weak view. Rows with the target -1 are not: the
    weak view is looked at as the network will be used (in evaluation mode, without gradient), and where its
    probability reaches `threshold` the strong view is to have its label. ratio: unlabelled images for a labelled one
    (µ); weight: of their loss (λ). Every row weighs the same as every other of its kind, so that a batch taken in parts
    gives the gradient of the whole:

        mean over rows of (1 + µ) H(y, p(weak)) and λ (1 + µ) / µ · 1[max q ≥ τ] H(argmax q, p(strong)), q = p(weak),

    which is eq. 5 of the paper for B labelled and µB unlabelled rows.  UsageError for a multi-label model.
    """

    counts: torch.Tensor

    def __init__(self, model: Classifier, loss: Loss, threshold: float = 0.95, ratio: float = 7.0, weight: float = 1.0):
        super().__init__()
        if model.task == "multilabel":
            raise UsageError("fixmatch teaches one label an image.", where="--objective", code="setting")
        self.model, self.loss = model, loss
        self.threshold, self.ratio, self.weight = threshold, ratio, weight
        self.register_buffer("counts", torch.zeros(3, dtype=torch.int64))  # seen, taken, agreed

    def forward(self, batch: Batch) -> Outcome:
        """The loss of a batch, and how many of its images would be right if the labelled ones stood for all."""
        views = batch.images
        if not isinstance(views, tuple) or len(views) != 2:
            raise DataError("fixmatch compares a weak and a strong view of each image.", code="views")
        weak, learned = views
        known = batch.targets >= 0
        labels, sure = self._labels(weak[~known])
        logits = self.model(learned)
        mine, theirs, rows = logits[known], logits[~known], max(1, len(batch))
        total = logits.sum() * 0.0
        if len(mine):
            total = total + self.loss(mine, batch.targets[known]) * len(mine) * (1 + self.ratio)
        if len(theirs):
            each = F.cross_entropy(one_a_class(theirs), labels, reduction="none")
            total = total + (each * sure).sum() * (self.weight * (1 + self.ratio) / self.ratio)
        with torch.no_grad():
            right = (one_a_class(mine).argmax(1) == batch.targets[known]).sum() * (rows / max(1, len(mine)))
            agreed = (one_a_class(theirs).argmax(1) == labels) & sure
            if self.training:
                self.counts += torch.stack([sure.new_tensor(len(sure), dtype=torch.int64), sure.sum(), agreed.sum()])
        return Outcome(total / rows, {"correct": right})

    def _labels(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(the most probable class int64[B], whether it is sure enough bool[B]) of unlabelled images."""
        if not len(images):
            empty = torch.zeros(0, dtype=torch.int64, device=images.device)
            return empty, empty.bool()
        was = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                best = self.model.probabilities(images).max(dim=1)
        finally:
            self.model.train(was)
        return best.indices, best.values >= self.threshold

    def reset(self) -> Taken:
        """What became of the unlabelled images since the last reset; counting begins anew."""
        seen, taken, agreed = self.counts.tolist()
        self.counts.zero_()
        return Taken(seen, taken / max(1, seen), agreed / taken if taken else None)


def one_a_class(logits: torch.Tensor) -> torch.Tensor:
    """Logits float[B, 1] of a binary model as float[B, 2], (0, z); others as they are."""
    return logits if logits.shape[1] > 1 else torch.cat([torch.zeros_like(logits), logits], dim=1)
