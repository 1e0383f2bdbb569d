"""The model folder: written whole or not at all, verified before it is loaded.

config.json, model.safetensors, preprocess.json, decision.json, README.md and MANIFEST.sha256 over all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from anmok.augment.preprocess import Preprocess
from anmok.core.errors import DataError, UsageError
from anmok.core.files import MANIFEST, new_folder, read_json, sha256, write_atomic, write_json, write_manifest
from anmok.core.types import Task
from anmok.deploy.card import Card, write_card
from anmok.deploy.decided import read_decision as read_decision
from anmok.deploy.dual import refuse_dual
from anmok.deploy.model import Model
from anmok.deploy.portable import merge_gray, plain, portable
from anmok.deploy.safety import check_folder
from anmok.deploy.settings import OPTIONS, build_config, read_config
from anmok.models.classifier import Classifier
from anmok.models.networks import build_network, call, find_object, kind_of
from anmok.models.weights import differences, read_weights, refuse_pickle


def save_bundle(
    folder: Path | str, classifier: Classifier, preprocess: Preprocess, *, architecture: str,
    model_args: Mapping[str, Any] | None = None, module_path: str | None = None,
    decision: dict[str, Any] | None = None, card: Card | None = None,
) -> Path:  # fmt: skip
    """Write a classifier as a model folder, float32, and return its path; an existing one is replaced at the end.

    architecture: the name the network was built by, or 'object' for a torch module. model_args: what it was given
    besides classes, channels and size (`models.build.model_options`). module_path: module:class of an object, by
    default its own class. decision: see `default_decision`. UsageError if the name does not build this network again.
    """
    from safetensors.torch import save_file

    given, wanted = (*classifier.pixel_mean, *classifier.pixel_std), (*preprocess.mean, *preprocess.std)
    if len(given) != len(wanted) or not torch.allclose(torch.tensor(given), torch.tensor(wanted), atol=1e-5):
        raise ValueError("the preprocessing normalises otherwise than the classifier does")
    options = dict(model_args or {})
    if not options.keys() <= set(OPTIONS):
        raise ValueError(f"model_args are {', '.join(OPTIONS)}, found {', '.join(options)}")
    with torch.random.fork_rng(devices=[]):  # networks are built anew here: a training must not notice
        saved = portable(classifier, architecture, preprocess.image_size, options, module_path)
    config = build_config(
        architecture, saved, classifier.classes, classifier.task, preprocess, options, plain(classifier.backbone)
    )
    with new_folder(folder) as temporary:
        save_file(saved.tensors, temporary / "model.safetensors", metadata={"format": "pt"})
        write_json(temporary / "config.json", config)
        write_json(temporary / "preprocess.json", preprocess.to_dict())
        write_json(temporary / "decision.json", decision or default_decision(classifier.classes, classifier.task))
        write_atomic(temporary / "README.md", write_card(card or Card(), config, preprocess))
        write_manifest(temporary)
    return Path(folder)


def default_decision(classes: list[str], task: Task) -> dict[str, Any]:
    """What is decided before anybody has named costs: no change of temperature, 0.5 where there is a threshold."""
    named = {"binary": classes[1:], "multilabel": classes, "multiclass": []}[task]
    return {"version": 1, "temperature": 1.0, "thresholds": dict.fromkeys(named, 0.5) or None, "costs": None}


def load_model(path: Path | str, *, module: nn.Module | None = None, device: str | torch.device = "cpu") -> Model:
    """The model of a model folder, or of a run (its model/).

    module: the network itself, where it was saved from an object whose class cannot be found or built; passed over for
    the networks that anmok builds by name. What the user's own code makes is imported from where Python finds it, never
    from inside the folder.  DataError: codes `pickle`, `tampered`, `remote-code`, `version`, `damaged`,
    `weights-mismatch`, `module`; UsageError where there is no model.
    """
    folder = _model_folder(Path(path))
    refuse_dual(folder)
    check_folder(folder)
    config = read_config(read_json(folder / "config.json"), str(folder / "config.json"))
    preprocess = Preprocess.from_dict(read_json(folder / "preprocess.json"))
    decision = read_decision(folder / "decision.json", config["label_names"], config["anmok"]["task"])
    tensors = read_weights(folder / "model.safetensors")
    merge_gray(tensors, config["anmok"].get("gray_convs") or [])
    with torch.random.fork_rng(devices=[]):
        backbone = _network(config, preprocess, folder, module)
    own = backbone.state_dict()
    problems = _unloadable(own, tensors)
    if problems:
        raise DataError(
            f"the weights do not fit the network: {problems}.", where=str(folder), code="weights-mismatch",
            remedy="Load it with the versions that wrote it, or pass the module that was saved.",
        )  # fmt: skip
    backbone.load_state_dict(tensors)
    task, outputs = config["anmok"]["task"], config["anmok"]["outputs"]
    classifier = Classifier(backbone, config["label_names"], task, preprocess.mean, preprocess.std, outputs)
    return Model(
        classifier.eval().to(device), preprocess, decision, path=folder, hash=sha256(folder / MANIFEST),
        architecture=config["architecture"],
    )  # fmt: skip


def _unloadable(own: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor]) -> str:
    """Differences, but for lazy layers, which take the shapes they are given."""
    from torch.nn.parameter import is_lazy

    lazy = {k for k, v in own.items() if is_lazy(v)}
    return differences(own, tensors, set(own) - lazy)


def _model_folder(path: Path) -> Path:
    if path.is_file():
        refuse_pickle(path)
    for folder in (path, path / "model"):
        if (folder / "config.json").is_file():
            return folder
    if path.is_dir():
        for file in sorted(path.iterdir()):
            refuse_pickle(file)
    raise UsageError(
        "no model here.", where=str(path), code="model",
        remedy="Expected a model folder (config.json, model.safetensors, …) or a finished run.",
    )  # fmt: skip


def _network(config: dict[str, Any], preprocess: Preprocess, folder: Path, module: nn.Module | None) -> nn.Module:
    """Build the network that config.json names, without weights; or the `module`, where user code would make it."""
    ours, name = config["anmok"], config["architecture"]
    if module is not None and (name == "object" or kind_of(name) == "callable"):
        return module
    if name == "object":
        return _object(ours, folder)
    options = dict(config.get("model_args" if kind_of(name) == "timm" else "") or ours.get("options") or {})
    for key in ("in_chans", "img_size"):  # said by the preprocessing
        options.pop(key, None)
    return build_network(name, ours["outputs"], preprocess.depth, preprocess.image_size, options, forbidden=folder)


def _object(ours: dict[str, Any], folder: Path) -> nn.Module:
    """Build an object's class again, or the image tower of a dual encoder."""
    if ours.get("tower") is not None:
        from anmok.models.dual_tower import build_tower

        return build_tower(ours["tower"], ours["outputs"], str(folder))
    path = ours.get("module")
    remedy = "Build the network yourself and pass it: anmok.load(path, module=network)."
    if not path:
        raise DataError(
            "the network was given as an object, and its class cannot be built from its name.", where=str(folder),
            remedy=remedy, code="module",
        )  # fmt: skip
    try:
        cls = find_object(path, forbidden=folder)
        if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
            raise UsageError("it is not a class of torch modules.", where=path, code="model")
        return call(cls, path, ours.get("arguments") or {})
    except UsageError as error:
        raise DataError(
            f"{path} cannot be built: {error.message}", where=str(folder), remedy=remedy, code="module"
        ) from error
