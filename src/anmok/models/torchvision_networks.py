"""torchvision's networks by name, for any number of input channels."""

from __future__ import annotations

from typing import Any

from torch import nn

from anmok.core.errors import UsageError, did_you_mean
from anmok.models.user_code import first_line


def known_torchvision(name: str) -> str:
    """torchvision's own name of a network, with or without torchvision/.  UsageError with the nearest if unknown."""
    from torchvision import models

    name = name.removeprefix("torchvision/")
    known = models.list_models(module=models)
    if name not in known:
        raise UsageError(
            f"torchvision has no model {name}.", where="--model", remedy=did_you_mean(name, known), code="model"
        )
    return name


def create_torchvision(name: str, outputs: int, channels: int, image_size: int) -> nn.Module:
    """torchvision's network of a name, freshly initialised.  UsageError where there is none, or it does not build."""
    from torchvision import models

    name = known_torchvision(name)
    options: dict[str, Any] = {}
    if name.startswith("vit_"):
        options["image_size"] = image_size
    elif name == "maxvit_t":
        options["input_size"] = (image_size, image_size)
    elif name in ("googlenet", "inception_v3"):  # without the second heads, which only training gives
        options |= {"aux_logits": False, "init_weights": True}
    try:
        backbone = models.get_model(name, weights=None, num_classes=outputs, **options)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise UsageError(
            f"torchvision cannot build {name} at {image_size} pixels ({first_line(error)}).",
            where="--model",
            code="model",
        ) from error
    if channels != 3:
        _replace_first_conv(backbone, channels)
    return backbone


def _replace_first_conv(backbone: nn.Module, channels: int) -> None:
    for parent in backbone.modules():
        for key, old in parent.named_children():
            if isinstance(old, nn.Conv2d):
                made = nn.Conv2d(
                    channels, old.out_channels, old.kernel_size, old.stride, old.padding, old.dilation,  # type: ignore[arg-type]
                    old.groups, old.bias is not None, old.padding_mode,
                )  # fmt: skip
                setattr(parent, key, made)
                return
