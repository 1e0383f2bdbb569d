"""The kinds of dual encoders: which class of transformers, what is its scale, where its vectors stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

CLAMP = 4.6052  # FLAVA's bound on the logarithm of its scale


class Kind(NamedTuple):
    """cls: the class of transformers. tower, projection: attributes of its image tower and of what follows it. loss:
    `softmax` or `sigmoid`. scale, bias: read off a model. pick: from what its features are to one vector an image or
    text. pads: whether texts are filled up to the longest, as in training. longest: tokens, where the processor has a
    bound of its own. languages: of its published weights, () where they differ.
    """

    cls: str
    tower: str
    projection: str
    loss: str
    scale: Callable[[Any], float]
    bias: Callable[[Any], float] = lambda model: 0.0
    pick: Callable[[Any], Any] = lambda features: features
    pads: bool = False
    longest: int = 0
    languages: tuple[str, ...] = ()


def _exp(model: Any) -> float:
    return float(model.logit_scale.detach().float().exp())


def _bias(model: Any) -> float:
    return float(model.logit_bias.detach())


KINDS = {
    "clip": Kind("CLIPModel", "vision_model", "visual_projection", "softmax", _exp, languages=("en",)),
    "metaclip_2": Kind("MetaClip2Model", "vision_model", "visual_projection", "softmax", _exp),
    "siglip": Kind("SiglipModel", "vision_model", "", "sigmoid", _exp, _bias, pads=True),
    "siglip2": Kind("Siglip2Model", "vision_model", "", "sigmoid", _exp, _bias, pads=True),
    "align": Kind(
        "AlignModel", "vision_model", "", "softmax", lambda m: 1 / float(m.temperature.detach()), longest=64,
        languages=("en",),
    ),
    "flava": Kind(
        "FlavaModel", "image_model", "image_projection", "softmax",
        lambda m: float(m.logit_scale.detach().float().clamp(0, CLAMP).exp()), pick=lambda f: f[:, 0],
        languages=("en",),
    ),
}  # fmt: skip
NAMED = "openai/clip-vit-base-patch32, google/siglip2-base-patch16-224, kakaobrain/align-base, facebook/flava-full"
