"""A plain network by name: ours, timm's, torchvision's, or one that the user's own code makes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from anmok.core.errors import UsageError
from anmok.models.bilinear import with_bilinear
from anmok.models.families import check_size
from anmok.models.own import OWN, build_own, kind_of, refuse_norm
from anmok.models.timm_networks import create_timm, timm_cfg
from anmok.models.torchvision_networks import create_torchvision
from anmok.models.user_code import call, find_object, first_line, offers


def own_size(name: str) -> int:
    """The image size a network is made for, pixels.  UsageError for an unknown timm name."""
    kind = kind_of(name)
    if kind == "own":
        return OWN[name].size
    return int(timm_cfg(name).input_size[-1]) if kind == "timm" else 224


def build_network(
    name: str, outputs: int, channels: int, image_size: int, options: Mapping[str, Any] | None = None,
    forbidden: Path | None = None,
) -> nn.Module:  # fmt: skip
    """The network `name`, freshly initialised: float[B, channels, image_size, image_size] to [B, outputs].

    options: drop_rate and drop_path_rate (timm's, and those of ours that have them), norm (ours), pool (bilinear: see
    `with_bilinear`). forbidden: a folder that user code is never imported from.  UsageError: unknown name (with the
    nearest), an image below the network's minimum, or arguments the network does not take.
    """
    kind, options = kind_of(name), dict(options or {})
    check_size(name, image_size)
    if options.pop("pool", None) == "bilinear":
        plain = build_network(name, outputs, channels, image_size, options, forbidden)
        return with_bilinear(plain, name, outputs, channels, image_size)
    if kind == "own":
        return build_own(name, outputs, channels, image_size, options)
    if kind == "timm":
        return create_timm(name, image_size, {"num_classes": outputs, "in_chans": channels, **options})
    refuse_norm(name, options)
    if options:
        raise UsageError(
            f"{name} does not take {', '.join(options)}: only timm's networks do.", where="--model", code="model"
        )
    if kind == "torchvision":
        return create_torchvision(name.removeprefix("torchvision/"), outputs, channels, image_size)
    function = find_object(name, forbidden)
    return call(function, name, offers(function, outputs, channels, image_size))


def check_outputs(backbone: nn.Module, allowed: tuple[int, ...], channels: int, size: int) -> int:
    """Run two blank images through and return the number of logits; UsageError if it is not one of `allowed`."""
    device = next((p.device for p in backbone.parameters()), torch.device("cpu"))
    was = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():  # not inference mode: lazy layers make their parameters here
            out = backbone(torch.zeros(2, channels, size, size, device=device))
    except (RuntimeError, ValueError, AssertionError, LookupError, TypeError, AttributeError) as error:
        raise UsageError(
            f"the model does not take {size}×{size} images with {channels} channel(s): {first_line(error)}",
            where="--model", remedy="Try another --image-size or --channels.", code="model",
        ) from error  # fmt: skip
    finally:
        backbone.train(was)
    if not isinstance(out, torch.Tensor) or out.ndim != 2 or out.shape[1] not in allowed:
        shape = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
        raise UsageError(
            f"it gives {shape} for two images; expected logits (2, {' or '.join(map(str, allowed))}).",
            where="--model", code="model",
        )  # fmt: skip
    return int(out.shape[1])
