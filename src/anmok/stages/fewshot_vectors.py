"""Which network gives the vectors of a few-shot answer, and the vectors of a table's images, computed once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anmok.core.errors import DataError, UsageError, near_path
from anmok.core.files import read_json
from anmok.core.progress import bar
from anmok.data.batches import Loader
from anmok.data.table import Table
from anmok.stages.baseline import Features, build_features
from anmok.stages.baseline_names import TORCHVISION
from anmok.stages.config import TrainConfig
from anmok.stages.fewshot_settings import FewShotTree
from anmok.stages.run import Run

BATCH = 64
PIXELS = "pixels"


class Source(NamedTuple):
    """What gives the vectors. see: a table to (vectors float32[N, D], the table of the N images that can be read);
    image_size: of the images it sees, None where they have none in common; learned: classes that it knows from labels,
    as far as is known; texts: names of classes to logits float32[N, K] of vectors that `see` gave, of a dual encoder.
    """

    name: str
    see: Callable[[Table], tuple[np.ndarray, Table]]
    image_size: int | None
    learned: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    texts: Callable[[np.ndarray, Sequence[str]], np.ndarray] | None = None


def source_of(model: Any, table: Table, tree: FewShotTree) -> Source:
    """The vectors that `model` means: a Model or Run, the path of one, of a pretraining or an encoder, a dual encoder
    or the path or hub name of one, or the name of a network.

    UsageError where there is nothing by that name, or a setting that a trained model has decided already.
    """
    from anmok.stages.fewshot_dual import dual_source, is_dual

    if is_dual(model):
        return dual_source(model, tree)
    if isinstance(model, Run) or hasattr(model, "classifier"):
        return _of_model(model, tree)
    path = Path(os.fspath(model))
    encoder = next((p for p in (path, path / "encoder") if _is_encoder(p)), None)
    if encoder is not None and not (path / "model").is_dir():
        name = read_json(encoder / "config.json")["architecture"]
        return source_of(name, table, _with_model(tree, name, os.fspath(encoder)))
    if any((path / file).is_file() for file in ("config.json", "config.toml", "model/config.json", "ensemble.toml")):
        return _of_model(model, tree)
    name = os.fspath(model)
    if os.sep in name and not name.startswith(TORCHVISION) and ":" not in name:
        raise UsageError(
            "no such run or model.", where=f"--model {name}", remedy=near_path(path) or "Expected a name or a folder.",
            code="model",
        )  # fmt: skip
    features = build_features(f"{name}/knn", table, train_config(_with_model(tree, name, tree.model.weights)))
    return _of_features(features, tree, _learned(tree.model.weights))


def _of_features(features: Features, tree: FewShotTree, learned: tuple[str, ...]) -> Source:
    size = features.preprocess.image_size
    return Source(features.name, lambda table: vectors_of(features, table, tree), size, learned, features.notes)


def pixels_of(table: Table, tree: FewShotTree, size: int) -> Features:
    """The pixels themselves of images of the size that the network sees, their side at most 32."""
    preprocess = tree.preprocess.model_copy(update={"image_size": size})
    return build_features(f"{PIXELS}/knn", table, train_config(tree.model_copy(update={"preprocess": preprocess})))


def vectors_of(features: Features, table: Table, tree: FewShotTree) -> tuple[np.ndarray, Table]:
    """(vectors float32[N, D], the table of the N images that can be read), in the table's order."""
    loader = Loader(
        table, preprocess=features.preprocess, batch_size=BATCH, threads=tree.runtime.threads,
        allow_truncated=tree.data.allow_truncated,
    )  # fmt: skip
    vectors: list[np.ndarray] = []
    ids: list[str] = []
    with bar(f"vectors {features.name}", len(table)) as progress:
        for batch in loader.epoch():
            if len(batch):
                vectors.append(np.asarray(features.of(batch.images), np.float32))
                ids += batch.ids
            progress.advance(len(batch))
    if not ids:
        raise DataError("no image can be read.", where=str(table.root), code="no-images")
    place = {identity: row for row, identity in enumerate(table.rows["id"].to_list())}
    found = np.concatenate(vectors)
    if not np.isfinite(found).all():
        raise DataError("the network's vectors are not finite.", where=features.name, code="damaged")
    return found, table.take(np.array([place[i] for i in ids]))


def some_of_each(table: Table, most: int, seed: int, keep: Sequence[str]) -> Table:
    """At most so many labelled rows of each class, drawn by the seed, in their order; of the classes in `keep`."""
    labelled = table.labelled()
    targets, rng = labelled.targets(), np.random.default_rng(seed)
    wanted = {i for i, name in enumerate(table.classes) if name in set(keep)}
    parts = [rng.permutation(np.flatnonzero(targets == k))[:most] for k in sorted(wanted)]
    return labelled.take(np.sort(np.concatenate(parts))) if parts else labelled.take([])


def train_config(tree: FewShotTree) -> TrainConfig:
    """The settings as those of a training, which builds networks from them."""
    return TrainConfig(
        model=tree.model, preprocess=tree.preprocess, data=tree.data, labels=tree.labels, runtime=tree.runtime,
        seed=tree.seed,
    )  # fmt: skip


def _with_model(tree: FewShotTree, name: str, weights: str) -> FewShotTree:
    return tree.model_copy(update={"model": tree.model.model_copy(update={"name": name, "weights": weights})})


def _is_encoder(path: Path) -> bool:
    """Whether a folder is an encoder's: a network without a head."""
    config = path / "config.json"
    return config.is_file() and read_json(config).get("num_classes") == 0


def _learned(weights: str) -> tuple[str, ...]:
    """The classes in the folder that weights come from; of a name of the hub's nobody knows."""
    from anmok.models.weights import classes_beside, find_weights

    return () if weights in ("none", "pretrained") else tuple(classes_beside(find_weights(weights)) or ())


def _of_model(given: Any, tree: FewShotTree) -> Source:
    """A trained model: its own weights and preparation."""
    import torch

    from anmok.engine.runtime import pick_device
    from anmok.models.classifier import evaluating
    from anmok.stages.inspect_subject import encoder_of
    from anmok.stages.load import load

    if tree.model.weights != "none":
        raise UsageError(
            "a trained model has weights already.", where="--weights", code="weights",
            remedy="Give --model the name of a network, or leave --weights out.",
        )  # fmt: skip
    device = pick_device(tree.runtime.device)
    model = given if hasattr(given, "classifier") else load(given, device=str(device))
    if not hasattr(model, "classifier"):
        raise UsageError(
            "an ensemble has no vectors of its own.", where="--model", remedy="Name one of its members.", code="model"
        )
    own, asked = model.preprocess, tree.preprocess
    if asked.image_size not in (None, own.image_size) or asked.channels not in ("rgb", own.channels):
        raise UsageError(
            f"the model sees images of {own.image_size} pixels, {own.channels}.", where="--image-size, --channels",
            remedy="Leave them out.", code="setting",
        )  # fmt: skip
    encoder, why = encoder_of(model)
    if encoder is None:
        raise DataError(why, where=str(model.path), code="head")

    def of(images: np.ndarray) -> np.ndarray:
        with evaluating(encoder):
            pixels = torch.from_numpy(np.require(images, np.uint8, ["C", "W"])).to(model.classifier.mean.device)
            return encoder(model.classifier.normalize(pixels)).float().cpu().numpy()

    name = model.path.parent.name if model.path.name == "model" else model.path.name
    features = Features(f"{name} ({model.architecture})", own, of, encoder, model.classifier.normalize)
    return _of_features(features, tree, tuple(model.classes))
