"""Attention rollout: against a naive product, and on networks whose attention is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anmok.core.errors import UsageError
from anmok.models.networks import build_network
from anmok.models.rollout import attention_rollout, attentions, rolled_out


def naive(layers: list[np.ndarray]) -> np.ndarray:
    """The paper's recursion for one image, entry by entry: Ã(l) = A(l) Ã(l-1), A = ½ W + ½ I."""
    n = layers[0].shape[-1]
    joined = np.eye(n)
    for heads in layers:
        weights = np.zeros((n, n))
        for head in heads:
            weights += head / len(heads)
        mixed = 0.5 * weights + 0.5 * np.eye(n)
        out = np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                out[i, j] = sum(mixed[i, k] * joined[k, j] for k in range(n))
        joined = out
    return joined


@given(st.integers(1, 4), st.integers(1, 3), st.integers(2, 6), st.integers(0, 2**31))
def test_it_is_the_paper_s_recursion(depth: int, heads: int, tokens: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = [rng.dirichlet(np.ones(tokens), size=(1, heads, tokens)) for _ in range(depth)]
    found = rolled_out([torch.from_numpy(layer) for layer in layers], 1)[0].numpy()
    np.testing.assert_allclose(found, naive([layer[0] for layer in layers]), atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_the_attention_is_the_one_that_the_network_computes() -> None:
    network, images = build_network("test_vit", 3, 3, 160).eval(), torch.randn(2, 3, 160, 160)
    before = network(images)
    with torch.no_grad(), attentions(network) as layers:
        torch.testing.assert_close(network(images), before, rtol=1e-4, atol=1e-5)
    assert len(layers) == 6
    block = network.blocks[0]
    with torch.no_grad():  # by hand, from the weights
        tokens = network.norm_pre(network._pos_embed(network.patch_embed(images)))
        b, n, width = tokens.shape
        qkv = block.attn.qkv(block.norm1(tokens)).view(b, n, 3, block.attn.num_heads, -1).permute(2, 0, 3, 1, 4)
        expected = (qkv[0] @ qkv[1].mT / (width / block.attn.num_heads) ** 0.5).softmax(-1)
    torch.testing.assert_close(layers[0], expected, rtol=1e-4, atol=1e-6)
    assert all(b.attn.fused_attn for b in network.blocks)
    assert not block.attn.attn_drop._forward_hooks


@pytest.mark.parametrize(
    ("name", "size", "grid"),
    [
        ("test_vit", 160, 10),
        ("test_vit2", 64, 4),  # registers, no class token in the answer
        ("convit_tiny", 64, 4),  # its class token joins the patches late
        ("deit_tiny_distilled_patch16_224", 64, 4),  # two tokens before the patches
        ("torchvision/vit_b_16", 32, 2),
    ],
)
def test_shares_of_the_patches(name: str, size: int, grid: int) -> None:
    network, images = build_network(name, 3, 3, size), torch.randn(2, 3, size, size)
    network.train()
    maps = attention_rollout(network, images)
    assert maps.shape == (2, grid, grid)
    assert bool((maps > 0).all())
    torch.testing.assert_close(maps.sum((1, 2)), torch.ones(2))
    assert network.training


def test_a_patch_that_everybody_looks_at_has_the_largest_share() -> None:
    """The keys of one patch are made to match every query; only the rows of the grid where it lies light up."""
    network = build_network("test_vit", 3, 3, 160).eval()
    images = torch.zeros(1, 3, 160, 160)
    for block in network.blocks:
        torch.nn.init.zeros_(block.attn.qkv.weight)
        torch.nn.init.zeros_(block.attn.qkv.bias)
    even = attention_rollout(network, images)
    torch.testing.assert_close(even, torch.full((1, 10, 10), 0.01))
    layers = [torch.full((1, 1, 5, 5), 0.2) for _ in range(2)]
    layers[1][:, :, :, :] = torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0])
    row = rolled_out(layers, 1)[0, 0]
    assert int(row[1:].argmax()) == 2
    torch.testing.assert_close(row, torch.tensor([0.35, 0.1, 0.1, 0.35, 0.1]))  # by hand


@pytest.mark.parametrize(
    ("name", "size", "why"),
    [
        ("lenet", 32, "no attention that can be followed"),
        ("swin_tiny_patch4_window7_224", 64, "within windows"),
        ("coatnet_0_rw_224", 64, "fewer and fewer tokens"),
    ],
)
def test_networks_without_say_why(name: str, size: int, why: str) -> None:
    network = build_network(name, 3, 3, size)
    with pytest.raises(UsageError, match=why) as caught:
        attention_rollout(network, torch.randn(1, 3, size, size))
    assert caught.value.code == "no-attention"
