"""A classifier with more classes: its linear head grows by rows, everything before it stays."""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from anmok.core.errors import DataError
from anmok.models.classifier import Classifier, evaluating
from anmok.models.heads import head_names

CLOSE = 1e-3  # of the largest logit: rounding of a head's sums


class Seen(NamedTuple):
    """What a classifier makes of images: what its head is given, float32[B, D], and the logits float32[B, K]."""

    vectors: np.ndarray
    logits: np.ndarray


class Head(NamedTuple):
    """A linear head: weight float64[K, D], bias float64[K], None where it has none; of a one-logit network the rows of
    (-z/2, z/2), whose softmax is the same."""

    weight: np.ndarray
    bias: np.ndarray | None


def linear_head(classifier: Classifier) -> str:
    """The name of the one linear layer that makes the logits.  DataError, code head, where there is no such layer."""
    names = head_names(classifier.backbone, classifier.outputs)
    layer = classifier.backbone.get_submodule(names[0])
    if len(names) > 1:
        raise DataError(f"it has {len(names)} heads ({', '.join(names)}), not one that can grow.", code="head")
    if not isinstance(layer, nn.Linear):
        kind = type(layer).__name__
        raise DataError(f"its last layer, {names[0]}, is no linear layer but {kind}: it cannot grow.", code="head")
    return names[0]


def head_rows(classifier: Classifier) -> Head:
    """The rows of the head."""
    layer = classifier.backbone.get_submodule(linear_head(classifier))
    assert isinstance(layer, nn.Linear)
    weight = layer.weight.detach().double().cpu().numpy()
    bias = None if layer.bias is None else _both(layer.bias.detach().double().cpu().numpy())
    return Head(_both(weight), bias)


def look(classifier: Classifier, images: torch.Tensor) -> Seen:
    """What it makes of uint8[B, H, W, C].  DataError, code head, where its head does not give the logits, or a multiple
    of them, from one vector an image."""
    layer = classifier.backbone.get_submodule(linear_head(classifier))
    given: list[torch.Tensor] = []
    made: list[torch.Tensor] = []

    def keep(_module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        given.extend(inputs)
        made.append(output)

    hook = layer.register_forward_hook(keep)
    try:
        with evaluating(classifier):
            logits = classifier(images).double().cpu().numpy()
    finally:
        hook.remove()
    if len(given) != 1 or given[0].ndim != 2 or len(made) != 1:
        raise DataError("its last layer is given something else than one vector an image.", code="head")
    out = made[0].double().cpu().numpy()
    square = float((out * out).sum())
    scale = float((logits * out).sum()) / square if out.shape == logits.shape and square > 0 else 1.0
    if not np.allclose(logits, scale * out, atol=CLOSE * max(1.0, float(np.abs(logits).max()))) or scale <= 0:
        raise DataError("what follows its last layer is not linear, so it cannot grow.", code="head")
    return Seen(given[0].float().cpu().numpy(), _both(logits.T).T.astype(np.float32))


def grown(classifier: Classifier, head: Head, classes: list[str]) -> Classifier:
    """A copy with this head, a row for each of the classes, of a task of one class an image; on the CPU."""
    name = linear_head(classifier)
    old = classifier.backbone.get_submodule(name)
    assert isinstance(old, nn.Linear)
    backbone = copy.deepcopy(classifier.backbone).cpu()
    layer = nn.Linear(old.in_features, len(classes), bias=head.bias is not None)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(head.weight))
        if head.bias is not None:
            layer.bias.copy_(torch.from_numpy(head.bias))
    backbone.set_submodule(name, layer)
    return Classifier(
        backbone, classes, "multiclass", classifier.pixel_mean, classifier.pixel_std, len(classes)
    ).eval()  # fmt: skip


def _both(rows: np.ndarray) -> np.ndarray:
    """Rows z of a one-logit network as (-z/2, z/2); others as they are."""
    return np.concatenate([-rows / 2, rows / 2]) if len(rows) == 1 else rows
