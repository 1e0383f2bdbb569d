"""The text tower against torch's own transformer, and what padding must not do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anmok.core.errors import UsageError
from anmok.models.text_tokens import END, PAD, START
from anmok.models.text_tower import TextTower


def padded(rows: list[list[int]], length: int) -> torch.Tensor:
    return torch.tensor([[*row, *[PAD] * (length - len(row))] for row in rows])


def test_it_computes_what_torchs_encoder_computes() -> None:
    torch.manual_seed(0)
    tower = TextTower(50, 10, width=16, depth=2, heads=4).eval()
    layers = [
        nn.TransformerEncoderLayer(16, 4, 64, 0.0, "gelu", batch_first=True, norm_first=True) for _ in range(2)
    ]  # fmt: skip
    for block, layer in zip(tower.blocks, layers, strict=True):
        layer.load_state_dict({
            "self_attn.in_proj_weight": block.qkv.weight, "self_attn.in_proj_bias": block.qkv.bias,
            "self_attn.out_proj.weight": block.out.weight, "self_attn.out_proj.bias": block.out.bias,
            "linear1.weight": block.mlp[0].weight, "linear1.bias": block.mlp[0].bias,
            "linear2.weight": block.mlp[2].weight, "linear2.bias": block.mlp[2].bias,
            "norm1.weight": block.norm1.weight, "norm1.bias": block.norm1.bias,
            "norm2.weight": block.norm2.weight, "norm2.bias": block.norm2.bias,
        })  # fmt: skip
    tokens = padded([[START, 7, 8, 9, END], [START, 5, END]], 10)
    x = tower.token(tokens) + tower.pos_embed
    for layer in layers:
        x = layer.train()(x, src_key_padding_mask=tokens == PAD)  # train: without the fused path
    there = (tokens != PAD)[..., None].float()
    expected = (tower.norm(x) * there).sum(1) / there.sum(1)
    assert torch.allclose(tower(tokens), expected, atol=1e-6)


def test_padding_and_company_change_nothing() -> None:
    torch.manual_seed(0)
    tower = TextTower(50, 12, width=16, depth=2, heads=2).eval()
    row = [START, 7, 8, END]
    alone = tower(padded([row], 4))
    assert torch.allclose(tower(padded([row, [START, *range(3, 12), END]], 12))[:1], alone, atol=1e-6)
    assert not torch.allclose(tower(padded([[START, 8, 7, END]], 4)), alone, atol=1e-3)  # the order counts


def test_heads_that_do_not_divide_the_width() -> None:
    with pytest.raises(UsageError, match="3 heads"):
        TextTower(50, 10, width=16, heads=3)
