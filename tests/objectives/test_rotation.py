"""Rotations against numpy's, the loss against a loop, and the four heads' chance level."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from small_objectives import MEAN, STD, batch_of, encoder_of, photos, steps

from anmok.core.errors import DataError
from anmok.objectives.rotation import Rotation, four_rotations


def test_rotations_are_numpys(data_dir: Path) -> None:
    images = photos(data_dir, 3)
    turned, targets = four_rotations(images)
    assert targets.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    for row, k in zip(turned, targets.tolist(), strict=True):
        original = next(i for i in range(3) if (np.rot90(images[i].numpy(), k) == row.numpy()).all())
        assert 0 <= original < 3
    assert (turned[3 + 1].numpy() == np.rot90(images[1].numpy(), 1)).all()


def test_turning_four_times_is_nothing(data_dir: Path) -> None:
    images = photos(data_dir, 2)
    quarter = images
    for _ in range(4):
        quarter = four_rotations(quarter)[0][2:4]
    assert torch.equal(quarter, images)


def test_the_loss_is_the_mean_over_images_and_rotations(data_dir: Path) -> None:
    torch.manual_seed(0)
    learner = Rotation(encoder_of(), MEAN, STD).eval()
    images = photos(data_dir, 4)
    out = learner(batch_of(images))
    total = hits = 0.0
    for image in images:
        for k in range(4):
            pixels = (np.rot90(image.numpy(), k) / 255 - np.array(MEAN)) / np.array(STD)
            x = torch.from_numpy(pixels.copy()).float().permute(2, 0, 1)[None]
            logits = learner.head(learner.encoder(x))[0].detach()
            total -= float(logits[k] - logits.logsumexp(0))
            hits += int(logits.argmax()) == k
    assert out.loss.item() == pytest.approx(total / 16, rel=1e-4)
    assert float(out.logs["correct"]) == pytest.approx(hits / 4)


def test_a_blank_head_is_at_chance(data_dir: Path) -> None:
    learner = Rotation(encoder_of(), MEAN, STD).eval()
    torch.nn.init.zeros_(learner.head.weight)
    torch.nn.init.zeros_(learner.head.bias)
    assert learner(batch_of(photos(data_dir, 2))).loss.item() == pytest.approx(math.log(4), abs=1e-5)


def test_it_learns_six_photos(data_dir: Path) -> None:
    torch.manual_seed(0)
    first, last = steps(Rotation(encoder_of(), MEAN, STD), batch_of(photos(data_dir, 6)), 60, lr=1e-2)
    assert last < 0.7 * first


def test_pictures_say_what_was_guessed(data_dir: Path) -> None:
    rows = Rotation(encoder_of(), MEAN, STD).eval().show(batch_of(photos(data_dir, 3)))
    assert [row[1].caption.split(",")[0] for row in rows] == ["turned by 0°", "turned by 90°", "turned by 180°"]


def test_images_that_betray_the_rotation_are_refused() -> None:
    with pytest.raises(DataError, match="square"):
        four_rotations(torch.zeros(1, 8, 10, 3, dtype=torch.uint8))
