"""What a run's model sees: the preprocessing of the settings, checked against the weights it starts from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from anmok.augment.preprocess import Preprocess, build_preprocess
from anmok.core.config import dump_toml
from anmok.core.errors import UsageError
from anmok.core.files import read_json, write_atomic
from anmok.core.progress import say, warn
from anmok.data.table import Table
from anmok.models.build import Built, build
from anmok.models.classifier import Classifier
from anmok.models.weights import find_weights
from anmok.stages.config import LearnConfig

C = TypeVar("C", bound=LearnConfig)


def check_pretrained(config: LearnConfig) -> None:
    """UsageError where the hub's weights would see another colour space than they know; a warning for another range."""
    if config.model.weights != "pretrained":
        return
    space, normalize = config.preprocess.colorspace, config.preprocess.normalize
    if space != "rgb":
        raise UsageError(
            f"pretrained weights expect rgb, found {space}.", where="preprocess.colorspace", code="setting",
            remedy="Leave --colorspace at rgb, or train from scratch with --weights none.",
        )  # fmt: skip
    if normalize != "standard":
        warn(f"pretrained weights expect normalize standard; with {normalize} they have to adapt first")


def build_for(config: LearnConfig, table: Table, module: Any) -> tuple[Built, Preprocess]:
    """The network for a table's classes, what was done to its weights said aloud, and its preprocessing."""
    channels = 1 if config.preprocess.channels == "gray" else 3
    built = build(config.model, list(table.classes), table.task, channels, config.preprocess.image_size, module)
    for text in built.said:
        say(text)
    return with_preprocess(built, config)


def with_preprocess(built: Built, config: LearnConfig) -> tuple[Built, Preprocess]:
    """The preprocessing of a network as it was built, and the network behind the mean and std that belong to it."""
    classifier = built.classifier
    preprocess = build_preprocess(
        config.preprocess, built.image_size, color(config.data.background), classifier.pixel_mean, classifier.pixel_std
    )
    warn_weights(config.model.weights, preprocess)
    if (preprocess.mean, preprocess.std) == (classifier.pixel_mean, classifier.pixel_std):
        return built, preprocess
    classifier = Classifier(
        classifier.backbone, classifier.classes, classifier.task, preprocess.mean, preprocess.std, classifier.outputs
    )
    return replace(built, classifier=classifier), preprocess


def with_size(folder: Path, config: C, preprocess: Preprocess) -> C:
    """The settings with the image size that was taken for them, and so the run's config.toml, below its first line.

    Only where weights from a file chose it: the run must not depend on what stands beside them later.
    """
    file = folder / "config.toml"
    if config.preprocess.image_size is not None or config.model.weights in ("none", "pretrained"):
        return config
    size = config.preprocess.model_copy(update={"image_size": preprocess.image_size})
    config = config.model_copy(update={"preprocess": size})
    if file.is_file():
        head = file.read_text(encoding="utf-8").partition("\n")[0]
        write_atomic(file, f"{head}\n{dump_toml(config)}" if head.startswith("#") else dump_toml(config))
    return config


def warn_weights(weights: str, preprocess: Preprocess) -> None:
    """Say aloud that the weights of another model folder or run have seen pictures that were prepared otherwise."""
    if weights in ("none", "pretrained"):
        return
    beside = find_weights(weights).parent / "preprocess.json"
    if not beside.is_file():
        return
    theirs = Preprocess.from_dict(read_json(beside))
    if theirs.steps() != preprocess.steps():
        then, now = (", ".join(p.steps()) or "none" for p in (theirs, preprocess))
        warn(f"the weights were trained on pictures prepared otherwise (steps then: {then}; now: {now})")


def color(text: str) -> tuple[int, int, int]:
    """'#rrggbb' as three numbers in [0, 255]."""
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
