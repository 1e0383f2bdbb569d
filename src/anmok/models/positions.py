"""Position embeddings of another image size, interpolated to this network's."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


def fit_positions(backbone: nn.Module, own: Mapping[str, torch.Tensor], state: dict[str, torch.Tensor]) -> list[str]:
    """Bring what of `state` depends on the image size into the shape it has in `own`, in place; says what.

    By the filter that timm's networks have for their own checkpoints (absolute and relative positions), else as a
    table [1, tokens, D] with or without class tokens, interpolated bicubically as timm does it.
    """
    odd = [k for k in state if k in own and state[k].shape != own[k].shape]
    if not odd:
        return []
    theirs = _filtered(backbone, state)
    said = []
    for key in odd:
        made = theirs.get(key)
        if made is None or made.shape != own[key].shape:
            made = _interpolated(key, state[key], own[key], int(getattr(backbone, "num_prefix_tokens", 1)))
        if made is not None:
            said.append(f"{key} {tuple(state[key].shape)} is interpolated to {tuple(own[key].shape)}")
            state[key] = made
    return said


def _filtered(backbone: nn.Module, state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """What the checkpoint filter of a timm network makes of the tensors; nothing for others."""
    module = sys.modules.get(type(backbone).__module__)
    prepare = getattr(module, "checkpoint_filter_fn", None)
    if prepare is None or not type(backbone).__module__.startswith("timm."):
        return {}
    try:
        return dict(prepare(dict(state), backbone))
    except (RuntimeError, ValueError, LookupError, AttributeError, AssertionError, TypeError):
        return {}  # weights of another architecture: what differs is said where it is compared


def _interpolated(key: str, value: torch.Tensor, own: torch.Tensor, prefix: int) -> torch.Tensor | None:
    """A table of positions [1, tokens, D] for the tokens of `own`, None where it is none or its grid is not known."""
    from timm.layers import resample_abs_pos_embed

    if "pos" not in key or value.ndim != 3 or own.ndim != 3 or value.shape[::2] != own.shape[::2]:
        return None
    for tokens in dict.fromkeys((prefix, 1, 0)):
        theirs, mine = value.shape[1] - tokens, own.shape[1] - tokens
        old, new = math.isqrt(max(0, theirs)), math.isqrt(max(0, mine))
        if old and new and (old * old, new * new) == (theirs, mine):
            return resample_abs_pos_embed(value, [new, new], [old, old], num_prefix_tokens=tokens)
    return None
