"""Training from a zero-shot classifier's folder: its image tower is the network, its text vectors are the head."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from anmok.core.errors import DataError, UsageError
from anmok.core.files import read_json
from anmok.core.progress import say
from anmok.stages.config import LearnConfig
from anmok.stages.defaults import is_set

C = TypeVar("C", bound=LearnConfig)

NAME = "object:anmok.models.dual_tower.ImageTower"  # as a run calls one that was given as an object
SEEN = ("image_size", "fit", "crop_pct", "resample")


def with_tower(config: C) -> C:
    """The settings with the network, and how it sees images, where the weights are an image tower's; else as they are.

    What the user has set of the preparation stays.  UsageError where a model is named besides.
    """
    file = _file(config)
    if file is None or _saved(file) is None or config.model.name == NAME:
        return config
    if is_set(config, "model.name"):
        raise UsageError(
            f"{config.model.name} cannot take these weights: they are an image tower with class texts as its head.",
            where=f"--weights {config.model.weights}", remedy="Leave --model out.", code="weights",
        )  # fmt: skip
    from anmok.augment.preprocess import Preprocess

    theirs = Preprocess.from_dict(read_json(file.parent / "preprocess.json"))
    seen = {key: getattr(theirs, key) for key in SEEN if not is_set(config, f"preprocess.{key}")}
    say(f"the network is the image tower in {config.model.weights}, its head the texts of the classes")
    return config.model_copy(
        update={
            "model": config.model.model_copy(update={"name": NAME}),
            "preprocess": config.preprocess.model_copy(update=seen),
        }
    )


def tower_of(config: LearnConfig, module: Any = None) -> Any:
    """The module that was given, else the tower of the weights where the settings name one, else None."""
    file = _file(config) if module is None and config.model.name == NAME else None
    saved = None if file is None else _saved(file)
    if file is None or saved is None:
        return module
    from anmok.models.dual_tower import build_tower
    from anmok.models.weights import classes_beside

    return build_tower(saved, len(classes_beside(file) or []), str(file.parent))


def check_texts(config: LearnConfig, classes: list[str]) -> None:
    """UsageError that names the classes without a text, and the texts without a class, of a tower's folder."""
    from anmok.models.weights import classes_beside

    file = _file(config) if config.model.name == NAME else None
    if file is None:
        return
    texts = classes_beside(file) or []
    lacking = {
        "no text of": [name for name in classes if name not in texts],
        "texts of no class here": [name for name in texts if name not in classes],
    }
    if told := "; ".join(f"{what}: {', '.join(names[:10])}" for what, names in lacking.items() if names):
        raise UsageError(
            f"its head is of other classes ({told}).", where=f"--weights {config.model.weights}", code="class",
            remedy=f"Make one of these: anmok zeroshot IMAGES --classes '{','.join(classes[:10])}"
            f"{',…' if len(classes) > 10 else ''}' --save-model FOLDER.",
        )  # fmt: skip


def _file(config: LearnConfig) -> Path | None:
    """The weights' file, None where none is named; that it is not there is for others to say."""
    from anmok.models.weights import find_weights

    if config.model.weights in ("none", "pretrained"):
        return None
    try:
        return find_weights(config.model.weights)
    except (UsageError, DataError):
        return None


def _saved(file: Path) -> Any:
    """How the tower beside a weights file was built, None where there is none."""
    config = file.parent / "config.json"
    values = read_json(config) if config.is_file() else None
    ours = values.get("anmok") if isinstance(values, dict) else None
    return ours.get("tower") if isinstance(ours, dict) else None
