"""Muon (Jordan et al. 2024): momentum made orthogonal, for the matrices of networks trained from scratch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def orthogonalize(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Bring the singular values of [..., R, C] near 1 by Newton–Schulz with the quintic 3.4445, −4.7750, 2.0315.

    Five steps leave them in about [0.7, 1.2], and bfloat16 is precise enough for that.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / (matrix.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    turned = x.shape[-2] > x.shape[-1]
    if turned:
        x = x.mT
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if turned else x


class Muon(torch.optim.Optimizer):
    """Groups with `muon=True` take orthogonalised momentum steps (convolutions as [out, in × kh × kw]), others AdamW.

    The step of a matrix [R, C] is scaled by sqrt(max(1, R / C)), weight decay is decoupled. normalize: before each step
    a matrix is scaled to the norm sqrt(R), rows of about 1, so that the rate alone says how far it turns. dtype: of the
    orthogonalisation.
    """

    def __init__(self, groups: list[dict[str, Any]], momentum: float = 0.9, nesterov: bool = True,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 dtype: torch.dtype = torch.float32, normalize: bool = False):  # fmt: skip
        defaults = {
            "lr": 0.02,
            "weight_decay": 0.0,
            "momentum": momentum,
            "nesterov": nesterov,
            "betas": betas,
            "eps": eps,
        }
        super().__init__(groups, {**defaults, "muon": False})
        self.dtype, self.normalize = dtype, normalize

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                (self._muon if group["muon"] else self._adam)(parameter, group)

    def _muon(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum, gradient = state["momentum"], parameter.grad
        assert gradient is not None
        momentum.lerp_(gradient, 1 - group["momentum"])
        update = gradient.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
        flat = update.reshape(len(update), -1)
        if self.normalize:
            parameter.mul_(len(parameter) ** 0.5 / parameter.norm().clamp_min(1e-12))
        step = orthogonalize(flat.to(self.dtype)).float() * max(1, flat.shape[0] / flat.shape[1]) ** 0.5
        parameter.add_(step.view_as(parameter), alpha=-group["lr"])

    def _adam(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        state, (beta1, beta2) = self.state[parameter], group["betas"]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        gradient = parameter.grad
        assert gradient is not None
        state["step"] += 1
        count = float(state["step"])
        state["mean"].lerp_(gradient, 1 - beta1)
        state["square"].lerp_(gradient.square(), 1 - beta2)
        scale = (state["square"] / (1 - beta2**count)).sqrt_().add_(group["eps"])
        parameter.addcdiv_(state["mean"], scale, value=-group["lr"] / (1 - beta1**count))
