"""A calibration put into the last layer of a network, so that its logits are calibrated in any library."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from anmok.core.errors import DataError
from anmok.evaluate.calibrate import Calibration
from anmok.models.classifier import evaluating
from anmok.models.heads import head_names

if TYPE_CHECKING:
    from anmok.deploy.model import Model

IMAGES = 4  # random ones on which the result is proved
CLOSE = 1e-4  # of the largest logit: what float32 may lose in a head that is written anew


def fold_head(model: Model, calibrations: Sequence[Calibration]) -> dict[str, torch.Tensor]:
    """The tensors of the head, by their names in model.safetensors, that give the calibrated logits.

    calibrations: put in one after the other.  The result is proved on random images: the network with this head gives
    the calibrated logits of the network as it is.  DataError, code `isotonic`: such a calibration is no linear map;
    `head`: the network has no linear layer at its end that could carry it.
    """
    classifier = model.classifier
    backbone = classifier.backbone
    heads = _layers(backbone, classifier.outputs)
    images = _random_images(model)
    with evaluating(classifier), _outputs(heads) as seen:
        before = classifier(images).double().cpu().numpy()
    tensors: dict[str, torch.Tensor] = {}
    for name, layer in heads.items():
        tensors |= _folded(name, layer, calibrations, _scale(before, seen[name]))
    after = _logits_with(model, tensors, images)
    expected = before
    for calibration in calibrations:
        weight, bias = calibration.fold(expected.T, np.zeros(expected.shape[1]))
        expected = (weight + bias[:, None]).T
    if not np.allclose(after, expected, rtol=CLOSE, atol=CLOSE * max(1.0, float(np.abs(expected).max()))):
        raise DataError(
            "what follows the last layer is not linear, so it cannot carry the calibration.", where=str(model.path),
            code="head",
        )  # fmt: skip
    return tensors


def _layers(backbone: nn.Module, outputs: int) -> dict[str, nn.Linear | nn.Conv2d]:
    modules, state = dict(backbone.named_modules()), backbone.state_dict()
    out: dict[str, nn.Linear | nn.Conv2d] = {}
    for name in head_names(backbone, outputs):
        layer = modules[name]
        if not isinstance(layer, nn.Linear | nn.Conv2d) or f"{name}.weight" not in state:
            raise DataError(f"its last layer, {name}, is no linear one.", code="head")
        out[name] = layer
    return out


def _random_images(model: Model) -> torch.Tensor:
    p = model.preprocess
    shape = (IMAGES, p.image_size, p.image_size, p.depth)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return images.to(model.classifier.mean.device)


@contextmanager
def _outputs(layers: dict[str, nn.Linear | nn.Conv2d]) -> Iterator[dict[str, np.ndarray]]:
    """What each layer gives within the block, float64."""
    seen: dict[str, np.ndarray] = {}

    def keep(name: str, layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen[name] = output.detach().double().cpu().numpy()

    hooks = [layer.register_forward_hook(partial(keep, name)) for name, layer in layers.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _scale(logits: np.ndarray, output: np.ndarray) -> float:
    """By how much the network multiplies what its last layer gives; 1 where it is not a multiple."""
    if output.size != logits.size:
        return 1.0
    flat = output.reshape(logits.shape)
    square = float((flat * flat).sum())
    factor = float((logits * flat).sum()) / square if square > 0 else 1.0
    return factor if factor > 0 and np.allclose(logits, factor * flat, rtol=1e-3, atol=1e-4) else 1.0


def _folded(
    name: str, layer: nn.Linear | nn.Conv2d, calibrations: Sequence[Calibration], scale: float
) -> dict[str, torch.Tensor]:  # fmt: skip
    """One layer's new weight and bias; logits are `scale` times what it gives."""
    weight = layer.weight.detach().double().cpu().numpy().reshape(layer.weight.shape[0], -1) * scale
    bias = np.zeros(len(weight)) if layer.bias is None else layer.bias.detach().double().cpu().numpy() * scale
    for calibration in calibrations:
        weight, bias = calibration.fold(weight, bias)
    if layer.bias is None and np.abs(bias).max() > 0:
        raise DataError(f"its last layer, {name}, has no bias to carry the calibration.", code="head")
    out = {f"{name}.weight": torch.from_numpy(weight / scale).float().reshape(layer.weight.shape)}
    return out if layer.bias is None else out | {f"{name}.bias": torch.from_numpy(bias / scale).float()}


def _logits_with(model: Model, tensors: dict[str, torch.Tensor], images: torch.Tensor) -> np.ndarray:
    """The logits float64 of a copy of the network with these tensors."""
    changed = copy.deepcopy(model.classifier)
    changed.backbone.load_state_dict(tensors, strict=False)
    with evaluating(changed):
        return changed(images).double().cpu().numpy()
