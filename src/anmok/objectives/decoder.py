"""From an encoder's map of features back to a picture: a few convolutions between doublings."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from anmok.models.classifier import evaluating
from anmok.models.encoder import Encoder

WIDTH, LEAST = 128, 16


class Decoder(nn.Module):
    """float[B, width_in, h, w] to float[B, outputs, side, side]; light, so that the encoder has to do the work.

    rows: h of the maps it is made for; it doubles them until `side` is reached, at least once convolved. width: of its
    first maps, which halves with every doubling but not below `least`.
    """

    def __init__(self, width_in: int, outputs: int, rows: int, side: int, width: int = WIDTH, least: int = LEAST):
        super().__init__()
        self.side, self.doublings = side, 0
        while rows * 2 ** (self.doublings + 1) <= side:
            self.doublings += 1
        widths = [max(least, width >> k) for k in range(max(1, self.doublings) + 1)]
        self.enter = block(width_in, widths[0], kernel=1)
        self.stages = nn.ModuleList(block(a, b) for a, b in pairwise(widths))
        self.leave = nn.Conv2d(widths[-1], outputs, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """float[B, width_in, h, w] to float[B, outputs, side, side]."""
        x = self.enter(features)
        for number, stage in enumerate(self.stages):
            if number < self.doublings:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = stage(x)
        if x.shape[2:] != (self.side, self.side):
            x = F.interpolate(x, size=(self.side, self.side), mode="bilinear", align_corners=False)
        return self.leave(x)


def block(width_in: int, width: int, kernel: int = 3) -> nn.Sequential:
    """Convolution, normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(width_in, width, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    )


def map_rows(encoder: Encoder, channels: int, image_size: int) -> int:
    """Rows of the encoder's map of an image of that size."""
    device = next(encoder.parameters()).device
    with evaluating(encoder):
        return int(encoder.grid(torch.zeros(2, channels, image_size, image_size, device=device)).shape[2])
