"""A network that learns fast from small images (after Jordan 2024, arXiv:2404.00498), in any width."""

from __future__ import annotations

import torch
from torch import nn

from anmok.models.norms import build_norm

FILTERS = 12  # whitening filters at most, each with its negative
EPS = 5e-4  # added to their variances
NUMBERS = 10_000_000  # of the patches that `prepare` whitens the stem with, at most: 80 MB


class AirBench(nn.Module):
    """A fixed whitening stem, three stages of two 3×3 convolutions, and a linear head on largest and mean activations.

    float[B, in_chans, S, S] to float[B, num_classes], any S of at least 16 × stride. stem: (kernel, stride) of the
    whitening, (2, 1) for 32 pixels and (4, 2) for 64, as `stem_for` has it; the stem is random until `whiten` is called
    and never learns, nor does its norm's scale and shift: so no gradient goes back through the first convolution, a
    twelfth of a step. norm: after the stem and every convolution (`build_norm`).
    """

    def __init__(
        self, num_classes: int, widths: tuple[int, int, int] = (32, 64, 128), stem: tuple[int, int] = (2, 1),
        in_chans: int = 3, norm: str = "batch",
    ):  # fmt: skip
        super().__init__()
        filters = 2 * min(FILTERS, in_chans * stem[0] ** 2)
        self.stem = nn.Conv2d(in_chans, filters, *stem, bias=False)
        self.stem.weight.requires_grad_(False)
        self.norm = build_norm(norm, filters).requires_grad_(False)
        channels = (filters, *widths)
        self.stages = nn.Sequential(*(stage(a, b, norm) for a, b in zip(channels, widths, strict=False)))
        self.head = nn.Linear(2 * widths[-1], num_classes)
        for module in self.stages.modules():
            if isinstance(module, nn.Conv2d):  # the first filters begin by passing their inputs on, as in the paper
                nn.init.dirac_(module.weight.data[: module.in_channels])

    def prepare(self, images: torch.Tensor) -> None:
        """Whiten the stem, once before training, with as many of these as needed: float[N, C, S, S], normalised."""
        with torch.no_grad():
            each = self.stem(images[:1])[0, 0].numel() * self.stem.weight[0].numel()
        self.whiten(images[: max(1, NUMBERS // each)])

    @torch.no_grad()
    def whiten(self, images: torch.Tensor) -> None:
        """Set the stem so that what it gives of these images (float[N, C, S, S], normalised) is uncorrelated."""
        kernel, stride = self.stem.kernel_size[0], self.stem.stride[0]
        filters, channels = self.stem.out_channels // 2, self.stem.in_channels
        patches = images.unfold(2, kernel, stride).unfold(3, kernel, stride).permute(0, 2, 3, 1, 4, 5)
        flat = patches.reshape(-1, channels * kernel * kernel).double()
        variances, vectors = torch.linalg.eigh(torch.cov(flat.T))
        largest = (vectors / (variances + EPS).sqrt())[:, -filters:].T.reshape(filters, channels, kernel, kernel)
        self.stem.weight.copy_(torch.cat([largest, -largest]))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """float[B, C, S, S] to the last map, float[B, widths[-1], h, w]; 3 × 3 cells where the stem leaves 31 × 31."""
        return self.stages(nn.functional.silu(self.norm(self.stem(images))))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """float[B, C, S, S] to logits [B, num_classes]."""
        x = self.forward_features(images)
        return self.head(torch.cat([x.amax((2, 3)), x.mean((2, 3))], dim=1))


def stem_for(size: int) -> tuple[int, int]:
    """(kernel, stride) of the stem for size × size pixels, at least 16: 31 × 31 cells of a multiple of 32.

    Other sizes take the stride of the nearest multiple, which leaves 15 × 15 cells of 16 pixels, else 23 to 47.
    """
    stride = max(1, (size + 16) // 32)
    return 2 * stride, stride


def stage(width_in: int, width: int, norm: str = "batch") -> nn.Sequential:
    """Convolution, halving, convolution."""
    return nn.Sequential(
        nn.Conv2d(width_in, width, 3, padding=1, bias=norm == "none"), nn.MaxPool2d(2), build_norm(norm, width),
        nn.SiLU(),
        nn.Conv2d(width, width, 3, padding=1, bias=norm == "none"), build_norm(norm, width), nn.SiLU(),
    )  # fmt: skip
