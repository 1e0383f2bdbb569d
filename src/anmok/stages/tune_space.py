"""What a search may vary: the values of each setting, the default among them, and the training that some stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from anmok.core.errors import UsageError
from anmok.core.progress import say
from anmok.data.table import Table
from anmok.stages.config import TrainConfig
from anmok.stages.defaults import at_rate, base_rate, for_labels, with_defaults
from anmok.stages.tune_settings import TuneTree

ALONE = ("augment",)  # the search among policies only: its candidates are given, none are drawn
DEFAULT = "default"  # name of the candidate that the settings are without a search
AROUND = 10.0  # a rate or a decay is drawn from a tenth of its default to ten times as much
NO_DECAY = (1e-6, 1e-2)  # where the default is no decay at all

Settings = Mapping[str, Any]  # of each searched setting its value


class Range(NamedTuple):
    """Of a setting that is drawn log-uniformly."""

    low: float
    high: float


Space = dict[str, Range | tuple[str, ...]]


def usual(config: TuneTree) -> dict[str, Any]:
    """The searched settings as they are without a search."""
    from anmok.engine.optim import WEIGHT_DECAY

    decay = config.optim.weight_decay
    values = {
        "lr": base_rate(config), "weight_decay": WEIGHT_DECAY[config.optim.name] if decay is None else decay,
        "augment": config.augment.policy, "model": config.model.name,
    }  # fmt: skip
    return {name: values[name] for name in config.search}


def build_space(config: TuneTree) -> Space:
    """The range or the choices of each searched setting, its default among them unless that is no decay."""
    space: Space = {}
    for name, value in usual(config).items():
        if name in ("augment", "model"):
            listed = config.candidates if name == "augment" else config.models
            space[name] = tuple(dict.fromkeys([value, *listed]))
        else:
            space[name] = Range(value / AROUND, value * AROUND) if value else Range(*NO_DECAY)
    return space


def name_of(settings: Settings) -> str:
    """'lr 0.0012 · decay 0.05 · light · lenet'."""
    words = {"lr": "lr {:g}", "weight_decay": "decay {:g}"}
    return " · ".join(words.get(name, "{}").format(value) for name, value in settings.items())


def configured(config: TuneTree, settings: Settings) -> TrainConfig:
    """The training that the search is for, with these settings; quantities set apart stay, the time does not."""
    values: dict[str, Any] = {name: getattr(config, name) for name in TrainConfig.model_fields if name != "minutes"}
    out = TrainConfig(**values)
    if "augment" in settings:
        out = out.model_copy(update={"augment": out.augment.model_copy(update={"policy": settings["augment"]})})
    if "lr" in settings:
        out = at_rate(out, settings["lr"])
    if "weight_decay" in settings:
        out = out.model_copy(
            update={"optim": out.optim.model_copy(update={"weight_decay": settings["weight_decay"]})}
        )  # fmt: skip
    if "model" in settings:
        size = fitted(settings["model"], out.preprocess.image_size)
        out = out.model_copy(update={
            "model": out.model.model_copy(update={"name": settings["model"]}),
            "preprocess": out.preprocess.model_copy(update={"image_size": size}),
        })  # fmt: skip
    return out


def fitted(name: str, side: int | None) -> int | None:
    """The image size nearest to `side` that a network takes; None, its own, where it takes no other."""
    from anmok.models.families import accepts

    own = accepts(name)
    if side is None or not own.variable:
        return None
    return max(own.minimum, round(side / own.multiple) * own.multiple)


def completed(config: TuneTree, table: Table) -> TuneTree:
    """The settings with what they leave open: the usual rate of a head, whole pictures for several labels unless
    policies are searched, the networks, and the size that these see.

    UsageError for an unknown network, or where weights of one network are to start several.
    """
    config = with_defaults(config)
    if "augment" not in config.search:
        config = for_labels(config, several=table.task == "multilabel")
    return _with_models(config, table) if "model" in config.search else config


def _with_models(config: TuneTree, table: Table) -> TuneTree:
    from anmok.models.families import accepts
    from anmok.stages.auto_candidates import SIDE, image_side, usual_networks
    from anmok.stages.fold_pixels import median_side

    if config.model.weights not in ("none", "pretrained"):
        raise UsageError(
            "weights from a file belong to one network.", where="--search model", code="setting",
            remedy="Search without model, or with --weights none or pretrained.",
        )  # fmt: skip
    side = config.preprocess.image_size
    if side is None:
        side = image_side(median_side(table))
        side = max(side, SIDE) if config.model.weights == "pretrained" else side
        say(f"every network sees the images at {side} px, if it can; --image-size sets another size")
        config = config.model_copy(
            update={"preprocess": config.preprocess.model_copy(update={"image_size": side})}
        )  # fmt: skip
    models = config.models or usual_networks(config.model.weights, side)
    for name in models:
        accepts(name)
    return config.model_copy(update={"models": tuple(dict.fromkeys([config.model.name, *models]))})
