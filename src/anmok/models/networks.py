"""A plain network by name: ours, timm's, torchvision's, or one that the user's own code makes."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from anmok.core.errors import DataError, UsageError, did_you_mean

# Ours: name to import path, and the image size it is made for.
OWN = {"lenet": ("anmok.models.lenet:LeNet", 32)}

Kind = Literal["own", "torchvision", "callable", "timm"]

_CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def kind_of(name: str) -> Kind:
    """Where a network of this name comes from."""
    if name in OWN:
        return "own"
    if name.startswith("torchvision/"):
        return "torchvision"
    return "callable" if _CALLABLE.fullmatch(name) else "timm"


def own_size(name: str) -> int:
    """The image size a network is made for, pixels.  UsageError for an unknown timm name."""
    kind = kind_of(name)
    if kind == "own":
        return OWN[name][1]
    return int(timm_cfg(name).input_size[-1]) if kind == "timm" else 224


def build_network(
    name: str, outputs: int, channels: int, image_size: int, options: Mapping[str, Any] | None = None,
    forbidden: Path | None = None,
) -> nn.Module:  # fmt: skip
    """The network `name`, freshly initialised: float[B, channels, image_size, image_size] to [B, outputs].

    options: drop_rate and the like, for timm's. forbidden: a folder that user code is never imported from.
    UsageError: unknown name (with the nearest), or arguments the network does not take.
    """
    kind = kind_of(name)
    if options and kind != "timm":
        raise UsageError(
            f"{name} does not take {', '.join(options)}: only timm's networks do.", where="--model", code="model"
        )
    if kind == "own":
        return find_object(OWN[name][0])(num_classes=outputs, in_chans=channels)
    if kind == "torchvision":
        return _torchvision(name.removeprefix("torchvision/"), outputs, channels, image_size)
    if kind == "callable":
        function = find_object(name, forbidden)
        return call(function, name, offers(function, outputs, channels, image_size))
    return create_timm(name, image_size, {"num_classes": outputs, "in_chans": channels, **(options or {})})


def find_object(path: str, forbidden: Path | None = None) -> Any:
    """The object `module:name` means; the current folder counts as a place to import from.

    UsageError if it cannot be imported.  DataError if the module belongs to Python itself or lies inside `forbidden`:
    a path that was read from a file must not choose what runs.
    """
    module_name, _, attribute = path.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        if forbidden is not None:
            _refuse_inside(module_name.split(".")[0], path, forbidden)
        found: Any = importlib.import_module(module_name)
    except (ImportError, SyntaxError) as error:
        raise UsageError(
            f"cannot import {module_name} ({error}).", where=f"--model {path}", code="model",
            remedy="Expected module:callable, importable from here or from PYTHONPATH.",
        ) from error  # fmt: skip
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = did_you_mean(part, [n for n in dir(found) if not n.startswith("_")])
            raise UsageError(f"{module_name} has no {part}.", where=f"--model {path}", remedy=near, code="model")
        found = getattr(found, part)
    return found


def _refuse_inside(package: str, path: str, forbidden: Path) -> None:
    """Look where a top-level package would come from, without running any of it."""
    reason = "it belongs to Python itself" if package in {*sys.stdlib_module_names, "__main__"} else ""
    spec = None if reason else importlib.util.find_spec(package)
    if spec is not None:
        places = [
            *(spec.submodule_search_locations or []),
            *([spec.origin] if spec.has_location and spec.origin else []),
        ]
        if any(Path(place).resolve().is_relative_to(forbidden.resolve()) for place in places):
            reason = "it lies inside the model folder"
    if reason:
        raise DataError(
            f"the model asks for {path}, which is not imported: {reason}.", where=str(forbidden), code="remote-code",
            remedy="Put the code where your own Python finds it, after reading it.",
        )  # fmt: skip


def offers(function: Callable[..., Any], outputs: int, channels: int, image_size: int) -> dict[str, int]:
    """Of what a network may want to know, what this function takes by name."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    offer = {
        "num_classes": outputs, "in_chans": channels, "in_channels": channels, "img_size": image_size,
        "image_size": image_size,
    }  # fmt: skip
    named = {k: v for k, v in offer.items() if k in parameters}
    if takes_any:
        named.setdefault("num_classes", outputs)
        if "in_channels" not in named:
            named.setdefault("in_chans", channels)
    return named


def call(function: Callable[..., Any], path: str, arguments: Mapping[str, int]) -> nn.Module:
    """Call the user's function; UsageError if it needs more than `arguments`, or returns no module."""
    where = f"--model {path}"
    if not callable(function):
        raise UsageError(f"it is {type(function).__name__}, which cannot be called.", where=where, code="model")
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise UsageError(
            f"it cannot be called so ({error}).", where=where, code="model",
            remedy="It is given num_classes, in_chans (or in_channels) and image_size, those it takes by name.",
        ) from error  # fmt: skip
    except ValueError:  # a callable without a signature
        pass
    made = function(**arguments)
    if not isinstance(made, nn.Module):
        raise UsageError(f"it returned {type(made).__name__}, not a torch module.", where=where, code="model")
    return made


def _torchvision(name: str, outputs: int, channels: int, image_size: int) -> nn.Module:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise UsageError(
            f"torchvision has no model {name}.", where="--model", remedy=did_you_mean(name, known), code="model"
        )
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

    cfg = timm_cfg(name)
    size: dict[str, Any] = {"img_size": image_size} if cfg.fixed_input_size and image_size != cfg.input_size[-1] else {}
    try:
        return timm.create_model(name, **size, **options)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise UsageError(
            f"timm cannot build {name} at {image_size} pixels so ({first_line(error)}).", where="--model", code="model",
            remedy="Try another --image-size, or leave --model.drop and --model.drop-path out.",
        ) from error  # fmt: skip


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


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type where it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
