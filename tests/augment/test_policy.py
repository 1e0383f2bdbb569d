"""Parameters as a pure function, their geometry against a hand calculation, their colour against torchvision."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from anmok.augment.config import AugmentConfig
from anmok.augment.host import augment_into
from anmok.augment.mix import mix_batch
from anmok.augment.policy import NAMED, Policy, build_policy, uniform

IDS = [f"{i}.png" for i in range(500)]


def run(image: np.ndarray, policy: Policy, size: int, identity: str = "x", epoch: int = 0) -> np.ndarray:
    out = np.empty((size, size, image.shape[2]), np.uint8)
    augment_into(out, image, policy.draw([identity], epoch, 0), (255,) * image.shape[2])
    return out


def photo(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    layers = [127 + 120 * np.sin(x / 9), 255 * y / height, 127 + 100 * np.cos((x + y) / 15)]
    return np.stack(layers, -1).astype(np.uint8)


def test_draws_do_not_depend_on_the_company() -> None:
    policy = NAMED["strong"]
    whole = policy.draw(IDS, 3, 7)
    some = policy.draw(IDS[100:90:-1], 3, 7)
    for name in vars(whole):
        np.testing.assert_array_equal(getattr(whole, name)[100:90:-1], getattr(some, name))
    assert (policy.draw(IDS, 4, 7).angle != whole.angle).all()
    assert (policy.draw(IDS, 3, 8).angle != whole.angle).all()


def test_numbers_are_uniform_and_uncorrelated() -> None:
    u = uniform([str(i) for i in range(20_000)], 1, 2, 4)
    assert u.min() >= 0
    assert u.max() < 1
    np.testing.assert_allclose(u.mean(0), 0.5, atol=0.01)
    np.testing.assert_allclose(u.var(0), 1 / 12, atol=0.003)
    assert np.abs(np.corrcoef(u.T) - np.eye(4)).max() < 0.03


def test_neutral_parameters_are_the_identity() -> None:
    image = photo(32, 32)
    matrix = Policy().draw(["a"], 0, 0).matrices(np.array([[32, 32]]), 32)[0]
    np.testing.assert_allclose(matrix, [[1, 0, 0], [0, 1, 0]], atol=1e-12)
    np.testing.assert_array_equal(run(image, Policy(), 32), image)


def test_flips_are_exact() -> None:
    image = photo(32, 32)
    np.testing.assert_array_equal(run(image, Policy(hflip=1), 32), image[:, ::-1])
    np.testing.assert_array_equal(run(image, Policy(vflip=1), 32), image[::-1])


def test_crops_keep_their_area_and_aspect_and_stay_inside() -> None:
    policy = Policy(scale=(0.3, 0.6), ratio=(3 / 4, 4 / 3), relative=False)
    matrices = policy.draw(IDS, 0, 0).matrices(np.tile([300, 300], (500, 1)), 100)
    width, height = matrices[:, 0, 0] * 100, matrices[:, 1, 1] * 100
    assert (width * height / 90_000 > 0.3 - 1e-9).all()
    assert (width * height / 90_000 < 0.6 + 1e-9).all()
    assert (width / height > 3 / 4 - 1e-9).all()
    assert (width / height < 4 / 3 + 1e-9).all()
    corners = matrices @ np.array([[-0.5, 99.5], [-0.5, 99.5], [1, 1]])
    assert corners.min() >= -0.5 - 1e-6
    assert corners.max() <= 299.5 + 1e-6


def test_a_relative_ratio_turns_about_the_images_own_aspect() -> None:
    policy = Policy(scale=(0.25, 0.25), ratio=(1.0, 1.0))
    matrix = policy.draw(["a"], 0, 0).matrices(np.array([[100, 400]]), 50)[0]
    np.testing.assert_allclose([matrix[0, 0] * 50, matrix[1, 1] * 50], [200, 50])


@pytest.mark.parametrize("seed", range(6))
def test_colour_equals_torchvisions(seed: int) -> None:
    functional = pytest.importorskip("torchvision.transforms.functional")
    image = photo(48, 48)
    policy = Policy(brightness=0.4, contrast=0.4, saturation=0.4)
    drawn = policy.draw([str(seed)], 0, 0)
    out = run(image, policy, 48, str(seed))
    expected = Image.fromarray(image)
    expected = functional.adjust_brightness(expected, float(drawn.brightness[0]))
    expected = functional.adjust_contrast(expected, float(drawn.contrast[0]))
    expected = functional.adjust_saturation(expected, float(drawn.saturation[0]))
    assert np.abs(out.astype(int) - np.asarray(expected)).mean() <= 1.0


@pytest.mark.parametrize("size", [32, 128, 224])
def test_a_shrinking_crop_equals_pillows_antialiased_resize(size: int) -> None:
    image = load_sample_image("china.jpg")
    height, width = image.shape[:2]
    drawn = Policy(scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3)).draw([f"{i}.jpg" for i in range(12)], epoch=0, seed=0)
    differences = []
    for index in range(len(drawn)):
        (sx, _, left), (_, sy, top) = drawn.matrix(index, height, width, size)
        left, top = left + 0.5 - sx / 2, top + 0.5 - sy / 2
        box = (max(0, left), max(0, top), min(width, left + size * sx), min(height, top + size * sy))
        expected = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box=box))
        out = np.empty((size, size, 3), np.uint8)
        augment_into(out, image, drawn, (0, 0, 0), index)
        differences.append(np.abs(out.astype(int) - expected).mean())
    assert np.mean(differences) <= 1.0
    assert np.max(differences) <= 2.0


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    out = run(stripes, Policy(), 32)
    assert np.abs(out.astype(int) - 127).max() <= 2


@pytest.mark.parametrize("policy", NAMED)
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 2000, 3), (2000, 1, 1), (17, 33, 1)])
def test_odd_images_pass_every_policy(policy: str, shape: tuple[int, int, int]) -> None:
    image = np.full(shape, 77, np.uint8)
    for epoch in range(5):
        out = run(image, NAMED[policy], 16, epoch=epoch)
        assert out.shape == (16, 16, shape[2])


def test_settings_win_over_the_named_policy() -> None:
    policy = build_policy(AugmentConfig(policy="light", rotate=0, hflip=0.25))
    assert (policy.rotate, policy.hflip, policy.scale) == (0, 0.25, NAMED["light"].scale)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixing_weighs_pixels_and_targets_alike(kind: str) -> None:
    policy = Policy(**{kind: 1.0})  # type: ignore[arg-type]
    images = np.stack([np.full((32, 32, 3), 50 * i, np.uint8) for i in range(4)])
    targets = np.eye(4, dtype=np.float32)
    mixed = images.copy()
    soft = mix_batch(mixed, targets, policy, (0, 1, 2))
    np.testing.assert_allclose(mixed.mean((1, 2, 3)), soft @ [0, 50, 100, 150], atol=0.6)
    again = images.copy()
    np.testing.assert_array_equal(mix_batch(again, targets, policy, (0, 1, 2)), soft)
    np.testing.assert_array_equal(again, mixed)
    alone = images[:1].copy()
    np.testing.assert_array_equal(mix_batch(alone, targets[:1], policy, (0, 1, 2)), targets[:1])
