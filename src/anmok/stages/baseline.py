"""Simple baselines: a scikit-learn classifier on pixels, on features made by hand, or on those of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anmok.augment.preprocess import Preprocess, build_preprocess
from anmok.core.config import resolve
from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.core.optional import need
from anmok.core.progress import bar
from anmok.core.types import Predictions, Task
from anmok.data.batches import Loader
from anmok.data.hand_features import HAND, hand_features
from anmok.data.sources import open_table
from anmok.data.table import Table
from anmok.evaluate.baseline_models import SETTINGS, Fitted, fit_baseline
from anmok.stages.baseline_names import baseline_name
from anmok.stages.config import TrainConfig
from anmok.stages.predict import predict_table
from anmok.stages.prepare import prepare

SIZE = 64  # side of the images for features made by hand, where none is set
BATCH = 64
RANDOM = "the network's weights are random (--weights none), and so are its features"


@dataclass(frozen=True, eq=False)
class Features:
    """Images to vectors: `of` uint8[B, S, S, C], prepared by `preprocess`, gives float32[B, D].

    module: the network's Encoder where they are a network's; normalize: what its images go through first.
    """

    name: str
    preprocess: Preprocess
    of: Callable[[np.ndarray], np.ndarray]
    module: Any = None
    normalize: Any = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Known:
    """The features of labelled images, computed once. vectors float32[N, D]; targets as a Table gives them; N ids."""

    vectors: np.ndarray
    targets: np.ndarray
    ids: list[str]

    def of(self, ids: set[str]) -> Known:
        """Those of some images."""
        keep = np.flatnonzero([i in ids for i in self.ids])
        return Known(self.vectors[keep], self.targets[keep], [self.ids[i] for i in keep])


@dataclass(frozen=True, eq=False)
class SimpleModel:
    """A baseline that has learned; it predicts as a Model does."""

    name: str
    classes: list[str]
    task: Task
    features: Features
    fitted: Fitted

    @property
    def preprocess(self) -> Preprocess:
        """How its images are prepared."""
        return self.features.preprocess

    @property
    def hash(self) -> str:
        """'': it is not stored."""
        return ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know."""
        return (*self.features.notes, *self.fitted.notes)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """uint8[B, S, S, C], preprocessed, to float32[B, K]."""
        return self.fitted.probs(self.features.of(images))

    def predict(self, table: Table) -> Predictions:
        """Predictions of every row of a table, NaN where an image cannot be read."""
        return predict_table(self, table)


def baseline(
    source: Any, name: str, *, config: Path | str | None = None, layers: tuple[Mapping[str, Any], ...] = (),
    **settings: Any,
) -> tuple[SimpleModel, Table]:  # fmt: skip
    """Fit a simple baseline to a source, and return it with the table as it was split.

    name: FEATURES/CLASSIFIER, as hog/logistic or resnet18/knn; the classifier's setting is chosen on validation.
    settings: as `train` takes them; image_size, weights, split and seed matter here.

    UsageError for an unknown name; MachineError where scikit-image or a network's package is missing.
    """
    resolved = resolve(TrainConfig, *layers, settings, file=config)
    if baseline_name(name) is None:
        raise UsageError(
            f"{name} is a network, no baseline.", remedy=f"Expected FEATURES/CLASSIFIER, as {name}/knn.", code="model"
        )
    table = prepare(open_table(source, resolved.data, resolved.labels), resolved)
    features = build_features(name, table, resolved)
    known = compute(features, table, resolved)
    return fitted_on(name, features, table, known, resolved), table


def build_features(name: str, table: Table, config: TrainConfig) -> Features:
    """What a baseline's classifier sees.  UsageError for a name that is neither of ours nor a network's."""
    parts = baseline_name(name)
    assert parts is not None
    if parts.network:
        return _of_network(parts.network, table, config)
    from PIL import ImageColor

    background = ImageColor.getrgb(config.data.background)[:3]
    preprocess = build_preprocess(config.preprocess, config.preprocess.image_size or SIZE, background)
    return Features(parts.features, preprocess, lambda images: hand_features(parts.features, images))


def _of_network(name: str, table: Table, config: TrainConfig) -> Features:
    torch = need("torch", "train")
    from anmok.engine.runtime import pick_device
    from anmok.models.build import build
    from anmok.models.encoder import Encoder
    from anmok.models.networks import kind_of
    from anmok.stages.pixels import with_preprocess

    if kind_of(name) == "timm":
        _known_network(name)
    torch.manual_seed(config.seed)
    model = config.model.model_copy(update={"name": name, "adapt": "full"})
    channels = 1 if config.preprocess.channels == "gray" else 3
    built = build(model, list(table.classes), table.task, channels, config.preprocess.image_size)
    built, preprocess = with_preprocess(built, config.model_copy(update={"model": model}))
    device = pick_device(config.runtime.device)
    classifier = built.classifier.to(device).eval()
    encoder = Encoder(classifier.backbone, classifier.outputs, preprocess.image_size, channels).to(device).eval()

    def of(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            pixels = torch.from_numpy(np.require(images, np.uint8, ["C", "W"])).to(device)
            return encoder(classifier.normalize(pixels)).float().cpu().numpy()

    notes = (RANDOM,) if config.model.weights == "none" else ()
    return Features(name, preprocess, of, encoder, classifier.normalize, notes)


def _known_network(name: str) -> None:
    """UsageError for a name before the slash that is no network and no features of ours, with the nearest of both."""
    import timm

    if not timm.is_model(name):
        near = did_you_mean(name, [*HAND, *timm.list_models()])
        raise UsageError(f"there are no features {name}.", where="--models", remedy=near, code="model")


def compute(features: Features, table: Table, config: TrainConfig) -> Known:
    """The features of the labelled training and validation images; those that cannot be read are left out."""
    import polars as pl

    rows = table.labelled().take(pl.col("split").is_in(["train", "val"]))
    loader = Loader(
        rows, preprocess=features.preprocess, batch_size=BATCH, threads=config.runtime.threads,
        allow_truncated=config.data.allow_truncated,
    )  # fmt: skip
    vectors, targets, ids = [], [], []
    with bar(f"features {features.name}", len(rows)) as progress:
        for batch in loader.epoch():
            if len(batch):
                vectors.append(features.of(batch.images))
                targets.append(batch.targets)
                ids += batch.ids
            progress.advance(len(batch))
    if not ids:
        raise DataError("no image can be read.", where=str(table.root), code="no-images")
    return Known(np.concatenate(vectors), np.concatenate(targets), ids)


def fitted_on(name: str, features: Features, table: Table, known: Known, config: TrainConfig) -> SimpleModel:
    """The baseline learned from the training rows of the table, its setting chosen on the validation rows."""
    parts = baseline_name(name)
    assert parts is not None
    assert parts.classifier in SETTINGS
    labelled = table.labelled()
    train, val = (known.of(set(labelled.where(split=split).rows["id"].to_list())) for split in ("train", "val"))
    fitted = fit_baseline(
        parts.classifier, train.vectors, train.targets, val.vectors, val.targets, len(table.classes), table.task,
        config.seed,
    )  # fmt: skip
    return SimpleModel(name, list(table.classes), table.task, features, fitted)
