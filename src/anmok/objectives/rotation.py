"""Rotation prediction: which way up is the image?

Gidaris et al. 2018, "Unsupervised Representation Learning by Predicting Image Rotations", arXiv:1803.07728: each image
is shown in all four rotations at once, and the network tells by how much it was turned.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from anmok.core.errors import DataError
from anmok.core.types import Batch
from anmok.models.encoder import Encoder
from anmok.objectives.objective import Objective, Shown, as_pixels
from anmok.objectives.supervised import Outcome

ANGLES = (0, 90, 180, 270)  # degrees, counter-clockwise


class Rotation(Objective):
    """Tells four rotations of each image apart; the loss is the mean over all of them."""

    def __init__(self, encoder: Encoder, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__(encoder, mean, std)
        self.head = nn.Linear(encoder.width, len(ANGLES))

    def forward(self, batch: Batch) -> Outcome:
        """Cross-entropy over the four rotations of each image; solved: the share of them that was told rightly."""
        turned, targets = four_rotations(batch.images)
        logits = self.head(self.encoder(self.normalize(turned))).float()
        correct = (logits.argmax(1) == targets).sum() / len(ANGLES)
        return Outcome(F.cross_entropy(logits, targets), {"correct": correct})

    def show(self, batch: Batch) -> list[list[Shown]]:
        """Each image in one of its rotations, with what was guessed."""
        out = []
        for i in range(len(batch)):
            right = i % len(ANGLES)
            turned = torch.rot90(batch.images[i : i + 1], right, dims=(1, 2))
            probs = self.head(self.encoder(self.normalize(turned))).float().softmax(1)[0]
            guess = int(probs.argmax())
            said = f"turned by {ANGLES[right]}°, guessed {ANGLES[guess]}° ({probs[guess]:.2f})"
            out.append([Shown(as_pixels(batch.images[i : i + 1])[0], "image"), Shown(as_pixels(turned)[0], said)])
        return out


def four_rotations(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(uint8[4 B, S, S, C], targets int64[4 B]): all images turned by 0, then all by 90 degrees, and so on.

    DataError for images that are not square, whose shape would betray the rotation.
    """
    if images.shape[1] != images.shape[2]:
        raise DataError(f"rotations need square images, found {tuple(images.shape[1:3])}.", code="views")
    turned = torch.cat([torch.rot90(images, k, dims=(1, 2)) for k in range(len(ANGLES))])
    return turned, torch.arange(len(ANGLES), device=images.device).repeat_interleave(len(images))
