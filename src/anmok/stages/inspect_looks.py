"""Where the network looks in each image: Grad-CAM and attention rollout, brought back to the picture as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from anmok.augment.preprocess import Preprocess
from anmok.core.errors import UsageError, did_you_mean
from anmok.core.progress import bar
from anmok.report.heat import enlarged, overlay, scaled
from anmok.report.inspect_content import Looked, View
from anmok.report.words import percent
from anmok.stages.inspect_images import Seen

if TYPE_CHECKING:
    import torch

    from anmok.deploy.model import Model

BATCH = 8
ANSWERS = 4  # probabilities told of each image


@dataclass
class Looks:
    """What was found in each image; layer: whose map Grad-CAM is of; rollout: why there is none, '' where there is."""

    images: list[Looked] = field(default_factory=list)
    layer: str = ""
    grid: tuple[int, int] = (0, 0)
    cam: str = ""
    rollout: str = ""


def look(model: Model, seen: list[Seen], layer: str = "auto") -> Looks:
    """Grad-CAM of the answer and of the true label where it is another, and the rollout where there is attention.

    layer: the module whose map Grad-CAM reads.  UsageError where the network has none of that name, with the nearest.
    """
    from anmok.models.gradcam import find_layer

    found = Looks(layer=named_layer(model, layer))
    inputs = as_input(model, np.stack([one.prepared for one in seen[:1]]))
    try:
        found.layer = found.layer or find_layer(model.classifier.backbone, inputs)
    except UsageError as error:
        found.cam = f"There is no Grad-CAM: {error.message}"
    with bar("look", len(seen)) as progress:
        for start in range(0, len(seen), BATCH):
            part = seen[start : start + BATCH]
            found.images += _batch(model, part, found)
            progress.advance(len(part))
    return found


def named_layer(model: Model, layer: str) -> str:
    """The name, '' for auto.  UsageError where there is no such module."""
    names = [name for name, _ in model.classifier.backbone.named_modules() if name]
    if layer != "auto" and layer not in names:
        remedy = did_you_mean(layer, names)
        raise UsageError(f"the network has no module {layer}.", where="inspect.layer", remedy=remedy, code="setting")
    return "" if layer == "auto" else layer


def as_input(model: Model, prepared: np.ndarray) -> torch.Tensor:
    """uint8[B, S, S, C] as the backbone gets it, float32[B, C, S, S], on the model's device."""
    import torch

    pixels = torch.from_numpy(np.require(prepared, np.uint8, ["C", "W"])).to(model.classifier.mean.device)
    return model.classifier.normalize(pixels)


def _batch(model: Model, seen: list[Seen], found: Looks) -> list[Looked]:
    prepared = np.stack([one.prepared for one in seen])
    probs = model.probabilities(prepared)
    inputs = as_input(model, prepared)
    answers = probs.argmax(axis=1)
    truths = [missed(model.classes, one.labels, row, model.task) for one, row in zip(seen, probs, strict=True)]
    answer = _cams(model, inputs, answers, found)
    truth = _cams(model, inputs, np.array([a if t is None else t for a, t in zip(answers, truths, strict=True)]), found)
    rolled = _rollout(model, inputs, found)
    out = []
    for i, one in enumerate(seen):
        views = [View("the picture", one.shown)]
        if answer is not None:
            views.append(_cam(model, one, answer[i], "answer", int(answers[i]), probs[i]))
        if rolled is not None:
            placed = place(scaled(rolled[i]), model.preprocess, *one.shown.shape[:2])
            views.append(View("attention rollout", overlay(one.shown, placed)))
        if truth is not None and (k := truths[i]) is not None:
            views.append(_cam(model, one, truth[i], "true label", k, probs[i]))
        best = np.argsort(-probs[i], kind="stable")[:ANSWERS]
        told = [(model.classes[k], float(probs[i, k])) for k in best]
        out.append(Looked(one.name, truth_text(one.labels), told, is_miss(model, one.labels, probs[i]), views))
    return out


def missed(classes: list[str], labels: tuple[str, ...] | None, probs: np.ndarray, task: str) -> int | None:
    """The class of a true label that is not the answer; of several labels, the least likely below 0.5."""
    known = [classes.index(name) for name in labels or () if name in classes]
    known = [k for k in known if k != probs.argmax() and (task != "multilabel" or probs[k] < 0.5)]
    return min(known, key=lambda k: probs[k], default=None)


def is_miss(model: Model, labels: tuple[str, ...] | None, probs: np.ndarray) -> bool:
    """Whether the answer is known to be wrong."""
    if labels is None:
        return False
    if model.task == "multilabel":
        return {c for c, p in zip(model.classes, probs, strict=True) if p >= 0.5} != set(labels)
    return model.classes[int(probs.argmax())] not in labels


def truth_text(labels: tuple[str, ...] | None) -> str:
    """The true labels as text, '' where they are not known."""
    return "" if labels is None else ", ".join(labels) or "none of the classes"


def _cams(model: Model, inputs: torch.Tensor, classes: np.ndarray, found: Looks) -> np.ndarray | None:
    import torch

    from anmok.models.gradcam import grad_cam

    if found.cam:
        return None
    maps = grad_cam(model.classifier.backbone, inputs, torch.from_numpy(classes.astype(np.int64)), found.layer)
    found.grid = (maps.shape[1], maps.shape[2])
    return maps.cpu().numpy()


def _rollout(model: Model, inputs: torch.Tensor, found: Looks) -> np.ndarray | None:
    from anmok.models.rollout import attention_rollout

    if found.rollout:
        return None
    try:
        return attention_rollout(model.classifier.backbone, inputs).cpu().numpy()
    except UsageError as error:
        found.rollout = error.message[0].upper() + error.message[1:]
        return None


def _cam(model: Model, one: Seen, values: np.ndarray, what: str, k: int, probs: np.ndarray) -> View:
    """A Grad-CAM over its picture, scaled by its largest value."""
    top = float(values.max())
    said = f"{what}: {model.classes[k]} ({percent(float(probs[k]))})"
    if top <= 0:
        return View(f"{said}, for which no place speaks", one.shown)
    return View(said, overlay(one.shown, place(values / top, model.preprocess, *one.shown.shape[:2])))


def place(values: np.ndarray, pre: Preprocess, height: int, width: int) -> np.ndarray:
    """A map float[h, w] of the square that the network saw, as float32[height, width] of the picture it was made from.

    NaN where a crop cut off what the network did not see; a letterbox's padding is left out.
    """
    size = pre.image_size
    if pre.fit == "squash":
        return enlarged(values, height, width)
    if pre.fit == "letterbox":
        scale = size / max(height, width)
        tall, wide = max(1, round(height * scale)), max(1, round(width * scale))
        top, left = (size - tall) // 2, (size - wide) // 2
        return enlarged(enlarged(values, size, size)[top : top + tall, left : left + wide], height, width)
    short = math.floor(size / pre.crop_pct)
    part = size / short * min(height, width)  # side of the square that was kept, in pixels of the picture
    tall, wide = min(height, round(part)), min(width, round(part))
    top, left = round((height - tall) / 2), round((width - wide) / 2)
    out = np.full((height, width), np.nan, np.float32)
    out[top : top + tall, left : left + wide] = enlarged(values, tall, wide)
    return out
