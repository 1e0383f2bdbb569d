"""Networks of ours with the hub's weights; the head starts anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from anmok.core.errors import UsageError
from anmok.core.pixels import GRAY_MEAN, GRAY_STD, IMAGENET_MEAN, IMAGENET_STD
from anmok.models.heads import head_names
from anmok.models.hub import fetch
from anmok.models.own import OWN, build_own
from anmok.models.weights import load_into


class Weighted(NamedTuple):
    """A network with weights, the normalisation they were trained with, and what to say aloud."""

    backbone: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    said: list[str]


def own_with_weights(
    name: str, outputs: int, channels: int, image_size: int, options: Mapping[str, Any]
) -> Weighted:  # fmt: skip
    """The network `name` of OWN with its weights from the hub and a new head of `outputs` outputs.

    UsageError where it has no weights, MachineError where they cannot be had, DataError where they do not fit.
    """
    own = OWN[name]
    if not own.hub:
        raise UsageError(
            f"{name} has no weights on the hub.", where="--weights pretrained", code="weights",
            remedy="Pass --weights FILE.safetensors or --weights none; most of timm's names have weights.",
        )  # fmt: skip
    file = fetch(own.hub, "model.safetensors")
    backbone = build_own(name, outputs, channels, image_size, options)
    said = [f"weights {own.hub}", *load_into(backbone, file, head_names(backbone, outputs), [])]
    if image_size != own.size:
        said.append(f"the weights were trained at {own.size} pixels, here they see {image_size}")
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else (GRAY_MEAN, GRAY_STD)
    return Weighted(backbone, mean, std, said)
