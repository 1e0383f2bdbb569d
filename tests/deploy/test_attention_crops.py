"""Attention crops of a trained model: they hold the object, they see what the whole picture has lost, and they pay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from anmok.augment.attention import attention_views, box_of
from anmok.augment.preprocess import Preprocess
from anmok.core.errors import UsageError
from anmok.deploy.fast import FastModel
from anmok.deploy.model import Model
from anmok.models.classifier import Classifier

SIDE, FIELD, PATCH = 24, 96, 28  # the model's side; a field and the small object in it, pixels
MEAN, STD = (0.5,) * 3, (0.25,) * 3


def striped(n: int, side: int, patch: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fields with a patch of stripes 2 pixels wide: images, whether they lie, and the patch's top left corner."""
    rng = np.random.default_rng(seed)
    lying, at = rng.integers(0, 2, n), rng.integers(0, side - patch + 1, (n, 2))
    images = np.clip(60 + rng.normal(0, 6, (n, side, side, 3)), 0, 255).astype(np.uint8)
    stripes = np.where(np.arange(patch) // 2 % 2, 230, 90).astype(np.uint8)
    for image, lies, (top, left) in zip(images, lying, at, strict=True):
        pattern = np.broadcast_to(stripes[:, None] if lies else stripes, (patch, patch))
        image[top : top + patch, left : left + patch] = pattern[..., None]
    return images, lying, at


def as_model(network: nn.Module) -> Model:
    classifier = Classifier(network, ["stands", "lies"], "multiclass", MEAN, STD).eval()
    preprocess = Preprocess(SIDE, mean=MEAN, std=STD)
    return Model(
        classifier, preprocess, {"version": 1, "temperature": 1.0}, path=Path("m"), hash="h", architecture="object"
    )


@pytest.fixture(scope="module")
def model() -> Model:
    """A small network that has learned to tell large patches apart."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 2),
    )  # fmt: skip
    images, lying, _ = striped(192, SIDE, 18, 0)
    pixels, targets = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25, torch.from_numpy(lying)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(8):
        for at in range(0, len(pixels), 32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(pixels[at : at + 32]), targets[at : at + 32]).backward()
            optimizer.step()
    return as_model(network)


def test_the_crop_holds_a_small_object(model: Model) -> None:
    images, _, corners = striped(40, FIELD, PATCH, 1)
    views = model.views("attention")
    plain = np.stack([views(image, "")[0] for image in images])
    for activity, (top, left) in zip(views.look(plain), corners, strict=True):  # type: ignore[attr-defined]
        box = box_of(activity)
        assert box.side < 0.5
        for start, at in ((top, box.top), (left, box.left)):
            assert at * FIELD <= start + 2
            assert start + PATCH - 2 <= (at + box.side) * FIELD


def test_it_gains_what_the_whole_picture_has_lost(model: Model) -> None:
    """At the model's side the stripes are grey: whole pictures are guessed, their crops are not."""
    large, lying, _ = striped(40, SIDE, 18, 2)
    assert (model.predict(large).probs.argmax(1) == lying).mean() > 0.95
    small, lying, _ = striped(60, FIELD, PATCH, 3)
    plain, viewed = model.predict(small), model.predict(small, tta="attention")
    assert (plain.probs.argmax(1) == lying).mean() < 0.8
    assert (viewed.probs.argmax(1) == lying).mean() > 0.95


def test_the_answer_is_that_to_a_crop_by_hand(model: Model) -> None:
    image = striped(1, FIELD, PATCH, 4)[0][0]
    plain = np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    large = np.asarray(Image.fromarray(image).resize((3 * SIDE, 3 * SIDE), Image.Resampling.BILINEAR))
    with torch.no_grad():
        pixels = (torch.from_numpy(plain.copy())[None].permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
        activity = model.classifier.backbone[:7](pixels).mean(1)[0].numpy()  # type: ignore[index]
    box = box_of(activity)
    top, left, side = (round(v * 3 * SIDE) for v in box)
    cut = Image.fromarray(large[top : top + side, left : left + side]).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    by_hand = model.probabilities(np.stack([plain, np.asarray(cut)]))
    found = model.predict(image, tta="attention")
    np.testing.assert_allclose(found.probs[0], by_hand.mean(axis=0), atol=1e-6)
    crop_alone = model.predict(image, tta="attention", tta_weights=[0, 1])
    np.testing.assert_allclose(crop_alone.probs[0], by_hand[1], atol=1e-6)


def test_a_crop_does_not_depend_on_its_batch(model: Model) -> None:
    images = striped(7, FIELD, PATCH, 5)[0]
    found = model.predict(images, tta="attention", batch_size=7)
    for size in (1, 3):
        np.testing.assert_allclose(
            model.predict(images, tta="attention", batch_size=size).probs, found.probs, atol=1e-5
        )


def test_a_bad_image_leaves_the_others_theirs(model: Model) -> None:
    image = striped(1, FIELD, PATCH, 6)[0][0]
    found = model.predict([image, b"rubbish", image], tta="attention")
    assert list(found.errors) == ["1"]
    np.testing.assert_array_equal(found.probs[0], found.probs[2])


def test_without_a_map_or_without_torch_it_is_refused(model: Model) -> None:
    flat = as_model(nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 2)))
    with pytest.raises(UsageError, match="no map of features") as caught:
        flat.predict(np.zeros((9, 9, 3), np.uint8), tta="attention")
    assert caught.value.code == "no-maps"
    exported = FastModel(
        model.classes, model.task, model.preprocess, model.decision, {}, path=Path("m"), hash="h", architecture="object"
    )
    with pytest.raises(UsageError, match="--runtime torch"):
        exported.views("attention")
    assert attention_views(model.preprocess, lambda images: images).passes == 3
