"""Which of a network's modules give a map of features, whatever its family: the same question of them all.

A map is an output [B, C, h, w], [B, h, w, C] of a network that says so (`output_fmt`), or tokens [B, N, C] that lie as
the patches do, class tokens before them. What happens inside an attention is no map.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

FIRST = (nn.Conv2d, nn.BatchNorm2d)  # modules that keep the channels before the places, in any network
PREFIXES = (0, 1, 2)  # class tokens that a network may have without saying so


class Given(NamedTuple):
    """A module's name and what it gave, of several things the first."""

    name: str
    output: torch.Tensor


@contextmanager
def differentiating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode with gradients, for the length of the block, whatever was set around it."""
    was = module.training
    module.eval()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        module.train(was)


@contextmanager
def recording(backbone: nn.Module, names: set[str] | None = None) -> Iterator[list[Given]]:
    """What modules give, in the order in which they run: those of these names, or all outside an attention."""
    given: list[Given] = []

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple | list) and output else output  # class tokens may follow
            if isinstance(first, torch.Tensor) and first.ndim in (3, 4):
                given.append(Given(name, first))

        return hook

    wanted = outside_attention(backbone) if names is None else names
    hooks = [m.register_forward_hook(keep(n)) for n, m in backbone.named_modules() if n and n in wanted]
    try:
        yield given
    finally:
        for hook in hooks:
            hook.remove()


def outside_attention(backbone: nn.Module) -> set[str]:
    """Names of all modules that are not part of an attention; an attention as a whole is one of them."""
    attentions = tuple(f"{name}." for name, module in backbone.named_modules() if name and is_attention(module))
    return {name for name, _ in backbone.named_modules() if not name.startswith(attentions)}


def is_attention(module: nn.Module) -> bool:
    """Whether a module compares tokens with one another, told by what it is called and made of."""
    said = type(module).__name__.lower()
    named = said.endswith(("attention", "attention2d", "attentioncl", "attn")) and "block" not in said
    return named or hasattr(module, "attn_drop") or isinstance(module, nn.MultiheadAttention)


def laid_out(output: torch.Tensor, module: nn.Module, backbone: nn.Module, aspect: float = 1.0) -> torch.Tensor | None:
    """An output as float[B, C, h, w] with more than one place; None if it is no map.

    module: which gave it; aspect: of the image, height over width, which a map shares but for rounding.
    """
    if output.ndim == 4:
        last = getattr(backbone, "output_fmt", "NCHW") == "NHWC" and not isinstance(module, FIRST)
        out = output.permute(0, 3, 1, 2) if last else output
        return out if _fits(out.shape[2], out.shape[3], aspect) else None
    if output.ndim != 3:
        return None
    for prefix in dict.fromkeys((int(getattr(backbone, "num_prefix_tokens", 0)), *PREFIXES)):
        places = output.shape[1] - prefix
        rows = max(1, round(math.sqrt(max(places, 0) * aspect)))
        if places > 1 and places % rows == 0 and _fits(rows, places // rows, aspect):
            return output[:, prefix:].transpose(1, 2).unflatten(2, (rows, -1))
    return None


def _fits(rows: int, columns: int, aspect: float) -> bool:
    return rows * columns > 1 and abs(rows - columns * aspect) < max(1.0, aspect)
