"""The network of a classifier in the form in which it is saved, proved equal by building it anew.

Other libraries know neither one-logit heads nor grey images, so a one-logit network z is saved as (0, z), and a first
layer w for grey as w times the luma of red, green and blue, wherever the network built so gives the same logits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from anmok.core.errors import AnmokError, UsageError
from anmok.models.classifier import Classifier
from anmok.models.networks import build_network, call, find_object, first_line, kind_of, offers

# Pillow's luma of RGB (ITU-R 601), exact in float32; it sums to 1.
LUMA = torch.tensor([19595.0, 38470.0, 7471.0]) / 65536

# What a constructor may go wrong with, when it is tried.
CONSTRUCTION = (TypeError, ValueError, RuntimeError, AssertionError, AttributeError, LookupError, OSError, AnmokError)


@dataclass(frozen=True)
class Portable:
    """The saved form of a network.

    tensors: what is saved; outputs, channels: of the saved network; gray_convs: the layers that hold luma times grey;
    module, arguments: how an object's class is called to build it again, None where nobody knows.
    """

    tensors: dict[str, torch.Tensor]
    outputs: int
    channels: int
    gray_convs: tuple[str, ...] = ()
    module: str | None = None
    arguments: dict[str, int] | None = None


def portable(
    classifier: Classifier, name: str, size: int, options: Mapping[str, Any], module_path: str | None = None
) -> Portable:
    """The saved form of a classifier whose network is `name` ('object': given as a torch module).

    UsageError if the name builds another network than this one.
    """
    backbone = plain(classifier.backbone)
    tensors = plain_tensors(backbone)
    outputs, channels = classifier.outputs, len(classifier.pixel_mean)
    if name == "object":
        found = _constructor(backbone, module_path, tensors, outputs, channels, size)
        return Portable(tensors, outputs, channels, (), *(found or (None, None)))
    kind = kind_of(name)
    heads = [2, 1] if outputs == 1 and kind != "callable" and classifier.task == "binary" else [outputs]
    inputs = [3, 1] if channels == 1 and kind == "timm" else [channels]
    reason = ""
    for want_outputs, want_channels in [(o, c) for o in heads for c in inputs]:
        try:
            copy = build_network(name, want_outputs, want_channels, size, options)
            made, gray_convs = _reshape(tensors, copy.state_dict())
            copy.load_state_dict(made)
        except (UsageError, RuntimeError) as error:
            reason = first_line(error)
            continue
        if _same_logits(backbone, copy, channels, size):
            return Portable(made, want_outputs, want_channels, gray_convs)
        reason = "it gives other logits"
    raise UsageError(
        f"{name} does not build this network again ({reason}), so it would not load.", code="model",
        remedy="Give a changed network as a module, or as module:callable.",
    )  # fmt: skip


def plain(backbone: nn.Module) -> nn.Module:
    """The module itself, where torch.compile has wrapped it."""
    return getattr(backbone, "_orig_mod", backbone)


def plain_tensors(backbone: nn.Module) -> dict[str, torch.Tensor]:
    """The state as float32 (integers as they are) on the CPU, no two sharing memory, as safetensors asks."""
    state = backbone.state_dict()
    odd = [k for k, v in state.items() if not isinstance(v, torch.Tensor)]
    if odd:
        raise UsageError(
            f"the network's state holds more than tensors ({', '.join(odd[:3])}) and cannot be saved.", code="model"
        )
    return {
        k: v.detach().to("cpu", torch.float32 if v.is_floating_point() else v.dtype, copy=True).contiguous()
        for k, v in state.items()
    }


def _reshape(
    tensors: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """The tensors in the target's shapes: a zero row before a one-logit head, luma times a grey first layer."""
    out, gray_convs = dict(tensors), []
    for key, value in tensors.items():
        want = target[key].shape if key in target else value.shape
        if want == value.shape:
            continue
        if want[:1] == (2,) and value.shape[:1] == (1,) and want[1:] == value.shape[1:]:
            out[key] = torch.cat([torch.zeros_like(value), value])
        elif value.ndim == 4 and want == (value.shape[0], 3, *value.shape[2:]) and value.shape[1] == 1:
            out[key] = value * LUMA.view(1, 3, 1, 1)
            gray_convs.append(key)
        else:
            raise RuntimeError(f"{key} is {tuple(value.shape)} instead of {tuple(want)}")
    return out, tuple(gray_convs)


def merge_gray(tensors: dict[str, torch.Tensor], gray_convs: Iterable[str]) -> None:
    """Back to one input channel, in place: the luma weights sum to 1.  A name without a tensor is passed over."""
    for name in tensors.keys() & set(gray_convs):
        tensors[name] = tensors[name].sum(dim=1, keepdim=True)


@torch.no_grad()
def _same_logits(backbone: nn.Module, copy: nn.Module, channels: int, size: int) -> bool:
    """Whether two networks say the same of random images, up to rounding and to the saved form."""
    parameter = next(backbone.parameters(), torch.zeros(1))
    images = torch.rand(2, channels, size, size, generator=torch.Generator().manual_seed(0)) * 4 - 2
    was = backbone.training
    try:
        expected = backbone.eval()(images.to(parameter.device, parameter.dtype)).float().cpu()
    finally:
        backbone.train(was)
    takes = _input_channels(copy, channels)
    found = copy.eval()(images.expand(-1, takes, -1, -1) if takes != channels else images)
    if found.shape[1] == 2 and expected.shape[1] == 1:
        expected = torch.cat([torch.zeros_like(expected), expected], dim=1)
    exact = parameter.dtype == torch.float32 and parameter.device.type == "cpu"
    bound = 1e-3 if exact else 0.1
    return found.shape == expected.shape and torch.allclose(found, expected, bound, bound, equal_nan=True)


def _input_channels(network: nn.Module, channels: int) -> int:
    """Channels a network takes: timm's say it."""
    return int(getattr(network, "in_chans", None) or channels)


def _constructor(
    backbone: nn.Module, path: str | None, tensors: Mapping[str, torch.Tensor], outputs: int, channels: int, size: int
) -> tuple[str, dict[str, int]] | None:
    """How to build an object's network again: module:class and its arguments, tried out; None if nobody knows."""
    cls = type(backbone)
    path = path or f"{cls.__module__}:{cls.__qualname__}"
    if path.startswith("__main__:") or "<locals>" in path:
        return None
    try:
        function = find_object(path)
        tries = [offers(function, outputs, channels, size), {}]
        for arguments in tries:
            try:
                copy = call(function, path, arguments)
                copy.load_state_dict(dict(tensors))
            except CONSTRUCTION:
                continue
            if _same_logits(backbone, copy, channels, size):
                return path, arguments
    except AnmokError:
        return None
    return None
