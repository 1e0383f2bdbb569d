"""The settings of a dual encoder's training, and what `anmok train` shows of them beside its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from anmok.core.config import read_toml, resolve
from anmok.core.errors import UsageError
from anmok.models.text_config import TextConfig
from anmok.objectives.pairs_config import PairsConfig, TrainObjective
from anmok.stages.config import LearnConfig, TrainConfig

NAME = "image-text"
EPOCHS = 30


class ImageTextConfig(LearnConfig):
    """Everything `anmok train --objective image-text` can be told; `config.toml` of a run holds it complete."""

    epochs: int | None = Field(
        None, ge=1, description=f"Passes over the pairs; default {EPOCHS}, or what --minutes allows."
    )
    batch_size: int = Field(256, ge=2, description="Pairs an optimizer step, over all ranks: each other's negatives.")
    objective: TrainObjective = TrainObjective(name=NAME)
    pairs: PairsConfig = PairsConfig()
    text: TextConfig = TextConfig()


class TrainTree(TrainConfig):
    """What the command `anmok train` can be told: the settings of a classifier, or of a dual encoder."""

    pairs: PairsConfig = PairsConfig()
    text: TextConfig = TextConfig()


# A mirrored image is no longer what a caption with "left" in it says, so nothing is flipped unless it is asked for.
DEFAULTS: dict[str, Any] = {
    "augment": {"policy": "flip-crop", "hflip": 0.0, "scale": (0.6, 1.0)},
    "schedule": {"name": "cosine", "warmup": "5%", "end": 0.001},
}


def wants_pairs(file: Path | str | None, *layers: Mapping[str, Any]) -> bool:
    """Whether a file or layers of settings ask for this objective, the last one that names any deciding."""
    asked = "" if file is None else _named(read_toml(file))
    for layer in layers:
        asked = _named(layer) or asked
    return asked == NAME


def _named(values: Mapping[str, Any]) -> str:
    """The objective that a layer names; '' for none."""
    value = values.get("objective.name", values.get("objective", ""))
    return str(value.get("name", "")) if isinstance(value, Mapping) else str(value)


def resolve_pairs(*layers: Mapping[str, Any], file: Path | str | None = None) -> ImageTextConfig:
    """The complete tree, with this objective's own defaults.  UsageError as `resolve`, and for what has no sense."""
    said = resolve(ImageTextConfig, *layers, file=file)
    config = resolve(ImageTextConfig, DEFAULTS, said.model_dump(exclude_unset=True))
    config = config.model_copy(update={"objective": TrainObjective(name=NAME)})
    check(config)
    return config


def read_pairs(path: Path) -> ImageTextConfig:
    """The complete tree that a run has stored."""
    return resolve(ImageTextConfig, read_toml(path))


def check(config: ImageTextConfig) -> None:
    """UsageError for what cannot go together."""
    if config.model.adapt not in ("full", "head"):
        raise UsageError(
            f"a dual encoder is trained whole, or its image tower is left as it is; found {config.model.adapt}.",
            where="--adapt", code="setting", remedy="Take full, or head (all but the image network learns).",
        )  # fmt: skip
    if config.text.width % config.text.heads:
        raise UsageError(
            f"a width of {config.text.width} cannot be divided among {config.text.heads} heads.", where="text.heads",
            code="setting", remedy="Take a --text.width that is a multiple of --text.heads.",
        )  # fmt: skip
    if config.training.select not in ("auto", "loss"):
        raise UsageError(
            f"there is no {config.training.select} of pairs.", where="training.select", code="setting",
            remedy="auto keeps the weights of the best recall, loss those of the lowest validation loss.",
        )  # fmt: skip
    if config.data.balance != "none":
        raise UsageError("pairs have no classes to balance.", where="data.balance", code="setting")
    if (config.augment.mixup or config.augment.cutmix) is not None and (config.augment.mixup or config.augment.cutmix):
        raise UsageError("a mixed image has no caption.", where="augment.mixup", code="setting")
