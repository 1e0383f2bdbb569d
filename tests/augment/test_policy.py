"""Parameters as a pure function, their geometry against a hand calculation, their colour against torchvision."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from anmok.augment.config import AugmentConfig
from anmok.augment.draws import uniform
from anmok.augment.host import augment_into
from anmok.augment.mix import mix_batch
from anmok.augment.named import NAMED, build_policy
from anmok.augment.params import Op, crop_box
from anmok.augment.policy import Policy, ranges

IDS = [f"{i}.png" for i in range(500)]


def run(image: np.ndarray, policy: Policy, size: int, identity: str = "x", epoch: int = 0) -> np.ndarray:
    out = np.empty((size, size, image.shape[2]), np.uint8)
    augment_into(out, image, policy.draw([identity], epoch, 0), 0, (255,) * image.shape[2])
    return out


def photo(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    layers = [127 + 120 * np.sin(x / 9), 255 * y / height, 127 + 100 * np.cos((x + y) / 15)]
    return np.stack(layers, -1).astype(np.uint8)


def named(name: str, depth: int = 3) -> Policy:
    found = build_policy(AugmentConfig(policy=name), depth=depth)
    assert isinstance(found, Policy)
    return found


@pytest.mark.parametrize("name", ["strong", "randaugment:n=3", "autoaugment", "trivialaugment", "augmix"])
def test_draws_do_not_depend_on_the_company(name: str) -> None:
    policy = named(name)
    whole, some = policy.draw(IDS, 3, 7), policy.draw(IDS[100:90:-1], 3, 7)
    expected = whole.take(slice(100, 90, -1))
    for field in ("ops", "values", "keys"):
        np.testing.assert_array_equal(getattr(expected, field), getattr(some, field))
    if whole.chains is not None and some.chains is not None and expected.chains is not None:
        np.testing.assert_array_equal(expected.chains.values, some.chains.values)
        np.testing.assert_allclose(whole.chains.weights.sum(1), 1, atol=1e-5)
    again, other = policy.draw(IDS, 3, 7), policy.draw(IDS, 4, 7)
    np.testing.assert_array_equal(again.values, whole.values)
    assert (other.values != whole.values).any(axis=(1, 2)).all()
    assert (policy.draw(IDS, 3, 8).keys != whole.keys).all()
    assert (policy.draw(IDS, 3, 7, view=1).keys != whole.keys).all()


def test_randaugment_draws_each_of_its_operations_equally_often() -> None:
    ops = named("randaugment:n=2,m=9").draw([str(i) for i in range(7000)], 0, 0).ops[:, 2:]
    shear_x = (ops == Op.SHEAR_X).mean()
    counts = [(ops == code).mean() * 14 for code in np.unique(ops)]
    assert abs(shear_x * 14 - 1) < 0.1
    # TranslateX and -Y are one code; identity is none
    assert sorted(np.round(counts)) == [1] * 12 + [2]


def test_numbers_are_uniform_and_uncorrelated() -> None:
    u = uniform([str(i) for i in range(20_000)], 1, 2, 4)
    assert u.min() >= 0
    assert u.max() < 1
    np.testing.assert_allclose(u.mean(0), 0.5, atol=0.01)
    np.testing.assert_allclose(u.var(0), 1 / 12, atol=0.003)
    assert np.abs(np.corrcoef(u.T) - np.eye(4)).max() < 0.03


def test_neutral_parameters_are_the_identity() -> None:
    image = photo(32, 32)
    assert Policy().neutral
    np.testing.assert_array_equal(run(image, Policy(), 32), image)
    np.testing.assert_array_equal(run(image, ranges(scale=(1, 1), ratio=(1, 1)), 32), image)


def test_flips_are_exact() -> None:
    image = photo(32, 32)
    np.testing.assert_array_equal(run(image, ranges(hflip=1), 32), image[:, ::-1])
    np.testing.assert_array_equal(run(image, ranges(vflip=1), 32), image[::-1])


def test_crops_keep_their_area_and_aspect_and_stay_inside() -> None:
    policy = ranges(scale=(0.3, 0.6), ratio=(3 / 4, 4 / 3), relative=False)
    boxes = np.array([crop_box(program[0][1], 3000, 3000) for program in policy.draw(IDS, 0, 0).programs])
    left, top, width, height = boxes.T
    area, ratio = width * height / 9e6, width / height
    assert area.min() > 0.3 - 1e-3
    assert area.max() < 0.6 + 1e-3
    assert ratio.min() > 3 / 4 - 1e-3
    assert ratio.max() < 4 / 3 + 1e-3
    assert (boxes >= 0).all()
    assert (left + width).max() <= 3000
    assert (top + height).max() <= 3000
    assert np.ptp(left) > 500


def test_a_relative_ratio_turns_about_the_images_own_aspect() -> None:
    (program,) = ranges(scale=(0.25, 0.25), ratio=(1.0, 1.0)).draw(["a"], 0, 0).programs
    assert crop_box(program[0][1], 400, 100)[2:] == (200, 50)


@pytest.mark.parametrize("seed", range(6))
def test_colour_equals_torchvisions(seed: int) -> None:
    functional = pytest.importorskip("torchvision.transforms.functional")
    image = photo(48, 48)
    policy = ranges(brightness=0.4, contrast=0.4, saturation=0.4)
    factors = {op: numbers[0] for op, numbers in policy.draw([str(seed)], 0, 0).programs[0]}
    out = run(image, policy, 48, str(seed))
    expected = Image.fromarray(image)
    expected = functional.adjust_brightness(expected, factors[Op.BRIGHTNESS])
    expected = functional.adjust_contrast(expected, factors[Op.CONTRAST])
    expected = functional.adjust_saturation(expected, factors[Op.SATURATION])
    assert np.abs(out.astype(int) - np.asarray(expected)).mean() <= 1.0


@pytest.mark.parametrize("size", [32, 128, 224])
def test_a_shrinking_crop_equals_pillows_antialiased_resize(size: int) -> None:
    image = load_sample_image("china.jpg")
    height, width = image.shape[:2]
    drawn = ranges(scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3)).draw([f"{i}.jpg" for i in range(12)], epoch=0, seed=0)
    differences = []
    for index in range(len(drawn)):
        left, top, box_w, box_h = crop_box(drawn.programs[index][0][1], width, height)
        box = (left, top, left + box_w, top + box_h)
        expected = np.asarray(Image.fromarray(image).crop(box).resize((size, size), Image.Resampling.BILINEAR))
        out = np.empty((size, size, 3), np.uint8)
        augment_into(out, image, drawn, index)
        differences.append(np.abs(out.astype(int) - expected).mean())
    assert np.mean(differences) <= 1.0
    assert np.max(differences) <= 2.0


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    out = run(stripes, ranges(scale=(1, 1), ratio=(1, 1)), 32)
    assert np.abs(out[:, 1:-1].astype(int) - 127).max() <= 2
    expected = np.asarray(Image.fromarray(stripes).resize((32, 32), Image.Resampling.BILINEAR))
    assert np.abs(out.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("policy", NAMED)
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 2000, 3), (2000, 1, 1), (17, 33, 1)])
def test_odd_images_pass_every_policy(policy: str, shape: tuple[int, int, int]) -> None:
    image = np.full(shape, 77, np.uint8)
    for epoch in range(5):
        out = run(image, named(policy, shape[2]), 16, epoch=epoch)
        assert out.shape == (16, 16, shape[2])


def test_settings_win_over_the_named_policy() -> None:
    policy = build_policy(AugmentConfig(policy="light", rotate=0, hflip=0.25))
    settings = {step.name: step.settings for step in policy.steps}
    assert settings["flip"][0] == 0.25
    assert "rotate" not in settings
    assert settings["crop"][1] == NAMED["light"]["scale"]


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
