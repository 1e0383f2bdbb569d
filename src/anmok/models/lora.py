"""Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685) by peft: W + (alpha / rank) B A, of which B and A learn."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from anmok.core.errors import UsageError
from anmok.core.optional import need
from anmok.models.heads import in_head


def add_lora(backbone: nn.Module, heads: tuple[str, ...], rank: int, alpha: float, images: torch.Tensor) -> list[str]:
    """Put low-rank additions into a network, in place; they and the head learn, all else is frozen.

    Of linear layers, and, where these hold less than half of the weights, of convolutions too (grouped ones excepted).
    A layer whose weights the network uses without calling it is left as it is. images: float[B, C, H, W], run through
    to see which layers are called. Returns the names of the layers.  UsageError where no layer suits, MachineError
    without peft.
    """
    peft = need("peft", "lora")
    names = suited(backbone, heads, images)
    if not names:
        raise UsageError(
            "the model has no linear layer or convolution that LoRA could add to.", where="--adapt lora", code="adapt",
            remedy="Use --adapt last:N or full.",
        )  # fmt: skip
    config = peft.LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, bias="none", target_modules="|".join(map(re.escape, names))
    )
    peft.inject_adapter_in_model(config, backbone)
    for name, parameter in backbone.named_parameters():
        if in_head(name, heads):
            parameter.requires_grad_(True)
    return names


def suited(backbone: nn.Module, heads: tuple[str, ...], images: torch.Tensor) -> list[str]:
    """Names of the layers that take a low-rank addition: plain linear layers and ungrouped convolutions.

    Their own kinds only: what a subclass does to its weights or its input would not be done to the addition's.
    """
    called = _called(backbone, images)
    linear, kernels = [], []
    for name, module in backbone.named_modules():
        if name not in called or in_head(f"{name}.weight", heads):
            continue
        if type(module) is nn.Linear:
            linear.append((name, module.weight.numel()))
        elif type(module) is nn.Conv2d and module.groups == 1 and module.padding_mode == "zeros":
            kernels.append((name, module.weight.numel()))
    enough = sum(n for _, n in linear) >= sum(n for _, n in kernels)
    return [name for name, _ in (linear if enough else [*linear, *kernels])]


def _called(backbone: nn.Module, images: torch.Tensor) -> set[str]:
    """Names of the modules whose forward is called for these images."""
    found: set[str] = set()

    def hook(name: str) -> Any:
        return lambda _module, _inputs, _out: found.add(name)

    hooks = [m.register_forward_hook(hook(n)) for n, m in backbone.named_modules()]
    was = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            backbone(images)
    finally:
        for handle in hooks:
            handle.remove()
        backbone.train(was)
    return found


@torch.no_grad()
def merge_lora(backbone: nn.Module) -> None:
    """Add what was learned to the weights and take the additions out, in place: the plain network again."""
    layers = [(n, m) for n, m in backbone.named_modules() if hasattr(m, "lora_A") and hasattr(m, "merge")]
    for name, layer in layers:
        merged: Any = layer
        merged.merge()
        backbone.set_submodule(name, merged.get_base_layer())
    for attribute in ("peft_config", "peft_type"):
        if hasattr(backbone, attribute):
            delattr(backbone, attribute)
