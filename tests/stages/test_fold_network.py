from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from anmok.stages import fold_network
from anmok.stages.fold_network import BATCH, EPOCHS, STEPS, course_for, moments, network_probabilities, shifted

CLASSES = [f"digit-{i}" for i in range(4)]


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first 160 digits 0 to 3 as uint8[N, 32, 32, 3], their labels, and three folds."""
    data = load_digits(n_class=4)
    pixels = np.rint(data.images[:160] * (255 / 16)).astype(np.uint8).repeat(4, 1).repeat(4, 2)
    return np.repeat(pixels[..., None], 3, axis=3), data.target[:160].astype(np.int64), np.arange(160) % 3


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_network, "STEPS", 40)


@given(st.integers(1, 3_000_000))
def test_a_course_is_near_the_steps_whatever_the_number_of_images(images: int) -> None:
    course = course_for(images)
    assert 1 <= course.batch <= min(images, BATCH[1])
    assert course.per_epoch * course.batch <= images < (course.per_epoch + 1) * course.batch
    assert EPOCHS[0] <= course.epochs <= EPOCHS[1]


def test_courses_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_network, "STEPS", STEPS)
    assert course_for(8000) == (128, 62, 8)
    assert course_for(2000) == (128, 15, 33)
    assert course_for(160) == (20, 8, 40)
    assert course_for(10) == (10, 1, 40)
    assert course_for(1_000_000).epochs == 2
    assert course_for(8000).steps == 496


def test_shifted_images_are_windows_of_the_reflected_image_or_of_its_mirror_image() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    out = shifted(images, np.random.default_rng(1))
    seen = set()
    for image, got in zip(images, out, strict=True):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")
        matches = [
            (y, x, mirror) for y in range(5) for x in range(5) for mirror in (1, -1)
            if (padded[y : y + 16, x : x + 16][:, ::mirror] == got).all()
        ]  # fmt: skip
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) > 20
    assert {m for *_, m in seen} == {1, -1}
    np.testing.assert_array_equal(shifted(images, np.random.default_rng(1)), out)


def test_moments_are_those_of_all_pixels_and_never_zero(digits: tuple) -> None:
    mean, std = moments(digits[0])
    np.testing.assert_allclose(mean, [digits[0].mean() / 255] * 3, rtol=1e-6)
    np.testing.assert_allclose(std, [digits[0].std() / 255] * 3, rtol=1e-6)
    assert min(moments(np.zeros((3, 32, 32, 3), np.uint8))[1]) > 0


def test_probabilities_are_out_of_fold_and_the_same_on_any_number_of_threads(digits: tuple) -> None:
    pixels, targets, fold = digits
    fold = fold.copy()
    fold[:4] = -1
    before, state = torch.get_num_threads(), torch.random.get_rng_state()
    probs = network_probabilities(pixels, targets, fold, CLASSES, "multiclass", 3, threads=2, device="cpu")
    assert torch.get_num_threads() == before
    torch.testing.assert_close(torch.random.get_rng_state(), state)
    assert np.isnan(probs[:4]).all()
    np.testing.assert_allclose(probs[4:].sum(axis=1), 1, atol=1e-5)
    assert (probs[4:].argmax(axis=1) == targets[4:]).mean() > 0.7
    lied = targets.copy()
    lied[5] = (lied[5] + 1) % 4
    again = network_probabilities(pixels, lied, fold, CLASSES, "multiclass", 3, threads=1, device="cpu")
    np.testing.assert_array_equal(again[fold == fold[5]], probs[fold == fold[5]])  # its own fold never saw its label
    assert (again[fold == (fold[5] + 1) % 3] != probs[fold == (fold[5] + 1) % 3]).any()


def test_the_seed_matters(digits: tuple) -> None:
    pixels, targets, fold = digits
    one, two = (
        network_probabilities(pixels[:40], targets[:40], fold[:40] % 2, CLASSES, "multiclass", 2, seed=s)
        for s in (0, 1)
    )
    assert (one != two).any()


def test_binary_has_two_columns(digits: tuple) -> None:
    pixels, targets, fold = digits
    answer = (targets > 1).astype(np.int64)
    probs = network_probabilities(pixels, answer, fold, ["low", "high"], "binary", 3, device="cpu")
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    assert (probs.argmax(axis=1) == answer).mean() > 0.8


def test_multilabel_has_a_probability_a_label(digits: tuple) -> None:
    pixels, targets, fold = digits
    answers = np.column_stack([targets < 2, targets % 2 == 0]).astype(np.float32)
    probs = network_probabilities(pixels, answers, fold, ["low", "even"], "multilabel", 3, device="cpu")
    assert ((probs > 0.5) == (answers > 0.5)).mean() > 0.8


def test_64_pixels_and_a_class_that_no_fold_has_seen(digits: tuple) -> None:
    pixels, targets, fold = digits
    large = pixels[:60].repeat(2, 1).repeat(2, 2)
    probs = network_probabilities(large, targets[:60], fold[:60], [*CLASSES, "unseen"], "multiclass", 3, device="cpu")
    assert probs.shape == (60, 5)
    assert probs[:, 4].max() < 0.5
