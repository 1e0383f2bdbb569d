"""What the layers of a network hold: the filters of the first one, and maps of features from coarse to fine."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from anmok.core.errors import UsageError
from anmok.models.classifier import evaluating
from anmok.models.maps import laid_out, recording


class Filters(NamedTuple):
    """A layer's name and its filters, float32[K, C, h, w]."""

    layer: str
    weights: torch.Tensor


class Features(NamedTuple):
    """A layer's name and what it gave, float32[B, C, h, w]."""

    layer: str
    maps: torch.Tensor


def first_filters(backbone: nn.Module, images: torch.Tensor) -> Filters:
    """The filters of the convolution that runs first.  UsageError (code no-filters) where there is none on the pixels.

    images: float[B, C, H, W], normalised; a convolution that sees other channels, as of patches laid behind one
    another, has no filters that could be looked at.
    """
    ran: list[str] = []
    hooks = [
        module.register_forward_hook(lambda _m, _i, _o, name=name: ran.append(name))
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    try:
        with evaluating(backbone):
            backbone(images)
    finally:
        for hook in hooks:
            hook.remove()
    first = backbone.get_submodule(ran[0]) if ran else None
    if not isinstance(first, nn.Conv2d) or first.weight.shape[1] != images.shape[1]:
        raise UsageError(
            "the network has no convolution that begins at the image's channels.", where="--model", code="no-filters"
        )
    return Filters(ran[0], first.weight.detach().float().cpu())


def feature_maps(backbone: nn.Module, images: torch.Tensor, most: int = 4) -> list[Features]:
    """What up to `most` layers give for the images, float[B, C, H, W], normalised, from the first to the last.

    The last module of each size of map, evenly spread where there are more sizes; of a network that has but one size,
    as a vision transformer, evenly spread blocks.  UsageError (code no-maps) for a network without maps.
    """
    modules, aspect = dict(backbone.named_modules()), images.shape[2] / images.shape[3]
    with evaluating(backbone), recording(backbone) as given:
        backbone(images)
    maps = {g.name: laid for g in given if (laid := laid_out(g.output, modules[g.name], backbone, aspect)) is not None}
    steps = [name for name in maps if _is_stage(name, modules)] or list(maps)
    sizes = {tuple(maps[name].shape[2:]): name for name in steps}
    names = list(sizes.values())
    if len(sizes) == 1:
        names = [name for name in steps if "." in name] or steps
    if not names:
        raise UsageError("the network has no map of features.", where="--model", code="no-maps")
    n = min(most, len(names))
    at = [names[round(i * (len(names) - 1) / max(n - 1, 1))] for i in range(n)]
    return [Features(name, maps[name].detach().float().cpu()) for name in at]


def _is_stage(name: str, modules: dict[str, nn.Module]) -> bool:
    """Whether a module stands for a step of the network: at its top, or in a row that is in no other row."""
    above = [".".join(name.split(".")[:i]) for i in range(1, name.count(".") + 1)]
    rows = [place for place in above if isinstance(modules[place], nn.Sequential | nn.ModuleList)]
    return not above or rows == above[-1:]
