"""The settings of a pretraining, and what each objective takes where the user says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from anmok.augment.policy import Policy
from anmok.augment.views import contrastive_policy
from anmok.core.config import read_toml, resolve
from anmok.core.errors import UsageError
from anmok.objectives.config import ObjectiveConfig
from anmok.stages.config import LearnConfig

EPOCHS = 100
SMALL = 64  # pixels: images up to this side are augmented as CIFAR-10's are, larger ones as ImageNet's


class PretrainConfig(LearnConfig):
    """Everything `anmok pretrain` can be told; `config.toml` of a run holds it complete."""

    epochs: int | None = Field(
        None, ge=1, description=f"Passes over the images; default {EPOCHS}, or what --minutes allows."
    )
    batch_size: int = Field(128, ge=2, description="Images an optimizer step, over all ranks.")
    seed: int = Field(0, ge=0, description="Seed of initial weights, order, augmentation and what the objective draws.")
    probe_every: int | None = Field(
        None, ge=1, description="Epochs between two probes; default: as often as a tenth of the time allows."
    )
    probe_images: int = Field(2000, ge=10, description="Labelled images at most, of either split, that probes look at.")
    objective: ObjectiveConfig = ObjectiveConfig()


_COSINE = {"schedule": {"name": "cosine", "warmup": "5%", "end": 0.001}}
_COMMON: dict[str, Any] = {"augment": {"policy": "flip-crop"}, **_COSINE}

# What each objective takes where the user says nothing, besides the tree's own defaults.
DEFAULTS: dict[str, dict[str, Any]] = {
    "rotation": _COMMON,
    "jigsaw": _COMMON,
    "colorize": _COMMON,
    "inpaint": _COMMON,
    "contrastive": {"batch_size": 256, **_COSINE},
}


def resolve_pretrain(
    *layers: Mapping[str, Any], file: Path | str | None = None
) -> tuple[PretrainConfig, set[str]]:  # fmt: skip
    """(the complete tree, the names of the sections or settings that were said), with the objective's own defaults.

    UsageError as `resolve`, and for settings that take the sense from an objective.
    """
    said = resolve(PretrainConfig, *layers, file=file)
    values = said.model_dump(exclude_unset=True)
    config = resolve(PretrainConfig, DEFAULTS[said.objective.name], values)
    check(config)
    return config, {name for name, value in values.items() if value != {}}


def read_pretrain(path: Path) -> PretrainConfig:
    """The complete tree that a run has stored."""
    return resolve(PretrainConfig, read_toml(path))


def check(config: PretrainConfig) -> None:
    """UsageError for what cannot go together."""
    name, augment, gray = config.objective.name, config.augment, config.preprocess.channels == "gray"
    if name == "colorize" and (gray or config.preprocess.colorspace != "rgb"):
        raise UsageError(
            "colorize learns from colours, and needs them as rgb.", where="--channels", code="setting",
            remedy="Take another --objective, or --channels rgb and --colorspace rgb.",
        )  # fmt: skip
    if name == "rotation" and (augment.vflip or (augment.rotate or 0) > 45):
        raise UsageError(
            "images that are flipped upside down or turned have no right way up, which rotation has to tell.",
            where="augment", code="setting", remedy="Leave augment.vflip and augment.rotate out.",
        )  # fmt: skip
    if config.objective.labels and name != "contrastive":
        raise UsageError(f"{name} has no use for labels.", where="objective.labels", code="setting")
    if config.model.adapt != "full":
        raise UsageError(
            "pretraining trains the whole network.", where="--adapt", code="setting",
            remedy="Leave --adapt out; `anmok train --weights RUN --adapt head` uses what was learned.",
        )  # fmt: skip
    if config.training.select not in ("auto", "loss"):
        raise UsageError(
            f"there is no {config.training.select} without labels.", where="training.select", code="setting",
            remedy="auto keeps the last weights, loss those of the lowest validation loss.",
        )  # fmt: skip
    if config.training.early_stop and config.training.select == "auto":
        raise UsageError(
            "early_stop needs a figure that stops improving, and the last weights are kept.",
            where="training.early_stop", code="setting", remedy="Say --training.select loss too.",
        )  # fmt: skip


def contrastive_default(side: int, depth: int) -> Policy:
    """SimCLR's augmentation for images of that side: gentler colours, no blur and larger crops for small ones."""
    if side <= SMALL:
        return contrastive_policy((0.2, 1.0), 0.5, 0.0, depth)
    return contrastive_policy((0.08, 1.0), 1.0, 0.5, depth)
