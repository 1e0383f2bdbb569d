"""What is measured of a model that has learned: speed, and what its accuracy rests on.

A model here is a Model or a SimpleModel: `preprocess`, `classes`, `task`, and `probabilities(images)`, uint8[B, S, S,
C] to float32[B, K].
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from anmok.core.errors import DataError, UsageError
from anmok.core.machine import cores
from anmok.core.types import Task
from anmok.data.batches import Loader
from anmok.data.table import Table
from anmok.evaluate.intervals import wilson
from anmok.stages.compare_row import Metric, undefined
from anmok.stages.tune_rungs import stratified

LATENCY_S, LATENCY_LEAST, WARM = 1.5, 20, 5  # seconds, runs at least, runs before that do not count
THROUGHPUT_S, THROUGHPUT_LEAST = 1.5, 3
BUSY = 2  # processes a core that want to run, over a minute, from which speeds are doubted
FIELD_IMAGES = 32  # whose gradients are averaged for the receptive field


@dataclass(frozen=True, eq=False)
class Looked:
    """Images as a model sees them, uint8[N, S, S, C], with their targets."""

    images: np.ndarray
    targets: np.ndarray


def look(
    table: Table, preprocess: Any, most: int, seed: int, threads: int | None = None, truncated: bool = False
) -> Looked:  # fmt: skip
    """Up to `most` labelled images of a table, as many of each class as it has, prepared.

    DataError where none can be read.
    """
    rows = table.labelled()
    if len(rows) > most:
        rows = rows.take(stratified(rows, most / len(rows), seed))
    loader = Loader(rows, preprocess=preprocess, batch_size=64, threads=threads, allow_truncated=truncated)
    batches = [batch for batch in loader.epoch() if len(batch)]
    if not batches:
        raise DataError("no image can be read.", where=str(table.root), code="no-images")
    return Looked(np.concatenate([b.images for b in batches]), np.concatenate([b.targets for b in batches]))


def probabilities(model: Any, images: np.ndarray, batch: int = 64) -> np.ndarray:
    """float32[N, K], in batches."""
    return np.concatenate([model.probabilities(images[i : i + batch]) for i in range(0, len(images), batch)])


def accuracy(probs: np.ndarray, targets: np.ndarray, task: Task) -> Metric:
    """Share of images that are right (multi-label: in every label), with Wilson's interval."""
    if task == "multilabel":  # what is unknown is not wrong
        right = ((probs >= 0.5) == (targets > 0.5)) | np.isnan(targets)
    else:
        right = probs.argmax(axis=1) == targets
    hits, n = int((right.all(axis=1) if right.ndim == 2 else right).sum()), len(targets)
    low, high = wilson(hits, n)
    return {"value": hits / n, "low": low, "high": high, "images": n}


def latency_ms(model: Any, image: np.ndarray, clock: Callable[[], float] = time.perf_counter) -> float:
    """Median milliseconds of one prepared image uint8[1, S, S, C], after runs that warm up."""
    return 1000 * median(_timed(model, image, LATENCY_S, LATENCY_LEAST, clock))


def throughput(model: Any, images: np.ndarray, clock: Callable[[], float] = time.perf_counter) -> float:
    """Images a second in batches of these uint8[B, S, S, C], by the median batch."""
    return len(images) / median(_timed(model, images, THROUGHPUT_S, THROUGHPUT_LEAST, clock))


def _timed(model: Any, images: np.ndarray, seconds: float, least: int, clock: Callable[[], float]) -> list[float]:
    for _ in range(WARM):
        model.probabilities(images)
    taken: list[float] = []
    began = clock()
    while len(taken) < least or clock() - began < seconds:
        start = clock()
        model.probabilities(images)
        taken.append(clock() - start)
    return taken


def shuffled(model: Any, seen: Looked, plain: Metric, grid: int, seed: int) -> Metric:
    """Accuracy after grid × grid patches of every image changed places, with `plain` beside it."""
    from anmok.models.shuffle import shuffle_patches

    if grid > seen.images.shape[1]:
        return undefined(f"{grid} patches a side are more than {seen.images.shape[1]} pixels")
    moved = shuffle_patches(seen.images, grid, np.random.Generator(np.random.PCG64(seed)))
    return accuracy(probabilities(model, moved), seen.targets, model.task) | {"plain": plain["value"], "grid": grid}


