"""A linear head that learns from standardised features, and is an ordinary one again when it has learned.

The features of a frozen network differ in size by orders of magnitude and none has mean 0, so that one learning rate
fits few of them. Their mean and spread are linear, and go into the head's weights at the end: nothing of this is left
in the stored model.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

FLOOR = 0.05  # of the mean spread, added to each, so that a feature that hardly moves is not blown up


class StandardizedHead(nn.Module):
    """float[B, D] to logits float[B, K]: ((x - center) * scale) W + b; of center 0 and scale 1, the `linear` it is."""

    center: torch.Tensor
    scale: torch.Tensor

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.weight = linear.weight
        self.bias = nn.Parameter(linear.weight.new_zeros(linear.out_features)) if linear.bias is None else linear.bias
        self.register_buffer("center", torch.zeros_like(linear.weight[0]).detach())
        self.register_buffer("scale", torch.ones_like(linear.weight[0]).detach())

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """float[B, D] to float[B, K]."""
        return functional.linear((features - self.center) * self.scale, self.weight, self.bias)

    @torch.no_grad()
    def standardize(self, features: torch.Tensor) -> None:
        """Take mean and spread from float[N, D]; the logits stay what they are."""
        plain = self.folded()
        spread = features.std(dim=0, correction=0)
        self.center.copy_(features.mean(dim=0))
        self.scale.copy_(1 / (spread + FLOOR * spread.mean()).clamp_min(1e-12))
        self.bias.copy_(plain(self.center))
        self.weight.copy_(plain.weight / self.scale)

    @torch.no_grad()
    def folded(self) -> nn.Linear:
        """The same head without center and scale."""
        out = nn.Linear(self.weight.shape[1], len(self.weight), device=self.weight.device, dtype=self.weight.dtype)
        weight = self.weight.double() * self.scale.double()
        out.weight.copy_(weight)
        out.bias.copy_(self.bias.double() - weight @ self.center.double())
        return out


def standardize_head(backbone: nn.Module, heads: tuple[str, ...], images: torch.Tensor) -> bool:
    """Put a StandardizedHead in the place of a network's head, in place; False, and nothing is done, where none fits.

    images: float[N, C, H, W], normalised, from whose features mean and spread are taken.  It fits a network with one
    head that is a plain linear layer and is given one vector an image.
    """
    if len(heads) != 1 or len(images) < 2:
        return False
    linear = backbone.get_submodule(heads[0])
    if type(linear) is not nn.Linear:
        return False
    seen: list[torch.Tensor] = []
    handle = linear.register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    was = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            for part in images.split(32):
                backbone(part)
    finally:
        handle.remove()
        backbone.train(was)
    features = torch.cat(seen) if seen else torch.zeros(0)
    if features.ndim != 2 or len(features) != len(images) or not torch.isfinite(features).all():
        return False
    head = StandardizedHead(linear)
    head.standardize(features)
    backbone.set_submodule(heads[0], head)
    return True


def fold_standardized(backbone: nn.Module) -> None:
    """Put ordinary linear layers in the place of every StandardizedHead, in place."""
    for name, module in list(backbone.named_modules()):
        if isinstance(module, StandardizedHead):
            backbone.set_submodule(name, module.folded())
