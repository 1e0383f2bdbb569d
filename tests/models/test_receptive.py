"""The effective receptive field: known shapes of known networks, its radius by hand, and shuffled patches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from anmok.core.errors import DataError, UsageError
from anmok.models.encoder import Encoder
from anmok.models.networks import build_network
from anmok.models.receptive import Field, effective_receptive_field
from anmok.models.shuffle import shuffle_patches


def stack(depth: int, kernel: list[float], channels: int = 1) -> nn.Sequential:
    """Convolutions one after the other, all of whose filters are the outer product of a positive kernel."""
    layers = []
    for number in range(depth):
        layer = nn.Conv2d(1 if number == 0 else channels, channels, len(kernel), padding=len(kernel) // 2, bias=False)
        with torch.no_grad():
            layer.weight[:] = torch.outer(torch.tensor(kernel), torch.tensor(kernel))
        layers.append(layer)
    return nn.Sequential(*layers)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("depth", [1, 3, 5])
def test_weights_of_one_two_one_give_the_binomial(depth: int, channels: int) -> None:
    field = effective_receptive_field(stack(depth, [1.0, 2.0, 1.0], channels), torch.rand(3, 1, 21, 21))
    binomial = np.array([math.comb(2 * depth, k) for k in range(2 * depth + 1)]) / 4**depth
    expected = np.zeros((21, 21))
    extent = slice(10 - depth, 10 + depth + 1)
    expected[extent, extent] = np.outer(binomial, binomial)
    np.testing.assert_allclose(field.map, expected, atol=1e-7)
    assert field.map[0, 0] == 0  # outside of the theoretical extent: exactly nothing
    assert (field.grid, field.cell, field.images) == ((21, 21), (10, 10), 3)
    assert field.centre == pytest.approx((10, 10), abs=1e-6)
    inside = [(r, c) for r in range(21) for c in range(21) if math.hypot(r - 10, c - 10) <= field.radius(0.68)]
    assert sum(expected[place] for place in inside) >= 0.68 - 1e-6


def test_constant_weights_reach_as_far_as_theory_says() -> None:
    for depth in (1, 2, 4):
        field = effective_receptive_field(stack(depth, [1.0, 1.0, 1.0]), torch.rand(1, 1, 25, 25))
        assert field.radius(1.0) == pytest.approx(math.hypot(depth, depth))
        assert (field.map > 0).sum() == (2 * depth + 1) ** 2
    assert effective_receptive_field(stack(4, [1.0, 1.0, 1.0]), torch.rand(1, 1, 25, 25)).radius() < 4 * math.sqrt(2)


@pytest.mark.parametrize(
    ("share", "radius"), [(0.11, 0), (0.5, 1), (0.55, 1), (0.6, math.sqrt(2)), (1.0, math.sqrt(2))]
)
def test_the_radius_by_hand(share: float, radius: float) -> None:
    nine = np.zeros((11, 11))
    nine[4:7, 2:5] = 1 / 9
    field = Field(nine, (1, 1), (0, 0), 1)
    assert field.centre == pytest.approx((5, 3))
    assert field.radius(share) == pytest.approx(radius)
    assert field.reach(share) == pytest.approx(radius / 11)


@pytest.mark.parametrize(("share", "told"), [(0.68, 0.465), (0.95, 0.599)])
def test_an_even_influence_has_the_radii_that_are_told(share: float, told: float) -> None:
    field = Field(np.full((200, 200), 1 / 40_000), (1, 1), (0, 0), 1)
    r = field.reach(share)
    assert r == pytest.approx(told, abs=0.003)
    cut = r**2 * math.acos(0.5 / r) - 0.5 * math.sqrt(r**2 - 0.25) if r > 0.5 else 0.0  # of the disc, beyond a side
    assert math.pi * r**2 - 4 * cut == pytest.approx(share, abs=0.005)


def test_a_layer_normalisation_does_not_hide_it() -> None:
    """The plain sum of its channels is constant: a field of it would be noise."""

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 16, 5, padding=2), nn.LayerNorm(16)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.norm(self.conv(images).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    field = effective_receptive_field(Normed().double(), torch.rand(4, 1, 15, 15, dtype=torch.float64))
    inside = np.zeros((15, 15), bool)
    inside[5:10, 5:10] = True
    assert field.map[inside].min() > 0.005
    assert field.map[~inside].max() == 0


def test_a_transformer_sees_its_own_patch_and_all_others() -> None:
    network = build_network("test_vit", 3, 3, 160)
    encoder = Encoder(network, 3, 160).eval()
    images = torch.randn(3, 3, 160, 160)
    field = effective_receptive_field(encoder.grid, images, batch_size=2)
    again = effective_receptive_field(encoder.grid, images, batch_size=2)
    assert field.grid == (10, 10)
    assert field.cell == (5, 5)
    np.testing.assert_array_equal(field.map, again.map)  # the signs are drawn by a seed
    shares = field.map.reshape(10, 16, 10, 16).sum(axis=(1, 3))
    assert shares[5, 5] == shares.max()
    assert shares.min() > 0
    assert 80 <= field.centre[0] <= 96


def test_a_map_that_nothing_changes_is_an_error() -> None:
    with pytest.raises(DataError, match="nothing in the image changes") as caught:
        effective_receptive_field(lambda images: images * 0, torch.rand(1, 1, 4, 4))
    assert caught.value.code == "no-gradient"


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(4, 9), st.integers(4, 9), st.sampled_from([1, 3]))),
    st.integers(1, 4), st.integers(0, 2**31),
)  # fmt: skip
def test_shuffling_moves_whole_patches_and_nothing_else(images: np.ndarray, grid: int, seed: int) -> None:
    shuffled = shuffle_patches(images, grid, np.random.default_rng(seed))
    assert shuffled.shape == images.shape
    assert shuffled.dtype == np.uint8
    h, w = images.shape[1] // grid, images.shape[2] // grid
    for before, after in zip(images, shuffled, strict=True):
        pieces = [
            sorted(one[r * h : (r + 1) * h, c * w : (c + 1) * w].tobytes() for r in range(grid) for c in range(grid))
            for one in (before, after)
        ]
        assert pieces[0] == pieces[1]
        np.testing.assert_array_equal(after[grid * h :], before[grid * h :])
        np.testing.assert_array_equal(after[:, grid * w :], before[:, grid * w :])


def test_shuffling_is_drawn_for_each_image_evenly() -> None:
    image = np.arange(4, dtype=np.uint8).reshape(1, 2, 2, 1)
    many = shuffle_patches(np.repeat(image, 4800, axis=0), 2, np.random.default_rng(0)).reshape(-1, 4)
    orders, counts = np.unique(many, axis=0, return_counts=True)
    assert len(orders) == 24  # 4! orders, 200 times each
    assert abs(counts - 200).max() < 5 * math.sqrt(200)
    np.testing.assert_array_equal(image.ravel(), np.arange(4))  # what was given is as it was
    again = shuffle_patches(np.repeat(image, 4800, axis=0), 2, np.random.default_rng(0)).reshape(-1, 4)
    np.testing.assert_array_equal(many, again)


@pytest.mark.parametrize("grid", [0, 9, -1])
def test_a_grid_that_cannot_be_cut(grid: int) -> None:
    with pytest.raises(UsageError, match="cannot be cut from 8 × 8"):
        shuffle_patches(np.zeros((1, 8, 8, 3), np.uint8), grid, np.random.default_rng(0))
