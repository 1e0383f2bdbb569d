"""A classifier from its settings: the network, its weights, what of it learns."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from anmok.core.errors import UsageError
from anmok.core.pixels import GRAY_MEAN, GRAY_STD, IMAGENET_MEAN, IMAGENET_STD
from anmok.core.types import Task
from anmok.models.classifier import Classifier, outputs_for
from anmok.models.config import ModelConfig
from anmok.models.heads import head_names, in_head
from anmok.models.networks import build_network, check_outputs, own_size
from anmok.models.pretrained import build_pretrained
from anmok.models.weights import find_weights, load_into


@dataclass(frozen=True)
class Built:
    """A classifier, the image size it was built for, and what the user should be told about it."""

    classifier: Classifier
    image_size: int
    said: list[str] = field(default_factory=list)


def build(
    config: ModelConfig, classes: list[str], task: Task, channels: int = 3, image_size: int | None = None,
    module: nn.Module | None = None,
) -> Built:  # fmt: skip
    """Build the network `config.name`, or wrap the `module` given, for these classes; load its weights.

    channels: 1 or 3. image_size: pixels, None for the model's own. UsageError for an unknown name (with the nearest),
    DataError for weights that do not fit, MachineError for weights that cannot be had.
    """
    outputs = outputs_for(task, len(classes))
    said: list[str] = []
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else (GRAY_MEAN, GRAY_STD)
    options = model_options(config)
    if module is not None:
        if config.weights == "pretrained":
            raise UsageError(
                "a module given as an object has no weights on the hub.", where="--weights pretrained", code="weights"
            )
        backbone, size = module, image_size or 224
    else:
        size = image_size or own_size(config.name)
        if config.weights == "pretrained":
            backbone, mean, std, said = build_pretrained(config.name, outputs, channels, size, options)
        else:
            backbone = build_network(config.name, outputs, channels, size, options)
    outputs = check_outputs(backbone, (1, 2) if task == "binary" else (outputs,), channels, size)
    if config.weights not in ("none", "pretrained"):
        file = find_weights(config.weights)
        said += load_into(backbone, file, head_names(backbone, outputs), classes)
    classifier = Classifier(backbone, classes, task, mean, std, outputs)
    freeze(classifier, config.adapt)
    return Built(classifier, size, said)


def model_options(config: ModelConfig) -> dict[str, float]:
    """What a timm network is given besides classes, channels and size; a model folder keeps it as model_args."""
    given = {"drop_rate": config.drop, "drop_path_rate": config.drop_path}
    return {k: v for k, v in given.items() if v is not None}


def freeze(classifier: Classifier, adapt: str) -> None:
    """Let everything learn (`full`), or the head alone (`head`)."""
    if adapt == "head":
        heads = head_names(classifier.backbone, classifier.outputs)
        for name, parameter in classifier.backbone.named_parameters():
            parameter.requires_grad_(in_head(name, heads))
