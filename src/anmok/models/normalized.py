"""What starts at uint8 pixels: the normalisation that every network of ours carries with it."""

from __future__ import annotations

import torch
from torch import nn


class Normalized(nn.Module):
    """A module that normalises its images itself. mean, std: one a channel, of pixels in [0, 1]."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        self.pixel_mean, self.pixel_std = tuple(mean), tuple(std)
        self.register_buffer("mean", torch.tensor(mean).mul(255).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(std).mul(255).reciprocal().view(1, -1, 1, 1), persistent=False)

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """uint8[B, H, W, C] to float32[B, C, H, W], channels last in memory."""
        return images.permute(0, 3, 1, 2).to(torch.float32, copy=True).sub_(self.mean).mul_(self.scale)
