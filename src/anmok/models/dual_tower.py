"""The image tower of a dual encoder as a classifier: its head holds a text vector for each class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from anmok.core.errors import DataError, UsageError
from anmok.core.optional import need
from anmok.models.dual import HubDual
from anmok.models.dual_kinds import KINDS
from anmok.models.user_code import first_line

RESAMPLES = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers


class ImageTower(nn.Module):
    """float[B, 3, S, S], normalised, to logits [B, outputs]: a linear head on the unit vector of an image.

    kind: of `dual_kinds.KINDS`; config: of its image tower, as transformers writes it; dim: length of a vector.
    """

    def __init__(self, kind: str, config: Mapping[str, Any], dim: int, outputs: int):
        super().__init__()
        transformers = need("transformers", "text")
        self.kind, self.anmok_tower = kind, {"kind": kind, "config": dict(config), "dim": dim}
        model = getattr(transformers, KINDS[kind].cls)
        whole = model.config_class()
        part = whole.sub_configs["image_config" if kind == "flava" else "vision_config"].from_dict(dict(config))
        self.tower = _class_of_tower(model, kind)(part)
        width = int(getattr(part, "hidden_size", 0) or part.hidden_dim)
        bias = kind == "flava"
        self.projection = nn.Linear(width, dim, bias=bias) if KINDS[kind].projection else nn.Identity()
        self.head = nn.Linear(dim, outputs)

    def vectors(self, images: torch.Tensor) -> torch.Tensor:
        """float[B, 3, S, S], normalised, to unit vectors float[B, dim]."""
        out = self.tower(pixel_values=images)
        features = out.last_hidden_state[:, 0] if self.kind == "flava" else out.pooler_output
        return F.normalize(self.projection(features), dim=-1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """float[B, 3, S, S], normalised, to logits [B, outputs]."""
        return self.head(self.vectors(images))


def _class_of_tower(model: Any, kind: str) -> Any:
    """The class of a model's image tower, beside it in transformers."""
    transformers = need("transformers", "text")
    name = "FlavaImageModel" if kind == "flava" else model.__name__.replace("Model", "VisionModel")
    return getattr(transformers, name)


def build_tower(saved: Any, outputs: int, where: str) -> ImageTower:
    """A tower of the form that `ImageTower.anmok_tower` has, freshly initialised.  DataError where it is damaged."""
    try:
        if saved["kind"] not in KINDS or saved["kind"] == "siglip2":
            raise ValueError(f"kind {saved['kind']!r}")
        return ImageTower(str(saved["kind"]), saved["config"], int(saved["dim"]), outputs)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise DataError(
            f"the settings of its image tower are damaged ({first_line(error)}).", where=where, code="damaged"
        ) from error


def text_head(dual: HubDual, classes: np.ndarray) -> ImageTower:
    """The image tower of a dual encoder with the text vectors float[K, D] as its head: scale · cosine + bias.

    `fitting` says whether it can.
    """
    kind = next(name for name, known in KINDS.items() if known is dual.how)
    how = dual.how
    own = getattr(dual.model, how.tower)
    with torch.random.fork_rng(devices=[]):
        tower = ImageTower(kind, own.config.to_diff_dict(), classes.shape[1], len(classes))
    tower.tower.load_state_dict(own.state_dict())
    if how.projection:
        tower.projection.load_state_dict(getattr(dual.model, how.projection).state_dict())
    with torch.no_grad():
        tower.head.weight.copy_(torch.from_numpy(np.asarray(classes, np.float32)) * dual.scale)
        tower.head.bias.fill_(dual.bias)
    return tower.eval()


def fitting(dual: HubDual) -> dict[str, Any]:
    """How its images are prepared, in the words of `augment.preprocess.Preprocess`: image_size, fit, crop_pct, mean,
    std and resample.

    UsageError (code model): a resize that these cannot say, or images of no fixed size.
    """
    if dual.pixels.patch:
        raise UsageError(
            "its images have no fixed size, so it becomes no classifier of this form.", where=f"--model {dual.name}",
            remedy="Take a SigLIP 2 of fixed size, such as google/siglip2-base-patch16-224.", code="model",
        )  # fmt: skip
    p, (size, crop) = dual.pixels.processor, _sizes(dual.pixels.processor)
    odd = size is None or crop is None or int(p.resample) not in RESAMPLES
    if odd or (isinstance(size, tuple) and len({*size, *crop}) > 1) or len(set(crop)) > 1:
        raise UsageError(
            "its images are resized in a way that a model folder cannot say.",
            where=f"--model {dual.name}",
            code="model",
        )
    side = int(crop[0])
    shape = {"fit": "squash"} if isinstance(size, tuple) else {"fit": "crop", "crop_pct": side / size}
    std = 1 / (255 * dual.pixels.factor.astype(np.float64))
    mean = -dual.pixels.offset.astype(np.float64) * std
    numbers = {"mean": tuple(map(float, mean)), "std": tuple(map(float, std))}
    return {"image_size": side, **shape, **numbers, "resample": RESAMPLES[int(p.resample)]}


def _sizes(processor: Any) -> tuple[Any, Any]:
    """((height, width) or the short side, (height, width) of the crop) of an image processor; None for none."""
    size, crop = processor.size, getattr(processor, "crop_size", None)
    if not processor.do_resize or size is None:
        return None, None
    both = (int(size["height"]), int(size["width"])) if size["height"] else None
    short = int(size["shortest_edge"]) if size["shortest_edge"] and not size["longest_edge"] else None
    cut = (int(crop["height"]), int(crop["width"])) if getattr(processor, "do_center_crop", False) and crop else both
    return both or short, cut
