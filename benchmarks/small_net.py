"""The network of the pretraining benchmark: small, for 32 × 32 pixels on a processor, and wide where it ends."""

from __future__ import annotations

import itertools

import torch
from torch import nn

WIDTHS = (32, 64, 128, 256)


class SmallNet(nn.Module):
    """A 4×4 stem of stride 2, then three stages of two 3×3 convolutions that each halve the map between them.

    float[B, in_chans, S, S] to float[B, num_classes]; 22 million multiplications for 32 × 32 pixels, 1.2 million
    parameters. The head sees the largest and the mean activation, 512 numbers.
    """

    def __init__(self, num_classes: int = 10, in_chans: int = 3, widths: tuple[int, ...] = WIDTHS):
        super().__init__()
        self.stem = layer(in_chans, widths[0], 4, stride=2)
        self.stages = nn.Sequential(*(stage(a, b) for a, b in itertools.pairwise(widths)))
        self.head = nn.Linear(2 * widths[-1], num_classes)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """float[B, C, S, S] to float[B, 256, S / 16, S / 16]."""
        return self.stages(self.stem(images))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """float[B, C, S, S] to logits [B, num_classes]."""
        x = self.forward_features(images)
        return self.head(torch.cat([x.amax((2, 3)), x.mean((2, 3))], dim=1))


def layer(width_in: int, width: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution, normalisation, ReLU."""
    convolution = nn.Conv2d(width_in, width, kernel, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())


def stage(width_in: int, width: int) -> nn.Sequential:
    """Convolution, halving, convolution."""
    return nn.Sequential(
        nn.Conv2d(width_in, width, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(width), nn.ReLU(),
        layer(width, width, 3),
    )  # fmt: skip


def net(num_classes: int, in_chans: int) -> SmallNet:
    """For `--model small_net:net`, with this folder on PYTHONPATH."""
    return SmallNet(num_classes, in_chans)
