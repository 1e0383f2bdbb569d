"""What self-supervised objectives share: an encoder behind its normalisation, and pictures of what was asked of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from anmok.core.types import Batch
from anmok.models.encoder import Encoder
from anmok.models.normalized import Normalized
from anmok.objectives.supervised import Outcome


class Shown(NamedTuple):
    """A picture uint8[H, W, 1 | 3] of what an objective did, and what it says of it."""

    image: np.ndarray
    caption: str


class Objective(Normalized):
    """A task made of the images themselves, which an encoder learns by solving.

    encoder: keeps what was learned; heads of the objective's own are thrown away in the end. mean, std: see
    `Normalized`. Whatever is drawn is drawn from torch's generator, which a run's checkpoints keep.
    """

    def __init__(self, encoder: Encoder, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__(mean, std)
        self.encoder = encoder

    def forward(self, batch: Batch) -> Outcome:
        """The loss of a batch (images uint8[B, H, W, C] on the device) and how many of its images were solved."""
        raise NotImplementedError

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """uint8[B, H, W, C] to the encoder's vectors, float32[B, width]."""
        return self.encoder(self.normalize(images)).float()

    def show(self, batch: Batch) -> list[list[Shown]]:
        """For each image of a batch the pictures, side by side, of what was asked and what was answered."""
        raise NotImplementedError


def as_pixels(images: torch.Tensor) -> np.ndarray:
    """uint8[B, H, W, C] of a tensor of that shape with values in [0, 255], rounded and cut."""
    return images.detach().float().round().clamp(0, 255).to(torch.uint8).cpu().numpy()
