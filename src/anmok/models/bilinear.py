"""Bilinear pooling: not which features there are, but which come together; for classes that differ in small parts.

Lin, RoyChowdhury & Maji 2015, "Bilinear CNN models for fine-grained visual recognition", arXiv:1504.07889, in the
symmetric form with one network: the mean over places of the outer product of the features with themselves.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from anmok.core.errors import UsageError
from anmok.models.user_code import first_line

MOST = 128  # features whose products are taken; of wider maps so many mixtures, learned with the head
TINY = 1e-5


class BilinearHead(nn.Module):
    """float[B, C, H, W] to logits [B, outputs]: products of features, signed square root, length, one linear layer.

    Of the symmetric products the upper triangle is kept, D = R (R + 1) / 2 numbers with R = min(C, 128), those off the
    diagonal times √2, so that lengths stay.  They are scaled to length √D, so each is of the size that a linear layer's
    first weights are made for.
    """

    def __init__(self, width: int, outputs: int, most: int = MOST):
        super().__init__()
        kept = min(width, most)
        self.mix = nn.Conv2d(width, kept, 1, bias=False) if kept < width else nn.Identity()
        self.fc = nn.Linear(kept * (kept + 1) // 2, outputs)
        rows, columns = torch.triu_indices(kept, kept)
        self.place: torch.Tensor
        self.scale: torch.Tensor
        self.register_buffer("place", rows * kept + columns, persistent=False)
        self.register_buffer("scale", torch.where(rows == columns, 1.0, 2.0**0.5), persistent=False)

    def pooled(self, features: torch.Tensor) -> torch.Tensor:
        """float[B, C, H, W] to float32[B, D]."""
        x = self.mix(features).float().flatten(2)
        products = (x @ x.transpose(1, 2) / x.shape[2]).flatten(1)[:, self.place] * self.scale
        rooted = products.sign() * ((products.abs() + TINY).sqrt() - TINY**0.5)  # a root whose slope at 0 is finite
        length = rooted.shape[1] ** 0.5
        return length * rooted / rooted.norm(dim=1, keepdim=True).clamp_min(TINY)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """float[B, C, H, W] to logits [B, outputs]."""
        return self.fc(self.pooled(features).to(self.fc.weight.dtype))


def with_bilinear(network: nn.Module, name: str, outputs: int, channels: int, image_size: int) -> nn.Module:
    """The network, changed in place, with bilinear pooling and a new head instead of its own.

    UsageError where it is none of timm's whose features are a map.
    """
    cfg: Any = getattr(network, "pretrained_cfg", None)
    head = cfg.get("classifier") if isinstance(cfg, dict) else None
    reset: Any = getattr(network, "reset_classifier", None)
    if not isinstance(head, str) or reset is None:
        raise _refused(name, "it is none of timm's networks with one head")
    try:
        reset(0, "")
        with torch.no_grad():
            was = network.training
            found = network.eval()(torch.zeros(2, channels, image_size, image_size))
            network.train(was)
        if found.ndim != 4:
            raise _refused(name, f"its features are {tuple(found.shape[1:])}, no map")
        network.set_submodule(head, BilinearHead(found.shape[1], outputs))
    except (TypeError, ValueError, AssertionError, RuntimeError, AttributeError) as error:
        raise _refused(name, first_line(error)) from error
    return network


def _refused(name: str, why: str) -> UsageError:
    return UsageError(
        f"{name} does not take bilinear pooling: {why}.", where="--model.pool", code="model",
        remedy="Take a convolutional network of timm's, as resnet18 or convnext_atto, or leave it out.",
    )  # fmt: skip
