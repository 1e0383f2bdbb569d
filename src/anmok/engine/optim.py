"""Optimizers with their usual values; weight decay only where it belongs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from anmok.core.errors import UsageError
from anmok.engine.config import OptimConfig
from anmok.engine.muon import Muon

LR = {"sgd": 0.05, "adam": 1e-3, "adamw": 1e-3, "muon": 0.02}
NO_DECAY = ("pos_embed", "cls_token", "reg_token", "dist_token", "relative_position_bias")
WEIGHT_DECAY = {"sgd": 5e-4, "adam": 0.0, "adamw": 0.05, "muon": 0.01}


def decays(name: str, parameter: torch.Tensor) -> bool:
    """Whether weight decay applies: to matrices and kernels, not to biases, norms, tokens and position embeddings."""
    return parameter.ndim > 1 and not any(part in name for part in NO_DECAY)


def build_optimizer(module: nn.Module, config: OptimConfig, dtype: str = "fp32") -> torch.optim.Optimizer:
    """The optimizer over the parameters that learn.  UsageError if none does.

    Every group carries `peak`, its learning rate at a schedule factor of 1. dtype: of the forward pass; muon
    orthogonalises in bf16 where that is bf16, as the machine is then fast in it.
    """
    named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    if not named:
        raise UsageError("no parameter of the model learns.", where="model.adapt", code="setting")
    lr = config.lr or LR[config.name]
    decay = WEIGHT_DECAY[config.name] if config.weight_decay is None else config.weight_decay
    if config.name == "muon":
        return _muon(named, config, lr, decay, torch.bfloat16 if dtype == "bf16" else torch.float32)
    groups: list[dict[str, Any]] = [
        {"params": [p for n, p in named if decays(n, p)], "weight_decay": decay, "lr": lr, "peak": lr},
        {"params": [p for n, p in named if not decays(n, p)], "weight_decay": 0.0, "lr": lr, "peak": lr},
    ]
    groups = [g for g in groups if g["params"]]
    if config.name == "sgd":
        momentum = 0.9 if config.momentum is None else config.momentum
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=config.nesterov and momentum > 0)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=lr, betas=config.betas, eps=config.eps)


def _muon(
    named: list[tuple[str, nn.Parameter]], config: OptimConfig, lr: float, decay: float, dtype: torch.dtype
) -> Muon:
    """Muon for hidden matrices and kernels; AdamW for the first, the last, depth-wise ones and all the rest."""
    matrices = [(n, p) for n, p in named if decays(n, p)]
    hidden = {n for n, p in matrices[1:-1] if p.shape[1] > 1}
    parts = [
        ([p for n, p in named if n in hidden], lr, decay, True),
        ([p for n, p in named if n not in hidden and decays(n, p)], config.aux_lr, decay, False),
        ([p for n, p in named if not decays(n, p)], config.aux_lr, 0.0, False),
    ]
    groups = [
        {"params": params, "lr": rate, "peak": rate, "weight_decay": wd, "muon": muon}
        for params, rate, wd, muon in parts
        if params
    ]
    momentum = 0.95 if config.momentum is None else config.momentum
    return Muon(groups, momentum, config.nesterov, config.betas, config.eps, dtype)


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Set every group's rate to its peak times `factor`; returns the first group's rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
    return float(optimizer.param_groups[0]["lr"])
