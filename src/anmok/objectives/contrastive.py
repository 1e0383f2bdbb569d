"""Contrastive learning: two views of an image are to be more alike than views of different images.

SimCLR: Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", arXiv:2002.05709.
With labels: Khosla et al. 2020, "Supervised Contrastive Learning", arXiv:2004.11362, of which SimCLR's loss is the case
in which every image is a class of its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from anmok.core.errors import DataError, UsageError
from anmok.core.types import Batch
from anmok.models.encoder import Encoder
from anmok.objectives.objective import Objective, Shown, as_pixels
from anmok.objectives.supervised import Outcome


class Contrastive(Objective):
    """Views of one image (with `labels`: of one class) attract each other, all others repel.

    forward takes two or more views, images a tuple of uint8[B, H, W, C]. temperature: of the similarities; projection:
    width of the space they are taken in, behind a layer as wide as the encoder. The loss depends on which images share
    a batch: taken in parts (`optim.accumulate`) each part has fewer negatives. Over several ranks the negatives are
    those of the whole global batch.
    """

    whole_batch = "the images of a batch are each other's negatives, and parts have fewer"

    def __init__(
        self, encoder: Encoder, mean: tuple[float, ...], std: tuple[float, ...], temperature: float = 0.5,
        projection: int = 128, labels: bool = False,
    ):  # fmt: skip
        super().__init__(encoder, mean, std)
        self.temperature, self.labels = temperature, labels
        self.projector = nn.Sequential(
            nn.Linear(encoder.width, encoder.width, bias=False), nn.BatchNorm1d(encoder.width), nn.ReLU(),
            nn.Linear(encoder.width, projection),
        )  # fmt: skip

    def forward(self, batch: Batch) -> Outcome:
        """The loss over the views of a batch, and of how many views the most similar other one belongs to it."""
        projected, keys = self._project(batch)
        others, other_keys, first = gathered(projected, keys)
        logits, positive = similarities(projected, others, other_keys, first, self.temperature)
        loss = supervised_contrastive(logits, positive)
        with torch.no_grad():
            hit = positive.gather(1, logits.argmax(1, keepdim=True)).sum() / max(1, len(keys)) * len(batch)
        return Outcome(loss, {"correct": hit})

    def _project(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(unit vectors float32[V · B, D], keys int64[V · B]): views of one key belong together."""
        views = batch.images
        if not isinstance(views, tuple) or len(views) < 2:
            raise DataError("contrastive learning compares two views of each image, found one.", code="views")
        vectors = self.projector(self.encoder(self.normalize(torch.cat(views)))).float()
        own = -1 - torch.arange(len(batch), device=vectors.device)  # of an image without a label
        keys = torch.where(batch.targets >= 0, batch.targets, own) if self.labels else own
        return F.normalize(vectors, dim=1), keys.repeat(len(views))

    def show(self, batch: Batch) -> list[list[Shown]]:
        """The two views of each image with their similarity, and the most similar view of another image."""
        projected, keys = self._project(batch)
        n = len(batch)
        first, second = projected[:n], projected[n : 2 * n]
        alike = first @ second.T
        other = alike.masked_fill(keys[:n, None] == keys[None, n : 2 * n], -2).argmax(1)
        left, right = as_pixels(batch.images[0]), as_pixels(batch.images[1])
        return [
            [
                Shown(left[i], "one view"), Shown(right[i], f"the other: {alike[i, i]:.2f}"),
                Shown(right[int(other[i])], f"nearest other: {alike[i, other[i]]:.2f}"),
            ]
            for i in range(n)
        ]  # fmt: skip


def similarities(
    anchors: torch.Tensor, others: torch.Tensor, keys: torch.Tensor, first: int, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(logits float32[A, M], positive bool[A, M]) of unit vectors float32[A, D] and [M, D], keys int64[M].

    The anchors are rows `first`, first + 1, … of the others; an anchor is compared with all but itself.
    """
    with torch.autocast(anchors.device.type, enabled=False):  # bf16 would leave three digits of a cosine
        logits = anchors.float() @ others.float().T / temperature
    rows = torch.arange(len(others), device=others.device)
    own = rows[first : first + len(anchors)]
    itself = own[:, None] == rows
    positive = (keys[own, None] == keys) & ~itself
    return logits.masked_fill(itself, float("-inf")), positive


def supervised_contrastive(logits: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """L_out of Khosla et al. (eq. 2): −1/|P(i)| Σ_p∈P(i) log softmax(z_i · z / τ)_p, mean over the anchors i.

    With one positive an anchor it is NT-Xent (Chen et al., eq. 1). An anchor without a positive counts as 0.
    """
    if not len(logits):
        return logits.sum()
    log_probs = logits.log_softmax(1).masked_fill(~positive, 0.0)
    return -(log_probs.sum(1) / positive.sum(1).clamp_min(1)).mean()


def nt_xent(first: torch.Tensor, second: torch.Tensor, temperature: float = 0.5) -> torch.Tensor:
    """SimCLR's loss of two views float[B, D], rows in the same order; they are brought to length 1 here.

    UsageError where the two differ in shape.
    """
    if first.shape != second.shape:
        raise UsageError(f"two views of other shapes: {tuple(first.shape)}, {tuple(second.shape)}.", code="views")
    vectors = F.normalize(torch.cat([first, second]).float(), dim=1)
    keys = torch.arange(len(first), device=first.device).repeat(2)
    return supervised_contrastive(*similarities(vectors, vectors, keys, 0, temperature))


def gathered(vectors: torch.Tensor, keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, int]:
    """(vectors, keys) of all ranks, gradients flowing back to each, and which row is the first of this rank.

    Ranks may hold different numbers of rows. A key below 0 means an image without a class: it is made the rank's own.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return vectors, keys, 0
    world, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
    sizes = [torch.zeros(1, dtype=torch.int64, device=keys.device) for _ in range(world)]
    torch.distributed.all_gather(sizes, torch.tensor([len(keys)], device=keys.device))
    counts = [int(size) for size in sizes]
    most = max(counts)
    rows = _AllGather.apply(F.pad(vectors, (0, 0, 0, most - len(vectors))))
    named = [torch.empty(most, dtype=keys.dtype, device=keys.device) for _ in range(world)]
    torch.distributed.all_gather(named, F.pad(keys, (0, most - len(keys))))
    apart = [torch.where(k < 0, k - r * (most + 1), k)[:n] for r, (k, n) in enumerate(zip(named, counts, strict=True))]
    return torch.cat([v[:n] for v, n in zip(rows, counts, strict=True)]), torch.cat(apart), sum(counts[:rank])


class _AllGather(torch.autograd.Function):
    """Every rank's tensor, of one shape; backward, every rank's gradient for this rank's tensor, summed."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        """[...] to [world, ...]."""
        parts = [torch.empty_like(tensor) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, tensor.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        """[world, ...] to [...]."""
        gradient = gradient.contiguous()
        torch.distributed.all_reduce(gradient)
        return gradient[torch.distributed.get_rank()]
