"""A small network that learns fast from few small images (after Jordan 2024, arXiv:2404.00498)."""

from __future__ import annotations

import torch
from torch import nn

FILTERS = 12  # whitening filters, each with its negative
EPS = 5e-4  # added to their variances


class AirBench(nn.Module):
    """A fixed whitening stem, three stages of two 3×3 convolutions, and a linear head on largest and mean activations.

    float[B, 3, S, S] to float[B, num_classes], any S of at least 16 × stride. stem: (kernel, stride) of the whitening,
    (2, 1) for 32 pixels and (4, 2) for 64, as `stem_for` has it; the stem is random until `whiten` is called.
    """

    def __init__(self, num_classes: int, widths: tuple[int, int, int] = (32, 64, 128), stem: tuple[int, int] = (2, 1)):
        super().__init__()
        self.stem = nn.Conv2d(3, 2 * FILTERS, *stem, bias=False)
        self.stem.weight.requires_grad_(False)
        self.norm = nn.BatchNorm2d(2 * FILTERS)
        channels = (2 * FILTERS, *widths)
        self.stages = nn.Sequential(*(stage(a, b) for a, b in zip(channels, widths, strict=False)))
        self.head = nn.Linear(2 * widths[-1], num_classes)

    @torch.no_grad()
    def whiten(self, images: torch.Tensor) -> None:
        """Set the stem so that what it gives of these images (float[N, 3, S, S], normalised) is uncorrelated."""
        kernel, stride = self.stem.kernel_size[0], self.stem.stride[0]
        patches = images.unfold(2, kernel, stride).unfold(3, kernel, stride).permute(0, 2, 3, 1, 4, 5)
        flat = patches.reshape(-1, 3 * kernel * kernel).double()
        variances, vectors = torch.linalg.eigh(torch.cov(flat.T))
        largest = (vectors / (variances + EPS).sqrt())[:, -FILTERS:].T.reshape(FILTERS, 3, kernel, kernel)
        self.stem.weight.copy_(torch.cat([largest, -largest]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """float[B, 3, S, S] to logits [B, num_classes]."""
        x = self.stages(torch.relu(self.norm(self.stem(images))))
        return self.head(torch.cat([x.amax((2, 3)), x.mean((2, 3))], dim=1))


def stem_for(size: int) -> tuple[int, int]:
    """(kernel, stride) of the stem that leaves 31 × 31 cells of size × size pixels, a multiple of 32."""
    return 2 * (size // 32), size // 32


def stage(width_in: int, width: int) -> nn.Sequential:
    """Convolution, halving, convolution."""
    return nn.Sequential(
        nn.Conv2d(width_in, width, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
    )  # fmt: skip
