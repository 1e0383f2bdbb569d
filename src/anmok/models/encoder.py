"""A network without its head: images to vectors, or to a map of features."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from anmok.core.errors import UsageError
from anmok.models.heads import head_names


class Encoder(nn.Module):
    """Takes a network over and replaces its head (`heads`) by the identity.

    forward: float[B, C, H, W] to what the head would have seen, float[B, width]. grid: to the last map of features,
    float[B, grid_width, h, w]; a transformer's tokens are laid out as the patches lie, without class tokens.
    image_size, channels: of the blank images that the widths are measured with.
    """

    def __init__(self, backbone: nn.Module, outputs: int, image_size: int, channels: int = 3):
        super().__init__()
        self.backbone, self.heads = backbone, head_names(backbone, outputs)
        for name in self.heads:
            backbone.set_submodule(name, nn.Identity())
        self._last_map = "" if hasattr(backbone, "forward_features") else _last_map(backbone, image_size, channels)
        was, device = backbone.training, next(backbone.parameters()).device
        backbone.eval()
        with torch.no_grad():
            blank = torch.zeros(2, channels, image_size, image_size, device=device)
            self.width, self.grid_width = self(blank).shape[1], self.grid(blank).shape[1]
        backbone.train(was)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """float[B, C, H, W] to float[B, width]."""
        out = self.backbone(images)
        if isinstance(out, tuple | list):  # two heads, as of distilled networks
            out = sum(out) / len(out)
        return out.flatten(2).mean(2) if out.ndim > 2 else out

    def grid(self, images: torch.Tensor) -> torch.Tensor:
        """float[B, C, H, W] to float[B, grid_width, h, w].  UsageError for a network that has no map of features."""
        backbone: Any = self.backbone
        if not self._last_map:
            return as_map(backbone.forward_features(images), backbone, images.shape[2] / images.shape[3])
        kept: list[torch.Tensor] = []
        hook = backbone.get_submodule(self._last_map).register_forward_hook(lambda _m, _i, out: kept.append(out))
        try:
            backbone(images)
        finally:
            hook.remove()
        return kept[-1]


def as_map(features: torch.Tensor, backbone: nn.Module, aspect: float = 1.0) -> torch.Tensor:
    """What `forward_features` gave as float[B, C, h, w]; aspect: of the image, height over width."""
    if features.ndim == 4:
        last = getattr(backbone, "output_fmt", "NCHW") == "NHWC"
        return features.permute(0, 3, 1, 2) if last else features
    if features.ndim != 3:
        raise UsageError(
            f"the network has no map of features, but {tuple(features.shape[1:])}.", where="--model", code="model"
        )
    tokens = features[:, int(getattr(backbone, "num_prefix_tokens", 0)) :]
    rows = max(1, round(math.sqrt(tokens.shape[1] * aspect)))
    if tokens.shape[1] % rows:
        raise UsageError(f"{tokens.shape[1]} tokens are no grid of patches.", where="--model", code="model")
    return tokens.transpose(1, 2).unflatten(2, (rows, -1))


def _last_map(backbone: nn.Module, image_size: int, channels: int) -> str:
    """The last module to give float[B, C, h, w] with more than one place; UsageError if there is none."""
    found = ""

    def look(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, out: Any) -> None:
            nonlocal found
            if isinstance(out, torch.Tensor) and out.ndim == 4 and out.shape[2] * out.shape[3] > 1:
                found = name

        return hook

    hooks = [m.register_forward_hook(look(n)) for n, m in backbone.named_modules() if n]
    was = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            backbone(torch.zeros(2, channels, image_size, image_size, device=next(backbone.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
        backbone.train(was)
    if not found:
        raise UsageError("the network has no map of features.", where="--model", code="model")
    return found
