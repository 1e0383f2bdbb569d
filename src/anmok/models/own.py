"""Networks of ours by name, and what each takes; and where a network of any name comes from."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from torch import nn

from anmok.core.errors import UsageError


class Own(NamedTuple):
    """path: module:function. size: the image size it is made for, pixels. takes: arguments besides num_classes and
    in_chans. hub: the repository that holds weights of it, '' for none, and their licence; trained at `size`.
    """

    path: str
    size: int
    takes: tuple[str, ...]
    hub: str = ""
    licence: str = ""


DROPS = ("drop_rate", "drop_path_rate")

OWN = {
    "lenet": Own("anmok.models.lenet:LeNet", 32, ("norm",)),
    "speednet": Own("anmok.models.speednet:speednet", 32, ("img_size", "norm")),
    "speednet_small": Own("anmok.models.speednet:speednet_small", 32, ("img_size", "norm")),
    "speednet_wide": Own("anmok.models.speednet:speednet_wide", 32, ("img_size", "norm")),
    "localvit_tiny": Own("anmok.models.localvit:localvit_tiny", 224, ("img_size", "norm", *DROPS)),
    "localvit_small": Own("anmok.models.localvit:localvit_small", 224, ("img_size", "norm", *DROPS)),
    "cvt_13": Own("anmok.models.cvt:cvt_13", 224, DROPS, "microsoft/cvt-13", "apache-2.0"),
    "cvt_21": Own("anmok.models.cvt:cvt_21", 224, DROPS, "microsoft/cvt-21", "apache-2.0"),
    "cvt_w24": Own("anmok.models.cvt:cvt_w24", 384, DROPS, "microsoft/cvt-w24-384-22k", "apache-2.0"),
}

_FLAGS = {"norm": "--model.norm", "drop_rate": "--model.drop", "drop_path_rate": "--model.drop-path"}

Kind = Literal["own", "torchvision", "callable", "timm"]

_CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def kind_of(name: str) -> Kind:
    """Where a network of this name comes from."""
    if name in OWN:
        return "own"
    if name.startswith("torchvision/"):
        return "torchvision"
    return "callable" if _CALLABLE.fullmatch(name) else "timm"


def build_own(
    name: str, outputs: int, channels: int, image_size: int, options: Mapping[str, Any] | None = None
) -> nn.Module:
    """A network of OWN, freshly initialised.  UsageError for an option it does not take."""
    own, options = OWN[name], dict(options or {})
    if "norm" not in own.takes:
        refuse_norm(name, options)
    for option in options:
        if option not in own.takes:
            raise UsageError(f"{name} does not take {option}.", where=_FLAGS.get(option, option), code="model")
    given = {"num_classes": outputs, "in_chans": channels, **options}
    if "img_size" in own.takes:
        given["img_size"] = image_size
    module, _, function = own.path.partition(":")
    return getattr(importlib.import_module(module), function)(**given)


def refuse_norm(name: str, options: Mapping[str, Any]) -> None:
    """UsageError where a normalisation is asked for of a network that comes with its own."""
    if "norm" in options:
        takes = ", ".join(n for n, own in OWN.items() if "norm" in own.takes)
        raise UsageError(
            f"{name} has the normalisation it was published with, on which its weights and its recipe rest.",
            where=_FLAGS["norm"], remedy=f"Leave it out, or take a network whose norms can be chosen: {takes}.",
            code="model",
        )  # fmt: skip
