"""Attention rollout: which patches reach the answer through all layers (Abnar & Zuidema 2020, arXiv:2005.00928)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from anmok.core.errors import UsageError
from anmok.models.maps import PREFIXES


def attention_rollout(backbone: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The share of each patch in what the network answers from, float32[B, h, w], sums to 1 for each image.

    Each layer's attention, the mean over its heads, is mixed half and half with the identity for the residual path; the
    layers are multiplied (eq. 1-2). The class token's row is taken, or the mean over all patches where there is none. A
    class token that joins the patches later had nothing but itself before. What convolutions mix is not seen.
    images: float[B, C, H, W], normalised.  UsageError (code no-attention) for a network without attention, or whose
    attention is not between the same tokens from layer to layer (windows, pyramids).
    """
    with torch.inference_mode(), attentions(backbone) as layers:
        was = backbone.training
        backbone.eval()
        try:
            backbone(images)
        finally:
            backbone.train(was)
        joined = rolled_out(layers, len(images))
    return as_patches(joined, backbone, images.shape[2] / images.shape[3])


def rolled_out(layers: list[torch.Tensor], batch: int) -> torch.Tensor:
    """float32[B, N, N]: how much of token j is in token i after all layers. layers: float[B, heads, N, N] each."""
    if not layers:
        raise _none("the network has no attention that can be followed")
    joined: torch.Tensor | None = None
    for layer in layers:
        if layer.shape[0] != batch or layer.ndim != 4 or layer.shape[2] != layer.shape[3]:
            raise _none("its attention is within windows, or between different tokens")
        attention = layer.float().mean(1)
        attention = attention + torch.eye(attention.shape[1], device=attention.device)
        attention = attention / attention.sum(2, keepdim=True)
        if joined is None:
            joined = attention
            continue
        if attention.shape[1] == joined.shape[1] + 1:  # a class token joins in
            joined = nn.functional.pad(joined, (1, 0, 1, 0))
            joined[:, 0, 0] = 1
        if attention.shape != joined.shape:
            raise _none("its attention is between fewer and fewer tokens")
        joined = attention @ joined
    assert joined is not None
    return joined


def as_patches(joined: torch.Tensor, backbone: nn.Module, aspect: float = 1.0) -> torch.Tensor:
    """The answer's row of float[B, N, N] over the patches, float[B, h, w], sums to 1."""
    said = getattr(backbone, "num_prefix_tokens", None)
    for prefix in (*(() if said is None else (int(said),)), *PREFIXES):
        places = joined.shape[2] - prefix
        rows = max(1, round(math.sqrt(max(places, 0) * aspect)))
        if places < 1 or places % rows:
            continue
        token = prefix and getattr(backbone, "global_pool", "token") == "token"
        row = joined[:, 0, prefix:] if token else joined[:, prefix:, prefix:].mean(1)
        return (row / row.sum(1, keepdim=True)).unflatten(1, (rows, -1))
    raise _none(f"its {joined.shape[2]} tokens are no grid of patches")


@contextmanager
def attentions(backbone: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Every attention after its softmax, float[B, heads, N, N], as it is computed; fused kernels are off meanwhile."""
    layers: list[torch.Tensor] = []
    fused = [m for m in backbone.modules() if getattr(m, "fused_attn", False) is True]
    hooks: list[Any] = []
    for module in backbone.modules():
        inner = getattr(module, "attn_drop", None)
        if isinstance(inner, nn.Module):  # timm: what its dropout gets is the softmax
            hooks.append(inner.register_forward_hook(lambda _m, _i, out: layers.append(out.detach())))
        elif isinstance(module, nn.MultiheadAttention):
            hooks.append(module.register_forward_pre_hook(_with_weights, with_kwargs=True))
            hooks.append(module.register_forward_hook(lambda _m, _i, out: layers.append(out[1].detach())))
    for module in fused:
        module.fused_attn = False  # type: ignore[assignment]
    try:
        yield layers
    finally:
        for module in fused:
            module.fused_attn = True  # type: ignore[assignment]
        for hook in hooks:
            hook.remove()


def _with_weights(_module: nn.Module, arguments: Any, named: dict[str, Any]) -> Any:
    return arguments, {**named, "need_weights": True, "average_attn_weights": False}


def _none(why: str) -> UsageError:
    return UsageError(f"there is no attention rollout: {why}.", where="--model", code="no-attention")
