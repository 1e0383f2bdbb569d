"""What a training takes where nothing is said and the usual value is known to be wrong."""

from __future__ import annotations

from typing import TypeVar

from anmok.core.progress import say
from anmok.stages.config import LearnConfig

C = TypeVar("C", bound=LearnConfig)

# AdamW, one-cycle, batches of 64, on the standardised features of a frozen ResNet-18 of TrashNet, 10 epochs: validation
# accuracy 0.62 at 0.001, 0.67 at 0.003, 0.69 at 0.01, 0.70 at 0.03, 0.69 at 0.1 (median of three seeds each).
HEAD_LR = 0.02
# Random crops cut away what labels speak of: collages of benchmarks/multilabel.py, mAP 0.656 with flip-crop, 0.713 with
# flips and moves of 4 of 64 pixels, one seed each.
WHOLE = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "translate": 0.0625}


def is_set(config: LearnConfig, path: str) -> bool:
    """Whether the user set this leaf, 'optim.lr' or 'epochs', so that nothing else may fill it."""
    node: LearnConfig = config
    *sections, leaf = path.split(".")
    for section in sections:
        if section not in node.model_fields_set:
            return False
        node = getattr(node, section)
    return leaf in node.model_fields_set


def with_defaults(config: C) -> C:
    """The settings with the learning rate of a head on a frozen network, where none is set and the optimizer is AdamW.

    It is said aloud, and config.toml of the run holds it.
    """
    if config.model.adapt != "head" or config.optim.name != "adamw" or config.optim.lr is not None:
        return config
    say(f"learning rate {HEAD_LR:g}, as only the head learns")
    return config.model_copy(update={"optim": config.optim.model_copy(update={"lr": HEAD_LR})})


def for_labels(config: C, several: bool) -> C:
    """The settings; with several labels an image, the default policy leaves the picture whole but for small moves.

    A policy, or a quantity of WHOLE, that was set is left alone. It is said aloud, and config.toml of the run holds it.
    """
    if not several or any(is_set(config, f"augment.{name}") for name in ("policy", *WHOLE)):
        return config
    say("no random crops, which could cut away what a label speaks of; moves of up to 6 % instead (--augment sets it)")
    return config.model_copy(update={"augment": config.augment.model_copy(update=WHOLE)})


def base_rate(config: LearnConfig) -> float:
    """The learning rate that a training of these settings has: the one that is set, or the optimizer's usual one."""
    from anmok.engine.optim import LR

    return config.optim.lr or LR[config.optim.name]


def at_rate(config: C, rate: float) -> C:
    """The settings at another learning rate; muon's second rate keeps its share of it."""
    values: dict[str, float] = {"lr": rate}
    if config.optim.name == "muon":
        values["aux_lr"] = float(f"{config.optim.aux_lr * rate / base_rate(config):.3g}")
    return config.model_copy(update={"optim": config.optim.model_copy(update=values)})
