"""The alternating flip: every image is mirrored in every other epoch, and nothing else changes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.augment import compose
from anmok.augment.config import AugmentConfig
from anmok.augment.files import load_policy, save_policy
from anmok.augment.host import augment_into
from anmok.augment.named import build_policy
from anmok.augment.params import Op
from anmok.augment.policy import Policy
from anmok.augment.steps import flip, translate
from anmok.core.errors import UsageError

IDS = [f"image-{i}" for i in range(400)]


def mirrored(policy: Policy, epoch: int, seed: int = 0) -> np.ndarray:
    return (policy.draw(IDS, epoch, seed).ops == Op.HFLIP).any(axis=1)


@given(st.integers(0, 50), st.integers(0, 2**63))
def test_the_next_epoch_has_every_image_the_other_way_round(epoch: int, seed: int) -> None:
    policy = compose(flip(alternating=True), translate(0.1))
    assert (mirrored(policy, epoch, seed) ^ mirrored(policy, epoch + 1, seed)).all()
    assert (mirrored(policy, epoch, seed) == mirrored(policy, epoch + 2, seed)).all()


def test_half_of_the_images_begin_mirrored_as_the_seed_draws_them() -> None:
    policy = compose(flip(alternating=True))
    shares = [mirrored(policy, 0, seed).mean() for seed in range(8)]
    assert abs(np.mean(shares) - 0.5) < 5 * math.sqrt(0.25 / (8 * len(IDS)))
    assert (mirrored(policy, 0, 0) != mirrored(policy, 0, 1)).any()


def test_what_else_is_drawn_stays_as_it_was() -> None:
    plain, alternating = compose(flip(), translate(0.1)), compose(flip(alternating=True), translate(0.1))
    for epoch in (0, 1):
        one, other = (policy.draw(IDS, epoch, 3) for policy in (plain, alternating))
        where = one.ops == Op.TRANSLATE
        assert (where == (other.ops == Op.TRANSLATE)).all()
        assert np.array_equal(one.values[where], other.values[where])


def test_pixels_are_mirrored_as_numpy_does() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    policy = compose(flip(alternating=True))
    seen = []
    for epoch in (0, 1):
        out = np.empty_like(image)
        augment_into(out, image, policy.draw(["one"], epoch, 0))
        seen.append(out)
    first = 0 if np.array_equal(seen[0], image) else 1
    assert np.array_equal(seen[first], image)
    assert np.array_equal(seen[1 - first], image[:, ::-1])


def test_a_setting_and_a_file_say_it(tmp_path: Path) -> None:
    policy = build_policy(AugmentConfig(policy="none", flip="alternating", translate=0.0625))
    assert isinstance(policy, Policy)
    assert [step.name for step in policy.steps] == ["crop", "flip", "translate"]
    path = save_policy(policy, tmp_path / "policy.toml")
    again = load_policy(path)
    assert isinstance(again, Policy)
    assert (mirrored(again, 0) ^ mirrored(again, 1)).all()
    assert (mirrored(again, 4) == mirrored(policy, 4)).all()


def test_another_probability_is_refused() -> None:
    with pytest.raises(UsageError, match=r"p must be 0\.5"):
        flip(0.3, alternating=True)
