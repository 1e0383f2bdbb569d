from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from anmok.core.errors import UsageError
from anmok.models.encoder import Encoder
from anmok.models.localvit import LocalFeedForward, LocalViT
from anmok.models.networks import build_network
from anmok.models.norms import NORMS


def test_parameters_by_hand_and_as_published() -> None:
    def block(width: int) -> int:
        hidden = 4 * width
        attention = 2 * width + (width + 1) * 3 * width + (width + 1) * width
        feed_forward = 2 * width * hidden + 9 * hidden + 2 * (2 * hidden) + 2 * width
        excitation = (hidden + 1) * 4 + (4 + 1) * hidden
        return attention + feed_forward + excitation

    def whole(width: int) -> int:
        ends = (16 * 16 * 3 + 1) * width + width + 197 * width + 2 * width + (width + 1) * 1000
        return 12 * block(width) + ends

    for name, width, millions in (("localvit_tiny", 192, 5.9), ("localvit_small", 384, 22.4)):
        found = sum(p.numel() for p in build_network(name, 1000, 3, 224).parameters())
        assert found == whole(width)
        assert round(found / 1e6, 1) == millions


def normal(x: torch.Tensor, state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    """Batch normalisation in evaluation of [channels, …], from the state alone."""
    mean, var, w, b = (state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
    shape = (-1, *([1] * (x.ndim - 1)))
    return (x - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt() * w.view(shape) + b.view(shape)


def h_swish(x: torch.Tensor) -> torch.Tensor:
    return x * (x + 3).clamp(0, 6) / 6


def feed_forward(x: torch.Tensor, state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    """The paper's equations for one image [width, h, w], position by position."""
    height, width = x.shape[1:]
    y = torch.einsum("oc,chw->ohw", state[f"{name}.expand.weight"][:, :, 0, 0], x)
    y = h_swish(normal(y, state, f"{name}.norm1"))
    padded = nn.functional.pad(y, (1, 1, 1, 1))
    kernel, z = state[f"{name}.depthwise.weight"][:, 0], torch.zeros_like(y)
    for i in range(height):
        for j in range(width):
            z[:, i, j] = (padded[:, i : i + 3, j : j + 3] * kernel).sum((1, 2))
    z = h_swish(normal(z, state, f"{name}.norm2"))
    squeezed = (state[f"{name}.excite.squeeze.weight"] @ z.mean((1, 2)) + state[f"{name}.excite.squeeze.bias"]).relu()
    gate = ((state[f"{name}.excite.widen.weight"] @ squeezed + state[f"{name}.excite.widen.bias"]) + 3).clamp(0, 6) / 6
    z = z * gate[:, None, None]
    z = torch.einsum("oc,chw->ohw", state[f"{name}.project.weight"][:, :, 0, 0], z)
    return x + normal(z, state, f"{name}.norm3")


def layer_norm(x: torch.Tensor, state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    return (x - mean) / (var + 1e-6).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]


def attention(x: torch.Tensor, state: dict[str, torch.Tensor], name: str, heads: int) -> torch.Tensor:
    """Multi-head self-attention of tokens [N, D], head by head."""
    qkv = x @ state[f"{name}.qkv.weight"].T + state[f"{name}.qkv.bias"]
    d = x.shape[1] // heads
    out = []
    for h in range(heads):
        q, k, v = (qkv[:, part * x.shape[1] + h * d : part * x.shape[1] + (h + 1) * d] for part in range(3))
        out.append((q @ k.T / math.sqrt(d)).softmax(-1) @ v)
    return torch.cat(out, 1) @ state[f"{name}.proj.weight"].T + state[f"{name}.proj.bias"]


def naive(image: torch.Tensor, state: dict[str, torch.Tensor], patch: int, depth: int, heads: int) -> torch.Tensor:
    """Logits of one image [C, H, W], with loops and from the state alone."""
    kernel, bias = state["patch_embed.proj.weight"], state["patch_embed.proj.bias"]
    rows, columns = image.shape[1] // patch, image.shape[2] // patch
    tokens = [state["cls_token"][0, 0]]
    for i in range(rows):
        for j in range(columns):
            piece = image[:, i * patch : (i + 1) * patch, j * patch : (j + 1) * patch]
            tokens.append((kernel * piece).sum((1, 2, 3)) + bias)
    x = torch.stack(tokens) + state["pos_embed"][0]
    for k in range(depth):
        x = x + attention(layer_norm(x, state, f"blocks.{k}.norm1"), state, f"blocks.{k}.attn", heads)
        grid = x[1:].T.reshape(-1, rows, columns)
        x = torch.cat([x[:1], feed_forward(grid, state, f"blocks.{k}.mlp").flatten(1).T])
    return state["head.weight"] @ layer_norm(x, state, "norm")[0] + state["head.bias"]


def awake(net: nn.Module) -> nn.Module:
    """In evaluation, with batch statistics, scales and a head that are not trivial."""
    for name, value in net.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif value.is_floating_point() and (value.ndim <= 1 or name.startswith("head")):
            value.add_(0.2 * torch.randn_like(value))
    return net.eval()


def test_forward_and_gradients_equal_a_naive_reference() -> None:
    net = LocalViT(5, 3, img_size=24, width=16, depth=2, heads=2, patch=8, reduction=16).double()
    awake(net)
    images = torch.randn(2, 3, 24, 24, dtype=torch.float64, requires_grad=True)
    found = net(images)
    leaves = {k: v.detach().clone().requires_grad_(v.is_floating_point()) for k, v in net.state_dict().items()}
    copies = images.detach().clone().requires_grad_()
    expected = torch.stack([naive(image, leaves, 8, 2, 2) for image in copies])
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(found)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(images.grad, copies.grad)
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, leaves[name].grad, msg=lambda m, n=name: f"{n}: {m}")


def test_the_class_token_passes_the_feed_forward_by() -> None:
    net = awake(LocalViT(3, 3, img_size=32, width=16, depth=1, heads=2, reduction=16))
    block = net.blocks[0]
    x = torch.randn(2, 5, 16)
    attended = x + block.attn(block.norm1(x))
    torch.testing.assert_close(block(x)[:, 0], attended[:, 0])
    assert not torch.allclose(block(x)[:, 1:], attended[:, 1:])


def test_what_a_patch_sees_are_its_neighbours() -> None:
    """The gradient of one cell reaches no further than its 3 × 3 neighbours, where nothing is squeezed over the map."""
    layer = LocalFeedForward(4, 16, None).eval()
    x = torch.randn(1, 4, 7, 7, requires_grad=True)
    layer(x)[0, :, 3, 3].sum().backward()
    reached = (x.grad[0].abs().sum(0) > 0).numpy()
    expected = np.zeros((7, 7), bool)
    expected[2:5, 2:5] = True
    np.testing.assert_array_equal(reached, expected)


@pytest.mark.parametrize(("height", "width", "tokens"), [(64, 64, 16), (48, 80, 15), (100, 40, 21), (16, 16, 1)])
def test_any_size_after_it_was_built(height: int, width: int, tokens: int) -> None:
    net = build_network("localvit_tiny", 4, 3, 64).eval()
    images = torch.randn(2, 3, height, width)
    with torch.no_grad():
        assert net.forward_features(images).shape == (2, 1 + tokens, 192)
        assert net(images).shape == (2, 4)


def test_the_map_of_features_lies_as_the_patches() -> None:
    encoder = Encoder(build_network("localvit_tiny", 4, 1, 64), 4, 64, 1)
    assert encoder.grid(torch.randn(1, 1, 96, 64)).shape == (1, 192, 6, 4)
    assert encoder(torch.randn(1, 1, 64, 64)).shape == (1, 192)


@pytest.mark.parametrize("norm", NORMS)
def test_norms_are_those_of_the_convolutions(norm: str) -> None:
    net = build_network("localvit_tiny", 10, 3, 32, {"norm": norm, "drop_path_rate": 0.1})
    kinds = {"none": nn.Identity, "batch": nn.BatchNorm2d, "group": nn.GroupNorm}
    assert isinstance(net.blocks[3].mlp.norm2, kinds.get(norm, nn.LayerNorm))
    assert isinstance(net.blocks[3].norm1, nn.LayerNorm)
    net.train()(torch.randn(2, 3, 32, 32)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_an_image_below_the_minimum_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 16 pixels"):
        build_network("localvit_tiny", 10, 3, 15)