def reach(model: Any, seen: Looked) -> Metric:
    """Radius of the effective receptive field as a share of the side (Luo et al. 2016), or why there is none.

    An influence spread evenly over the image has 0.588.
    """
    import torch

    from anmok.models.encoder import Encoder
    from anmok.models.receptive import effective_receptive_field

    classifier = copy.deepcopy(model.classifier).eval()
    size, channels = seen.images.shape[1], seen.images.shape[3]
    try:
        encoder = Encoder(classifier.backbone, classifier.outputs, size, channels).eval()
        pixels = torch.from_numpy(np.ascontiguousarray(seen.images[:FIELD_IMAGES])).to(classifier.mean.device)
        field = effective_receptive_field(encoder.grid, classifier.normalize(pixels))
    except (UsageError, DataError) as error:
        return undefined(error.message)
    return {"value": field.reach(), "radius": field.radius(), "side": size}


def at_scale(
    model: Any, rows: Table, plain: Metric, scale: float, multiple: int, options: dict[str, Any]
) -> dict[str, Any]:  # fmt: skip
    """{scale, size, accuracy}: the accuracy on images prepared at `scale` times the training size.

    rows: of the images; plain: the accuracy on them at the training size, kept beside it; multiple: the size is
    rounded to one of it; options: of `look`. Position embeddings are
    interpolated where the network can do that; where it takes no other size, accuracy is undefined, with the reason.
    """
    trained = model.preprocess.image_size
    size = max(multiple, round(scale * trained / multiple) * multiple)
    told: dict[str, Any] = {"scale": scale, "size": size}
    if size == trained:
        return told | {"accuracy": undefined(f"it takes sides of a multiple of {multiple} alone")}
    try:
        other = _resized(model, size)
        seen = look(rows, other.preprocess, **options)
        found = accuracy(probabilities(other, seen.images), seen.targets, model.task)
        return told | {"accuracy": found | {"plain": plain["value"]}}
    except UsageError as error:
        return told | {"accuracy": undefined(error.message)}


def _resized(model: Any, size: int) -> Any:
    """The model for another image size.  UsageError where it takes none."""
    preprocess = replace(model.preprocess, image_size=size)
    if not hasattr(model, "classifier"):
        return _simple_resized(model, preprocess)
    from anmok.deploy.model import Model
    from anmok.models.networks import check_outputs

    classifier = copy.deepcopy(model.classifier)
    resize_network(classifier.backbone, size)
    check_outputs(classifier.backbone, (classifier.outputs,), preprocess.depth, size)
    return Model(
        classifier, preprocess, model.decision, path=Path(model.path), hash=model.hash, architecture=model.architecture
    )


def _simple_resized(model: Any, preprocess: Any) -> Any:
    """A baseline that sees images of another size, where its features stay as many."""
    from anmok.data.hand_features import HAND

    features = model.features
    if features.module is not None:
        raise UsageError("features of a network are taken at the training size", code="setting")
    blank = np.zeros((1, preprocess.image_size, preprocess.image_size, preprocess.depth), np.uint8)
    then = np.zeros((1, model.preprocess.image_size, model.preprocess.image_size, preprocess.depth), np.uint8)
    if HAND[features.name](blank[0]).shape != HAND[features.name](then[0]).shape:
        raise UsageError("the number of its features follows the size", code="setting")
    return replace(model, features=replace(features, preprocess=preprocess))


def resize_network(backbone: Any, size: int) -> None:
    """Tell a network that images have another side, which interpolates its position embeddings, if it can be told.

    UsageError where it says that it cannot.
    """
    tell = getattr(backbone, "set_input_size", None)
    if tell is None:
        return
    try:
        tell(img_size=(size, size))
    except (RuntimeError, ValueError, AssertionError, LookupError, TypeError, AttributeError) as error:
        said = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UsageError(f"it cannot be told another size ({said})", code="model") from error


def busy() -> str:
    """That other processes use this machine too, so that speeds are lower than they could be; '' where they do not."""
    if not hasattr(os, "getloadavg"):
        return ""
    load = os.getloadavg()[0]
    if load <= BUSY * cores():
        return ""
    return f"the machine was busy with other work (load {load:.1f} on {cores()} cores): its speeds are too low"


def peak_memory_bytes(device: str = "cpu") -> int | None:
    """The most memory this process has held (on a GPU: that torch's tensors have held there); None where unknown.

    VmHWM where the system has it: what getrusage says begins with the memory of the process that started this one.
    """
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most if sys.platform == "darwin" else most * 1024)
