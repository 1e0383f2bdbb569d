"""The head: the last layer, whose parameters belong to the classes."""

from __future__ import annotations

from torch import nn

from anmok.core.errors import DataError


def head_names(backbone: nn.Module, outputs: int) -> tuple[str, ...]:
    """Names of the layers that make the logits.

    What timm says of its networks (distilled ones have two heads), else the last linear or convolutional layer with
    `outputs` outputs.  DataError if there is none.
    """
    cfg = getattr(backbone, "pretrained_cfg", None)
    said = cfg.get("classifier") if isinstance(cfg, dict) else None
    named = (said,) if isinstance(said, str) else tuple(said or ())
    modules = dict(backbone.named_modules())
    if named and all(n in modules and any(True for _ in modules[n].parameters()) for n in named):
        return named
    last = ""
    for name, module in modules.items():
        size = getattr(module, "out_features", getattr(module, "out_channels", None))
        if isinstance(module, nn.Linear | nn.Conv2d) and size == outputs:
            last = name
    if not last:
        raise DataError("the model has no last layer with one output a class, so its head is not known.", code="head")
    return (last,)


def in_head(parameter: str, heads: tuple[str, ...]) -> bool:
    """Whether a parameter of this name belongs to one of the heads."""
    return any(parameter == h or parameter.startswith(f"{h}.") for h in heads)
