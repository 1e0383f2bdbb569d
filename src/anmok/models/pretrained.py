"""timm's networks with the hub's weights; the head starts anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from anmok.core.errors import DataError, UsageError
from anmok.core.pixels import GRAY_MEAN, GRAY_STD, IMAGENET_MEAN
from anmok.models.hub import fetch
from anmok.models.networks import create_timm, kind_of, timm_cfg
from anmok.models.own_weights import own_with_weights


class Pretrained(NamedTuple):
    """A network with weights, the normalisation they were trained with, and what to say aloud."""

    backbone: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    said: list[str]


def build_pretrained(name: str, outputs: int, channels: int, image_size: int, options: Mapping[str, Any]) -> Pretrained:
    """The timm network `name` with its hub weights and a new head of `outputs` outputs.

    All weights are loaded strictly, with their own head, which is then replaced.  UsageError where a name has no
    weights, MachineError where they cannot be had, DataError where they do not fit.
    """
    from safetensors import SafetensorError

    if kind_of(name) == "own":
        return Pretrained(*own_with_weights(name, outputs, channels, image_size, options))
    cfg = timm_cfg(name) if kind_of(name) == "timm" else None
    if cfg is None or not cfg.hf_hub_id:
        raise UsageError(
            f"{name} has no weights on the hub.", where="--weights pretrained", code="weights",
            remedy="Pass --weights FILE.safetensors or --weights none; most of timm's names have weights.",
        )  # fmt: skip
    file = fetch(cfg.hf_hub_id, "model.safetensors")
    source = {"pretrained": True, "pretrained_cfg_overlay": {"file": str(file)}}
    try:
        backbone = create_timm(name, image_size, {"in_chans": channels, **source, **options})
    except SafetensorError as error:
        raise DataError(
            f"not a readable .safetensors file ({error}).", where=str(file), code="damaged",
            remedy="Remove it from the hub's cache, and it is fetched again.",
        ) from error  # fmt: skip
    except UsageError as error:
        if isinstance(error.__cause__, RuntimeError):
            reason = " ".join(str(error.__cause__).split())[:300]
            raise DataError(
                f"the weights {cfg.hf_hub_id} do not fit {name} at {image_size} pixels ({reason}).", where=str(file),
                remedy="Leave --image-size at the model's own, or choose another model.", code="weights-mismatch",
            ) from error  # fmt: skip
        raise
    reset: Any = getattr(backbone, "reset_classifier", None)
    if reset is None:
        raise UsageError(f"the head of {name} cannot be replaced.", where="--weights pretrained", code="weights")
    reset(outputs)
    said = [f"weights {cfg.hf_hub_id}; the head starts anew"]
    if image_size != cfg.input_size[-1]:
        said.append(f"the weights were trained at {cfg.input_size[-1]} pixels, here they see {image_size}")
    if channels == 3:
        return Pretrained(backbone, tuple(cfg.mean), tuple(cfg.std), said)
    # timm sums the first layer over the colours, so one grey value must be scaled as the colours were.
    same = tuple(cfg.mean) == IMAGENET_MEAN
    mean, std = (GRAY_MEAN, GRAY_STD) if same else ((sum(cfg.mean) / 3,), (sum(cfg.std) / 3,))
    return Pretrained(backbone, mean, std, said)
