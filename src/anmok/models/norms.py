"""Normalisation between convolutions, by name."""

from __future__ import annotations

from typing import Literal

from torch import nn

Norm = Literal["none", "batch", "group", "layer"]
NORMS: tuple[Norm, ...] = ("none", "batch", "group", "layer")

GROUPS = 32  # of the paper


def build_norm(kind: str, channels: int) -> nn.Module:
    """What normalises float[B, channels, H, W], with a scale and a shift a channel; ValueError for another `kind`.

    none: nothing. batch (Ioffe & Szegedy 2015, arXiv:1502.03167): each channel over the batch and all positions.
    group (Wu & He 2018, arXiv:1803.08494): groups of channels over all positions of an image, see `groups_of`.
    layer (Ba et al. 2016, arXiv:1607.06450): all channels of one position of one image, as ConvNeXt has it.
    """
    if kind == "none":
        return nn.Identity()
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "group":
        return nn.GroupNorm(groups_of(channels), channels)
    if kind == "layer":
        from timm.layers import LayerNorm2d

        return LayerNorm2d(channels)
    raise ValueError(f"norm is one of {', '.join(NORMS)}, found {kind!r}")


def groups_of(channels: int) -> int:
    """The most groups of equal size, at most GROUPS and of two channels or more.

    A group of one channel would be instance normalisation, which leaves nothing of a map of one cell.
    """
    return max(g for g in range(1, GROUPS + 1) if channels % g == 0 and (g == 1 or channels >= 2 * g))
