"""Optimizers with their usual values; weight decay only where it belongs."""

from __future__ import annotations

from collections.abc import Mapping
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


def build_optimizer(
    module: nn.Module, config: OptimConfig, dtype: str = "fp32", rates: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """The optimizer over the parameters that learn.  UsageError if none does.

    Every group carries `peak`, its learning rate at a schedule factor of 1. dtype: of the forward pass; muon
    orthogonalises in bf16 where that is bf16, as the machine is then fast in it. rates: by name of a parameter, the
    share of the learning rate that it has; 1 for one that is not there. The first group is the one of the largest.
    """
    named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    if not named:
        raise UsageError("no parameter of the model learns.", where="model.adapt", code="setting")
    lr = config.lr or LR[config.name]
    decay = WEIGHT_DECAY[config.name] if config.weight_decay is None else config.weight_decay
    if config.name == "muon":
        return _muon(named, config, lr, decay, torch.bfloat16 if dtype == "bf16" else torch.float32, rates)
    groups = _divided(
        [
            ([(n, p) for n, p in named if decays(n, p)], {"weight_decay": decay}, lr),
            ([(n, p) for n, p in named if not decays(n, p)], {"weight_decay": 0.0}, lr),
        ],
        rates,
    )
    if config.name == "sgd":
        momentum = 0.9 if config.momentum is None else config.momentum
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=config.nesterov and momentum > 0)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=lr, betas=config.betas, eps=config.eps)


Named = list[tuple[str, nn.Parameter]]


def _divided(
    parts: list[tuple[Named, dict[str, Any], float]], rates: Mapping[str, float] | None
) -> list[dict[str, Any]]:
    """The optimizer's groups: of each part (parameters, settings, rate), one for each share of the rate in it."""
    shares = rates or {}
    groups = []
    for share in sorted({shares.get(n, 1.0) for named, _, _ in parts for n, _ in named}, reverse=True):
        for named, settings, lr in parts:
            params = [p for n, p in named if shares.get(n, 1.0) == share]
            if params:
                groups.append({"params": params, **settings, "lr": lr * share, "peak": lr * share})
    return groups


def _muon(
    named: Named, config: OptimConfig, lr: float, decay: float, dtype: torch.dtype, rates: Mapping[str, float] | None
) -> Muon:
    """Muon for hidden matrices and kernels; AdamW for the first, the last, depth-wise ones and all the rest."""
    matrices = [(n, p) for n, p in named if decays(n, p)]
    hidden = {n for n, p in matrices[1:-1] if p.shape[1] > 1}
    groups = _divided(
        [
            ([(n, p) for n, p in named if n in hidden], {"weight_decay": decay, "muon": True}, lr),
            (
                [(n, p) for n, p in named if n not in hidden and decays(n, p)],
                {"weight_decay": decay, "muon": False}, config.aux_lr,
            ),
            (
                [(n, p) for n, p in named if not decays(n, p)],
                {"weight_decay": 0.0, "muon": False}, config.aux_lr,
            ),
        ],
        rates,
    )  # fmt: skip
    momentum = 0.95 if config.momentum is None else config.momentum
    return Muon(groups, momentum, config.nesterov, config.betas, config.eps, dtype, config.normalize)


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Set every group's rate to its peak times `factor`; returns the first group's rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
    return float(optimizer.param_groups[0]["lr"])
