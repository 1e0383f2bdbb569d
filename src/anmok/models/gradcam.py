"""Grad-CAM: which places of the last map speak for a class (Selvaraju et al. 2017, arXiv:1610.02391)."""

from __future__ import annotations

import torch
from torch import nn

from anmok.core.errors import UsageError
from anmok.models.maps import differentiating, laid_out, recording


def grad_cam(
    backbone: nn.Module, images: torch.Tensor, targets: torch.Tensor, layer: str | None = None
) -> torch.Tensor:
    """How much each place speaks for the class: ReLU(Σ_k α_k A_k), α_k the mean gradient of its logit (eq. 1 and 2).

    backbone: normalised images float[B, C, H, W] to logits; targets: int64[B], a class each (a network with one logit
    has two: 0 is what speaks against it); layer: the module that gives the map A, by default `find_layer`'s. The result
    is float32[B, h, w], 0 or more, in units of the logit; all 0 where no place speaks for the class.
    """
    layer = layer or find_layer(backbone, images[:1])
    with differentiating(backbone), recording(backbone, {layer}) as given:
        logits = backbone(images.detach().clone().requires_grad_(True))
        if not given:
            raise UsageError(f"{layer} gives no map of features.", where="layer", code="model")
        output = given[-1].output
        (gradient,) = torch.autograd.grad(of_class(logits, targets).sum(), output)
    module, aspect = backbone.get_submodule(layer), images.shape[2] / images.shape[3]
    features, slopes = (laid_out(t.detach(), module, backbone, aspect) for t in (output, gradient))
    if features is None or slopes is None:
        raise UsageError(f"{layer} gives no map of features.", where="layer", code="model")
    return (slopes.mean((2, 3), keepdim=True) * features).sum(1).relu().float()


def of_class(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """float[B]: the logit of each image's class; of a network with one logit, class 0 has its negative."""
    targets = targets.to(logits.device)
    if logits.shape[1] == 1:
        return logits[:, 0] * (targets * 2 - 1)
    return logits.gather(1, targets[:, None])[:, 0]


def find_layer(backbone: nn.Module, images: torch.Tensor) -> str:
    """The last module whose map of features the logits depend on.

    Of a transformer with a class token this is the last normalisation before an attention: after it the patches are
    not looked at any more.  UsageError if the network has no map at this image size.
    """
    modules, aspect = dict(backbone.named_modules()), images.shape[2] / images.shape[3]
    with differentiating(backbone), recording(backbone) as given:
        logits = backbone(images.detach().clone().requires_grad_(True))
        maps = [g for g in given if laid_out(g.output, modules[g.name], backbone, aspect) is not None]
        if not maps:
            raise UsageError(
                f"the network has no map of features of {images.shape[2]} × {images.shape[3]} pixels.", where="--model",
                remedy="Use a larger image size.", code="model",
            )  # fmt: skip
        weights = torch.arange(1, logits.shape[1] + 1, device=logits.device)  # two opposite logits must not cancel out
        slopes = torch.autograd.grad((logits * weights).sum(), [g.output for g in maps], allow_unused=True)
    tried: set[str] = set()
    for found, slope in zip(reversed(maps), reversed(slopes), strict=True):
        if found.name in tried:
            continue  # it ran once more, later: that is what a hook would keep
        tried.add(found.name)
        of_places = None if slope is None else laid_out(slope, modules[found.name], backbone, aspect)
        if of_places is not None and bool(of_places.any()):
            return found.name
    return maps[-1].name  # a head that is all zero depends on nothing
