"""timm's networks by name, and what timm knows of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from anmok.core.errors import UsageError, did_you_mean
from anmok.models.own import OWN, refuse_norm
from anmok.models.user_code import first_line


def timm_cfg(name: str) -> Any:
    """timm's PretrainedCfg of a name; UsageError naming the nearest ones where there is no such model or weights."""
    import timm

    if not timm.is_model(name):
        near = did_you_mean(name, [*OWN, *timm.list_models()])
        raise UsageError(f"there is no model {name}.", where="--model", remedy=near, code="model")
    try:
        return timm.get_pretrained_cfg(name) or timm.models.PretrainedCfg()
    except RuntimeError as error:
        tags = timm.list_models(f"{name.split('.')[0]}.*", pretrained=True)
        raise UsageError(
            f"{name} has no such weights.", where="--model", remedy=did_you_mean(name, tags), code="model"
        ) from error


def create_timm(name: str, image_size: int, options: Mapping[str, Any]) -> nn.Module:
    """timm.create_model, with the image size where the network is made for one.  UsageError if it cannot be built."""
    import timm

    refuse_norm(name, options)
    cfg = timm_cfg(name)
    size: dict[str, Any] = {"img_size": image_size} if cfg.fixed_input_size and image_size != cfg.input_size[-1] else {}
    try:
        return timm.create_model(name, **size, **options)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise UsageError(
            f"timm cannot build {name} at {image_size} pixels so ({first_line(error)}).", where="--model", code="model",
            remedy="Try another --image-size, or leave --model.drop and --model.drop-path out.",
        ) from error  # fmt: skip
