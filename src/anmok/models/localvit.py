"""LocalViT (Li et al. 2021, arXiv:2104.05707): a vision transformer whose feed-forward sees its neighbours."""

from __future__ import annotations

import math
from typing import Any

import torch
from timm.layers import DropPath, LayerNorm, PatchEmbed
from timm.layers.attention import Attention
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from anmok.models.norms import build_norm


class LocalFeedForward(nn.Module):
    """1×1 expansion, depth-wise 3×3, squeeze and excitation, 1×1 projection, added to what comes in (eq. 5–6, fig. 2c).

    float[B, width, h, w] to the same. hidden: channels in between. reduction: those of the excitation are hidden /
    reduction; None for none. norm: after each convolution.
    """

    def __init__(self, width: int, hidden: int, reduction: int | None, norm: str = "batch", drop_path: float = 0.0):
        super().__init__()
        bias = norm == "none"
        self.expand, self.norm1 = nn.Conv2d(width, hidden, 1, bias=bias), build_norm(norm, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=bias)
        self.norm2, self.act = build_norm(norm, hidden), nn.Hardswish()
        self.excite = Excitation(hidden, hidden // reduction) if reduction else nn.Identity()
        self.project, self.norm3 = nn.Conv2d(hidden, width, 1, bias=bias), build_norm(norm, width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(self.norm1(self.expand(x)))
        y = self.excite(self.act(self.norm2(self.depthwise(y))))
        return x + self.drop_path(self.norm3(self.project(y)))


class Excitation(nn.Module):
    """Squeeze and excitation (Hu et al. 2018, arXiv:1709.01507) with a hard sigmoid: channels weighed by means."""

    def __init__(self, channels: int, squeezed: int):
        super().__init__()
        self.squeeze, self.widen = nn.Linear(channels, squeezed), nn.Linear(squeezed, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = nn.functional.hardsigmoid(self.widen(torch.relu(self.squeeze(x.mean((2, 3))))))
        return x * weights[:, :, None, None]


class LocalBlock(nn.Module):
    """Attention over all tokens, then the local feed-forward over those of patches; the class token passes it by."""

    def __init__(
        self, width: int, heads: int, expansion: int, reduction: int | None, norm: str, drop_path: float = 0.0
    ):
        super().__init__()
        self.norm1 = LayerNorm(width)
        self.attn = Attention(width, num_heads=heads, qkv_bias=True)
        self.drop_path = DropPath(drop_path)
        self.mlp = LocalFeedForward(width, width * expansion, reduction, norm, drop_path)

    def forward(self, x: torch.Tensor, rows: int | None = None) -> torch.Tensor:
        """float[B, 1 + rows · columns, width] to the same; rows: of the patches, by default as many as columns."""
        rows = math.isqrt(x.shape[1] - 1) if rows is None else rows
        x = x + self.drop_path(self.attn(self.norm1(x)))
        token, patches = x[:, :1], x[:, 1:].transpose(1, 2).unflatten(2, (rows, -1))
        return torch.cat([token, self.mlp(patches).flatten(2).transpose(1, 2)], dim=1)


class LocalViT(VisionTransformer):
    """A DeiT of `depth` blocks whose feed-forwards are local; float[B, in_chans, H, W] to float[B, num_classes].

    Any H and W: an image is padded with zeros to whole patches, and position embeddings (of img_size) are interpolated
    to its grid. expansion: of the feed-forward; reduction: of its excitation, None for none (the paper's table 2).
    norm: of its convolutions (`build_norm`). Heads are as many as in the authors' code (DeiT-T has three, DeiT-S six).
    """

    def __init__(
        self, num_classes: int = 1000, in_chans: int = 3, img_size: int = 224, width: int = 192, depth: int = 12,
        heads: int = 4, patch: int = 16, expansion: int = 4, reduction: int | None = 192, norm: str = "batch",
        drop_rate: float = 0.0, drop_path_rate: float = 0.0,
    ):  # fmt: skip
        super().__init__(
            img_size=-(-img_size // patch) * patch, patch_size=patch, in_chans=in_chans, num_classes=num_classes,
            embed_dim=width, depth=0, num_heads=heads, dynamic_img_size=True, dynamic_img_pad=True,
            drop_rate=drop_rate, embed_layer=PatchEmbed,
        )  # fmt: skip
        rates = [drop_path_rate * i / max(1, depth - 1) for i in range(depth)]
        self.blocks = nn.Sequential(*(LocalBlock(width, heads, expansion, reduction, norm, rate) for rate in rates))
        self.feature_info = [{"module": f"blocks.{i}", "num_chs": width, "reduction": patch} for i in range(depth)]
        self.init_weights(needs_reset=False)

    def forward_features(self, x: torch.Tensor, *unused: Any, **masks: Any) -> torch.Tensor:
        """float[B, C, H, W] to tokens float[B, 1 + h · w, width], the class token first."""
        x = self.patch_embed(x)
        rows = x.shape[1]
        x = self.norm_pre(self.patch_drop(self._pos_embed(x)))
        for block in self.blocks:
            x = block(x, rows)
        return self.norm(x)


def localvit_tiny(**arguments: Any) -> LocalViT:
    """LocalViT-T: DeiT-T with h-swish and an excitation of four channels; 5,908,696 parameters for 1,000 classes."""
    return LocalViT(**arguments)


def localvit_small(**arguments: Any) -> LocalViT:
    """LocalViT-S: DeiT-S in the same way; 22,433,176 parameters for 1,000 classes."""
    return LocalViT(width=384, heads=8, reduction=384, **arguments)
