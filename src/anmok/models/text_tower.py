"""A small transformer that turns tokens into one vector."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from anmok.core.errors import UsageError
from anmok.models.text_tokens import PAD


class Block(nn.Module):
    """Attention and a perceptron, each behind a layer norm and beside a residual path.

    Pre-norm: Xiong et al. 2020, "On Layer Normalization in the Transformer Architecture", arXiv:2002.04745.
    """

    def __init__(self, width: int, heads: int, drop: float = 0.0):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop = nn.Dropout(drop)

    def forward(self, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """float[B, L, width] to the same shape; seen bool[B, 1, 1, L]: tokens that may be looked at."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        x = x + self.drop(self.out(mixed.transpose(1, 2).flatten(2)))
        return x + self.drop(self.mlp(self.norm2(x)))


class TextTower(nn.Module):
    """Tokens int64[B, L], filled with PAD, to the mean of what the last block makes of them, float[B, width].

    vocabulary: token numbers there are; length: the longest row; every token sees every other one.
    UsageError for a width that the heads do not divide.
    """

    def __init__(self, vocabulary: int, length: int, width: int = 128, depth: int = 3, heads: int = 4, drop: float = 0):
        super().__init__()
        if width % heads:
            raise UsageError(
                f"a width of {width} cannot be divided among {heads} heads.", where="text.heads", code="setting",
                remedy="Take a --text.width that is a multiple of --text.heads.",
            )  # fmt: skip
        self.width, self.length = width, length
        self.token = nn.Embedding(vocabulary, width, padding_idx=PAD)
        self.pos_embed = nn.Parameter(torch.empty(length, width))
        self.blocks = nn.ModuleList(Block(width, heads, drop) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.token.weight, std=0.02)  # as CLIP's (Radford et al. 2021)
        nn.init.normal_(self.pos_embed, std=0.01)
        with torch.no_grad():
            self.token.weight[PAD].zero_()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """int64[B, L] to float[B, width]; each row holds one token at least that is not PAD."""
        tokens = tokens[:, : max(1, int((tokens != PAD).sum(1).max()))] if len(tokens) else tokens
        there = tokens != PAD
        x = self.token(tokens) + self.pos_embed[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x, there[:, None, None])
        weight = there.to(x.dtype)[:, :, None]
        return (self.norm(x) * weight).sum(1) / weight.sum(1)
