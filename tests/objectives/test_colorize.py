"""L*a*b* against scikit-image, bins against all 8-bit colours, weights and soft encoding against plain loops."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_objectives import MEAN, STD, batch_of, encoder_of, photos, steps

from anmok.augment import cie
from anmok.core.errors import UsageError
from anmok.objectives.colorize import Colorize, annealed_mean, color_bins, color_counts, rebalanced, soft_bins
from anmok.objectives.lab import lab_to_rgb, rgb_to_lab

BINS = torch.tensor(color_bins(), dtype=torch.float32)


def test_lab_is_scikit_images_and_augments(data_dir: Path) -> None:
    from skimage.color import rgb2lab

    rgb = photos(data_dir, 2).numpy() / 255
    mine = rgb_to_lab(torch.from_numpy(rgb)).numpy()
    assert np.abs(mine - rgb2lab(rgb)).max() < 0.05  # its white is another in the fourth digit
    assert np.abs(mine - cie.rgb_to_lab(rgb)).max() < 1e-9
    assert np.abs(rgb_to_lab(torch.from_numpy(rgb).float()).numpy() - mine).max() < 1e-2


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_lab_and_back_is_the_same_pixel(color: tuple[int, int, int]) -> None:
    rgb = torch.tensor(color, dtype=torch.float64) / 255
    assert (lab_to_rgb(rgb_to_lab(rgb)) - rgb).abs().max() < 1e-9
    single = lab_to_rgb(rgb_to_lab(rgb.float())) * 255
    assert single.round().int().tolist() == list(color)


def test_bins_are_those_that_8_bit_colours_fall_into() -> None:
    levels = np.arange(0, 256, 5)  # a coarser cube: its bins must all be ours, and nearly all of ours its
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3) / 255
    found = {tuple(b) for b in np.floor(cie.rgb_to_lab(cube)[:, 1:] / 10 + 0.5).astype(int) * 10}
    mine = {tuple(b) for b in color_bins()}
    assert found <= mine
    assert len(mine - found) <= 8
    assert len(mine) == 261  # the paper's list has 313: it holds bins that no sRGB colour falls into
    assert (0, 0) in mine


def test_soft_encoding_by_hand() -> None:
    near, shares = soft_bins(torch.tensor([[3.0, 0.0]]), BINS)
    apart = np.sqrt(((color_bins() - [3, 0]) ** 2).sum(1))
    five = np.argsort(apart, kind="stable")[:5]
    weights = np.exp(-(apart[five] ** 2) / 50)
    assert apart[near[0].numpy()].tolist() == pytest.approx(apart[five].tolist())
    assert shares[0].tolist() == pytest.approx((weights / weights.sum()).tolist(), rel=1e-5)
    assert BINS[near[0, 0]].tolist() == [0, 0]


def test_weights_have_mean_one_and_lift_what_is_rare() -> None:
    counts = torch.zeros(len(BINS))
    grey = int((BINS == 0).all(1).nonzero())
    counts[grey], counts[5] = 990, 10
    weights = rebalanced(counts, BINS)
    smooth = np.zeros(len(BINS))
    for i in range(len(BINS)):
        kernel = np.exp(-((color_bins() - color_bins()[i]) ** 2).sum(1) / 50)
        smooth += kernel / kernel.sum() * float(counts[i])
    p = smooth / smooth.sum()
    expected = 1 / (0.5 * p + 0.5 / len(BINS))
    assert weights.numpy() == pytest.approx(expected / (p * expected).sum(), rel=1e-4)
    assert weights[5] > 5 * weights[grey]
    assert rebalanced(torch.ones(len(BINS)), BINS).std() < 0.3  # nearly alike where all colours are


def test_counts_are_of_the_training_images() -> None:
    red = torch.zeros(2, 8, 8, 3, dtype=torch.uint8)
    red[..., 0] = 255
    lab = cie.rgb_to_lab(np.array([1.0, 0, 0]))[1:]
    counts = color_counts(red)
    assert counts.sum() == 2 * 2 * 2
    assert np.abs(color_bins()[int(counts.argmax())] - lab).max() <= 5
    assert counts.max() == counts.sum()


def test_the_loss_is_the_papers_place_by_place(data_dir: Path) -> None:
    torch.manual_seed(0)
    images = photos(data_dir, 2)
    learner = Colorize(encoder_of(), MEAN, STD, 32, color_counts(images)).eval()
    lab = cie.rgb_to_lab(images.numpy() / 255)
    small = lab[..., 1:].reshape(2, 8, 4, 8, 4, 2).mean((2, 4))
    log_probs = learner.predict(torch.from_numpy(lab[..., 0]).float()).log_softmax(-1).detach().numpy()
    total = 0.0
    for b, i, j in np.ndindex(2, 8, 8):
        apart = np.sqrt(((color_bins() - small[b, i, j]) ** 2).sum(1))
        five = np.argsort(apart)[:5]
        z = np.exp(-(apart[five] ** 2) / 50)
        total += float(learner.weights[five[0]]) * -(z / z.sum() * log_probs[b, i, j, five]).sum()
    assert learner(batch_of(images)).loss.item() == pytest.approx(total / 128, rel=1e-3)


def test_the_encoder_sees_no_colour(data_dir: Path) -> None:
    learner = Colorize(encoder_of(), MEAN, STD, 32).eval()
    images = photos(data_dir, 1)
    lab = rgb_to_lab(images.double() / 255)
    grey = (lab_to_rgb(torch.cat([lab[..., :1], 0 * lab[..., 1:]], -1)) * 255).float()
    one = learner.predict(rgb_to_lab(images.float() / 255)[..., 0])
    other = learner.predict(rgb_to_lab(grey / 255)[..., 0])
    assert (one - other).abs().max() < 1e-2


def test_annealing_goes_from_the_mean_to_the_mode() -> None:
    logits = torch.full((len(BINS),), -20.0)
    logits[3], logits[200] = 1.0, 0.5
    p = math.exp(1.0) / (math.exp(1.0) + math.exp(0.5))
    mean = p * BINS[3] + (1 - p) * BINS[200]
    assert annealed_mean(logits, BINS, 1.0).tolist() == pytest.approx(mean.tolist(), abs=0.1)
    assert annealed_mean(logits, BINS, 0.01).tolist() == pytest.approx(BINS[3].tolist(), abs=0.1)


def test_it_learns_six_photos(data_dir: Path) -> None:
    torch.manual_seed(0)
    images = photos(data_dir, 6)
    learner = Colorize(encoder_of(), MEAN, STD, 32, color_counts(images))
    first, last = steps(learner, batch_of(images), 120, lr=1e-2)
    assert last < 0.6 * first
    painted = learner.eval().paint(images).detach()
    true = rgb_to_lab(images.float() / 255)
    wrong = (rgb_to_lab(painted / 255) - true)[..., 1:].norm(dim=-1).mean()
    assert wrong < 0.7 * true[..., 1:].norm(dim=-1).mean()  # nearer to the truth than grey is
    assert painted.shape == (6, 32, 32, 3)
    assert (rgb_to_lab(painted / 255) - rgb_to_lab(images.float() / 255))[..., 0].abs().mean() < 3  # light is kept


def test_grey_images_are_refused() -> None:
    with pytest.raises(UsageError, match="colours"):
        Colorize(encoder_of(channels=1), (0.5,), (0.2,), 32)
