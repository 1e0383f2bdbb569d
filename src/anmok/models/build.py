"""A classifier from its settings: the network, its weights, what of it learns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from anmok.core.errors import UsageError
from anmok.core.pixels import GRAY_MEAN, GRAY_STD, IMAGENET_MEAN, IMAGENET_STD
from anmok.core.types import Task
from anmok.models.adapt import freeze
from anmok.models.bilinear import with_bilinear
from anmok.models.classifier import Classifier, outputs_for
from anmok.models.config import ModelConfig
from anmok.models.heads import head_names
from anmok.models.lora import add_lora
from anmok.models.networks import build_network, check_outputs, own_size
from anmok.models.pretrained import build_pretrained
from anmok.models.weights import Seen, find_weights, load_into, seen_by


@dataclass(frozen=True)
class Built:
    """A classifier, the image size it was built for, what the user should be told about it, and its heads' names."""

    classifier: Classifier
    image_size: int
    said: list[str] = field(default_factory=list)
    heads: tuple[str, ...] = ()


def build(
    config: ModelConfig, classes: list[str], task: Task, channels: int = 3, image_size: int | None = None,
    module: nn.Module | None = None,
) -> Built:  # fmt: skip
    """Build the network `config.name`, or wrap the `module` given, for these classes; load its weights.

    channels: 1 or 3. image_size: pixels, None for what the weights of a folder have seen, else the model's own.
    UsageError for an unknown name (with the nearest), DataError for weights that do not fit, MachineError for weights
    that cannot be had.
    """
    outputs = outputs_for(task, len(classes))
    said: list[str] = []
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else (GRAY_MEAN, GRAY_STD)
    file = None if config.weights in ("none", "pretrained") else find_weights(config.weights)
    seen = seen_by(file) if file else None
    options = model_options(config)
    size = image_size or (seen.image_size if seen else 224 if module is not None else own_size(config.name))
    if module is not None:
        if config.weights == "pretrained":
            raise UsageError(
                "a module given as an object has no weights on the hub.", where="--weights pretrained", code="weights"
            )
        if "pool" in options:
            raise UsageError(
                "a module given as an object pools as it does.", where="--model.pool", code="model",
                remedy="Leave it out, or put a BilinearHead into the module.",
            )  # fmt: skip
        backbone = module
    elif config.weights == "pretrained":
        plain = {k: v for k, v in options.items() if k != "pool"}
        backbone, mean, std, said = build_pretrained(config.name, outputs, channels, size, plain)
        if "pool" in options:
            backbone = with_bilinear(backbone, config.name, outputs, channels, size)
    else:
        backbone = build_network(config.name, outputs, channels, size, options)
    outputs = check_outputs(backbone, (1, 2) if task == "binary" else (outputs,), channels, size)
    heads = head_names(backbone, outputs) if file or config.adapt != "full" else ()
    if file:
        said += load_into(backbone, file, heads, classes)
    if seen:
        mean, std, corrected = as_seen(seen, image_size, size, mean, std, file)
        said += corrected
    classifier = Classifier(backbone, classes, task, mean, std, outputs)
    if config.adapt == "lora":
        blank = torch.zeros(2, channels, size, size, device=next(backbone.parameters()).device)
        layers = add_lora(backbone, heads, config.lora_rank, config.lora_alpha, blank)
        said.append(f"LoRA of rank {config.lora_rank} in {len(layers)} layers; the head ({', '.join(heads)}) too")
    else:
        freeze(backbone, heads, config.adapt)
    return Built(classifier, size, said, heads)


def as_seen(
    seen: Seen, asked: int | None, size: int, mean: tuple[float, ...], std: tuple[float, ...], file: Path | None
) -> tuple[tuple[float, ...], tuple[float, ...], list[str]]:
    """(mean, std, what to say) where weights have seen images of their own size and normalisation.

    asked: the size that the user wants, None for theirs; size: what it became; mean, std: the usual ones.
    """
    said = []
    if asked is None:
        said.append(f"images are {size} pixels, as {file} has seen them")
    elif asked != seen.image_size:
        said.append(f"the weights were trained at {seen.image_size} pixels, here they see {asked}")
    if len(seen.mean) == len(seen.std) == len(mean) and (seen.mean, seen.std) != (mean, std):
        numbers = ", ".join(f"{m:.3g} ± {s:.3g}" for m, s in zip(seen.mean, seen.std, strict=True))
        said.append(f"pixels are normalised as the weights know them ({numbers})")
        mean, std = seen.mean, seen.std
    return mean, std, said


def model_options(config: ModelConfig) -> dict[str, Any]:
    """What a network is given besides classes, channels and size; a model folder keeps it as model_args."""
    given = {
        "drop_rate": config.drop,
        "drop_path_rate": config.drop_path,
        "norm": None if config.norm == "auto" else config.norm,
        "pool": None if config.pool == "auto" else config.pool,
    }
    return {k: v for k, v in given.items() if v is not None}
