"""A small network that keeps where things are: three convolutions, then every place of the last map by itself.

Most networks end in the mean over the whole picture, which forgets the places that captions of drawn_scenes.py name.
"""

from __future__ import annotations

import torch
from torch import nn


class PlaceNet(nn.Module):
    """float[B, in_chans, S, S] to logits [B, num_classes]; S a multiple of 8."""

    def __init__(self, num_classes: int, in_chans: int = 3, image_size: int = 32, width: int = 16):
        super().__init__()
        self.body = nn.Sequential(
            block(in_chans, width), block(width, 2 * width), block(2 * width, 4 * width), nn.Flatten(),
            nn.Linear(4 * width * (image_size // 8) ** 2, 8 * width), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(8 * width, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """float[B, in_chans, S, S] to logits [B, num_classes]."""
        return self.head(self.body(images))


def block(inputs: int, outputs: int) -> nn.Sequential:
    """A convolution with batch normalisation, at half the resolution."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)
    )
