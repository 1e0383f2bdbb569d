"""Where a network is active, without a gradient: what an attention crop is cut by.

Of a transformer whose attention can be followed through all layers this is its rollout, as crops of transformers go by
attention (Hu et al. 2021, RAMS-Trans, arXiv:2107.08192). Of any other network it is the mean activation of its last map
of features: the aggregation map of SCDA (Wei et al. 2017, arXiv:1604.04994), which WS-DAN crops by at test time (Hu et
al. 2019, arXiv:1901.09891). There maps come from a ReLU; elsewhere they have negative values, whose size counts here.
Of small images, whose last map has few places, an earlier map is read.
"""

from __future__ import annotations

import torch
from torch import nn

from anmok.core.errors import UsageError
from anmok.models.maps import laid_out, recording
from anmok.models.rollout import attention_rollout

LEVELLED = ("layernorm", "rmsnorm")  # in the names of modules after which all places are equally long
PLACES = 4  # a side that a map should have, to tell a part from the whole
ROLLOUT = ""  # instead of a module's name: the attention of all layers


def find_activity(backbone: nn.Module, images: torch.Tensor) -> str:
    """What `activity` reads, for images float[B, C, H, W] of this size: ROLLOUT, or the module of a map.

    It is the last map with at least 4 × 4 places, or where none has so many the last of those with most.  What goes
    into a layer normalisation is a map, what comes out of it is not: there no place stands out.  In evaluation mode,
    which the caller sets.  UsageError (code no-maps): the network has no map of features.
    """
    try:
        attention_rollout(backbone, images)
    except UsageError as error:
        if error.code != "no-attention":
            raise
    else:
        return ROLLOUT
    modules, aspect = dict(backbone.named_modules()), images.shape[2] / images.shape[3]
    with recording(backbone) as given:
        backbone(images)
    levelled = [g.output for g in given if _levels(modules[g.name])]
    last = {g.name: g.output for g in given}  # of a module that runs twice, what a hook would keep
    sides = {
        name: min(PLACES, *laid.shape[2:])
        for name, output in last.items()
        if not any(output is one for one in levelled)
        and (laid := laid_out(output, modules[name], backbone, aspect)) is not None
    }
    if not sides:
        raise UsageError(
            f"the network has no map of features of {images.shape[2]} × {images.shape[3]} pixels.", where="--tta",
            remedy="Take other test-time views, or a model with a larger image size.", code="no-maps",
        )  # fmt: skip
    return max(reversed(sides), key=lambda name: sides[name])  # the first of the largest, from the end on


def activity(backbone: nn.Module, images: torch.Tensor, layer: str) -> torch.Tensor:
    """How active each place is, float32[B, h, w], 0 or more, in a unit of its own; images: float[B, C, H, W].

    layer: as `find_activity` gives it for images of this size.
    """
    if layer == ROLLOUT:
        return attention_rollout(backbone, images)
    with recording(backbone, {layer}) as given:
        backbone(images)
    found = laid_out(given[-1].output, backbone.get_submodule(layer), backbone, images.shape[2] / images.shape[3])
    assert found is not None
    return found.float().abs().mean(1)


def _levels(module: nn.Module) -> bool:
    return any(word in type(module).__name__.lower() for word in LEVELLED)
