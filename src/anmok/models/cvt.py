"""CvT (Wu et al. 2021, arXiv:2103.15808): a transformer with convolutions, as the package transformers has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from anmok.core.optional import need


class CvT(nn.Module):
    """Three stages, each a strided convolution that makes tokens, then attention with convolutional projections.

    float[B, in_chans, H, W] to float[B, num_classes], any H and W of at least 16. widths, heads, depths: of the stages;
    the third one's depth is at least 3. drop_rate: before the head. drop_path_rate: of the last block, rising from 0
    over the third stage as the authors have it.  MachineError without the package transformers.
    """

    def __init__(
        self, num_classes: int = 1000, in_chans: int = 3, widths: Sequence[int] = (64, 192, 384),
        heads: Sequence[int] = (1, 3, 6), depths: Sequence[int] = (1, 2, 10), drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ):  # fmt: skip
        super().__init__()
        transformers = need("transformers", "text")
        config = transformers.CvtConfig(
            num_channels=in_chans, embed_dim=list(widths), num_heads=list(heads), depth=list(depths),
            drop_path_rate=[0.0, 0.0, 0.0], num_labels=num_classes,
        )  # fmt: skip
        made = transformers.CvtForImageClassification(config)
        self.cvt, self.layernorm = made.cvt, made.layernorm  # names of the hub's weights
        self.head_drop, self.classifier = nn.Dropout(drop_rate), made.classifier
        if drop_path_rate:
            _add_drop_path(self.cvt.encoder.stages[-1].layers, drop_path_rate)

    def _last(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, token = images, images
        for stage in self.cvt.encoder.stages:
            x, token = stage(x)
        return x, token

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """float[B, C, H, W] to the last map, float[B, widths[-1], h, w]; a sixteenth of the image's sides."""
        return self._last(images)[0]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """float[B, C, H, W] to logits [B, num_classes], of the class token."""
        return self.classifier(self.head_drop(self.layernorm(self._last(images)[1]).mean(1)))


def _add_drop_path(layers: Any, most: float) -> None:
    """Stochastic depth on both branches of each block; the package's own would drop what goes past them, too."""
    from timm.layers import DropPath

    for i, layer in enumerate(layers):
        rate = most * i / max(1, len(layers) - 1)
        layer.attention.output.dropout, layer.output.dropout = DropPath(rate), DropPath(rate)


def cvt_13(**arguments: Any) -> CvT:
    """13 blocks; 20.0 M parameters for 1,000 classes."""
    return CvT(**arguments)


def cvt_21(**arguments: Any) -> CvT:
    """21 blocks; 31.6 M parameters for 1,000 classes."""
    return CvT(depths=(1, 4, 16), **arguments)


def cvt_w24(**arguments: Any) -> CvT:
    """24 wide blocks; 277 M parameters for 1,000 classes."""
    return CvT(widths=(192, 768, 1024), heads=(3, 12, 16), depths=(2, 2, 20), **arguments)
