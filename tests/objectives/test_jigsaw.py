"""Permutation sets against brute force and bounds by hand; tiles against plain slices; the loss against a loop."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_objectives import MEAN, STD, batch_of, encoder_of, photos, steps
from torch import nn

from anmok.core.errors import UsageError
from anmok.models.encoder import Encoder
from anmok.objectives.jigsaw import Jigsaw, cut_tiles, laid, least_side, normalized_tiles, shuffled
from anmok.objectives.permutations import permutation_set, smallest_distance


def farthest(tiles: int, count: int) -> int:
    """The largest smallest Hamming distance of `count` permutations, by trying every distance on a graph of pairs."""
    everything = list(itertools.permutations(range(tiles)))

    def reachable(least: int, chosen: list[tuple[int, ...]], rest: list[tuple[int, ...]]) -> bool:
        if len(chosen) == count:
            return True
        for k, p in enumerate(rest):
            near = [q for q in rest[k + 1 :] if sum(a != b for a, b in zip(p, q, strict=True)) >= least]
            if reachable(least, [*chosen, p], near):
                return True
        return False

    start = everything[0]  # distances do not change when all permutations are relabelled
    return max(
        d for d in range(1, tiles + 1)
        if reachable(d, [start], [q for q in everything[1:] if sum(a != b for a, b in zip(start, q, strict=True)) >= d])
    )  # fmt: skip


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 12, 13, 24])
def test_of_four_tiles_no_set_is_better(count: int) -> None:
    assert smallest_distance(permutation_set(4, count)) == farthest(4, count)


def test_of_nine_tiles_the_first_nine_differ_everywhere_and_more_cannot() -> None:
    found = permutation_set(9, 100)
    assert smallest_distance(found[:9]) == 9  # a Latin square
    # In one place there are nine values, so of ten permutations two agree somewhere; and at most 9!/7! = 72 of them
    # can differ in eight places or more, as two that agree in two places are one of 9!/7! cases apart.
    assert smallest_distance(found[:10]) == 8
    assert 6 <= smallest_distance(found) <= 7
    assert len({tuple(p) for p in found}) == 100
    assert (np.sort(found, axis=1) == np.arange(9)).all()


def test_the_paper_takes_the_farthest_on_average() -> None:
    """Our set is no worse than the paper's own greedy choice (largest summed distance), on four tiles."""
    everything = np.array(list(itertools.permutations(range(4))))
    chosen = [0]
    for _ in range(5):
        apart = sum((everything != everything[c]).sum(1) for c in chosen).astype(float)
        apart[chosen] = -1
        chosen.append(int(apart.argmax()))
    assert smallest_distance(permutation_set(4, 6)) >= smallest_distance(everything[chosen])


@settings(max_examples=20, deadline=None)
@given(grid=st.integers(2, 3), side=st.integers(18, 70), seed=st.integers(0, 1000))
def test_tiles_are_squares_of_their_cells(grid: int, side: int, seed: int) -> None:
    torch.manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    image = torch.stack([rows, columns, rows * 0], dim=2)[None].to(torch.uint8)  # every pixel says where it lies
    cell = side // grid
    cut = max(2, round(cell * 0.85))
    tiles = cut_tiles(image, grid, cut)
    assert tiles.shape == (1, grid * grid, cut, cut, 3)
    for k in range(grid * grid):
        top, left = (int(tiles[0, k, 0, 0, axis]) for axis in (0, 1))
        assert k // grid * cell <= top <= k // grid * cell + cell - cut
        assert k % grid * cell <= left <= k % grid * cell + cell - cut
        assert torch.equal(tiles[0, k], image[0, top : top + cut, left : left + cut])


def test_tiles_are_normalised_each_by_itself(data_dir: Path) -> None:
    tiles = cut_tiles(photos(data_dir, 2, 64), 2, 28).flatten(0, 1)
    mine = normalized_tiles(tiles, 28)
    plain = tiles.numpy().astype(float)
    expected = (plain - plain.mean((1, 2), keepdims=True)) / plain.std((1, 2), keepdims=True)
    assert np.abs(mine.permute(0, 2, 3, 1).numpy() - expected).max() < 1e-4
    brighter = (tiles.float() * 0.5 + 40).to(torch.uint8)  # light and a colour cast tell nothing
    assert (normalized_tiles(brighter, 28) - mine).abs().mean() < 0.03
    assert normalized_tiles(torch.full((1, 8, 8, 3), 7, dtype=torch.uint8), 16).abs().max() == 0


def test_the_loss_is_of_the_order_that_was_laid(data_dir: Path) -> None:
    torch.manual_seed(0)
    learner = Jigsaw(encoder_of(), MEAN, STD, 32).eval()
    images = photos(data_dir, 3)
    torch.manual_seed(5)
    out = learner(batch_of(images))
    torch.manual_seed(5)
    tiles = cut_tiles(images, 2, learner.cut)
    orders = torch.randint(24, (3,))
    total = 0.0
    for each, order in zip(tiles, orders.tolist(), strict=True):
        vectors = [
            learner.encoder(normalized_tiles(each[k][None], learner.tile_side))[0]
            for k in permutation_set(4, 24)[order]
        ]
        logits = learner.head(torch.cat(vectors)[None])[0].detach()
        total -= float(logits[order] - logits.logsumexp(0))
    assert out.loss.item() == pytest.approx(total / 3, rel=1e-4)


def test_a_solved_puzzle_is_the_image(data_dir: Path) -> None:
    tiles = cut_tiles(photos(data_dir, 2, 36), 3, 12)  # without gaps
    orders = torch.from_numpy(permutation_set(9, 20)[[7, 13]].astype(np.int64))
    back = shuffled(shuffled(tiles, orders), orders.argsort(1))
    assert torch.equal(back, tiles)
    assert laid(back, 3).shape == (2, 38, 38, 3)


def test_it_learns_six_photos(data_dir: Path) -> None:
    torch.manual_seed(0)
    learner = Jigsaw(encoder_of(), MEAN, STD, 32, permutations=4)
    images = photos(data_dir, 6).repeat(4, 1, 1, 1)
    first, last = steps(learner, batch_of(images), 80, lr=1e-2)
    assert first > 0.8 * math.log(4)
    assert last < 0.7 * first


def test_the_same_draws_give_the_same_loss(data_dir: Path) -> None:
    learner = Jigsaw(encoder_of(), MEAN, STD, 32).eval()
    batch = batch_of(photos(data_dir, 4))
    state = torch.get_rng_state()
    one = learner(batch).loss
    torch.set_rng_state(state)
    assert torch.equal(one, learner(batch).loss)


def test_tiles_are_enlarged_as_far_as_the_network_needs() -> None:
    assert least_side(encoder_of(), 13, 32, 3) == 16
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 900, 16), nn.Linear(16, 10))
    fixed = Encoder(network, 10, 32)
    assert least_side(fixed, 13, 32, 3) == 32  # its head has as many inputs as 32 pixels give
    assert Jigsaw(encoder_of("resnet10t", 96), MEAN, STD, 96).grid == 3


def test_pictures_show_the_answer(data_dir: Path) -> None:
    rows = Jigsaw(encoder_of(), MEAN, STD, 32).eval().show(batch_of(photos(data_dir, 2)))
    assert len(rows) == 2
    assert "of 4 right" in rows[0][2].caption


def test_what_cannot_be_cut_or_told_apart_is_refused() -> None:
    with pytest.raises(UsageError, match="24 orders of 4 tiles"):
        permutation_set(4, 25)
    with pytest.raises(UsageError, match="too small"):
        Jigsaw(encoder_of(), MEAN, STD, 5, grid=3)
