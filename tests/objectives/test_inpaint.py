"""Masks of whole cells in the share asked for; the loss on hidden pixels alone, against numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_objectives import MEAN, STD, batch_of, encoder_of, photos, steps

from anmok.core.errors import UsageError
from anmok.objectives.decoder import Decoder
from anmok.objectives.inpaint import Inpaint, masked_l2, random_cells


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0.01, 0.99), factor=st.integers(1, 6), seed=st.integers(0, 100))
def test_masks_are_whole_cells_of_the_share(share: float, factor: int, seed: int) -> None:
    torch.manual_seed(seed)
    hidden = random_cells(3, 8, share, 8 * factor, torch.device("cpu"))
    cells = hidden[:, 0].reshape(3, 8, factor, 8, factor).float().mean((2, 4))
    assert set(cells.unique().tolist()) <= {0.0, 1.0}
    assert cells.sum((1, 2)).tolist() == [min(63, max(1, round(share * 64)))] * 3


def test_masks_differ_and_are_even() -> None:
    torch.manual_seed(0)
    hidden = random_cells(400, 8, 0.25, 8, torch.device("cpu")).float()
    assert (hidden.mean(0) - 0.25).abs().max() < 0.1
    assert (hidden[0] != hidden[1]).any()


def test_a_side_that_cells_do_not_divide_is_covered() -> None:
    torch.manual_seed(0)
    assert random_cells(1, 8, 0.5, 30, torch.device("cpu")).shape == (1, 1, 30, 30)


def test_only_hidden_pixels_count() -> None:
    rng = np.random.default_rng(0)
    images, painted = (rng.normal(size=(2, 3, 8, 8)) for _ in range(2))
    hidden = rng.random((2, 1, 8, 8)) < 0.3
    each = [((images[i] - painted[i]) ** 2)[:, hidden[i, 0]].mean() for i in range(2)]
    mine = masked_l2(*(torch.from_numpy(x) for x in (painted, images, hidden)))
    assert mine.item() == pytest.approx(np.mean(each), rel=1e-5)
    elsewhere = np.where(hidden, painted, 99.0)
    assert masked_l2(*(torch.from_numpy(x) for x in (elsewhere, images, hidden))).item() == pytest.approx(mine.item())


def test_the_encoder_does_not_see_what_is_hidden(data_dir: Path) -> None:
    learner = Inpaint(encoder_of(), MEAN, STD, 32).eval()
    images = learner.normalize(photos(data_dir, 2))
    torch.manual_seed(0)
    hidden = random_cells(2, 8, 0.5, 32, torch.device("cpu"))
    other = torch.where(hidden, torch.randn_like(images), images)
    assert torch.equal(learner.paint(images, hidden), learner.paint(other, hidden))


def test_it_learns_six_photos(data_dir: Path) -> None:
    torch.manual_seed(0)
    learner = Inpaint(encoder_of(), MEAN, STD, 32, 0.25)
    first, last = steps(learner, batch_of(photos(data_dir, 6)), 60)
    assert last < 0.6 * first
    row = learner.eval().show(batch_of(photos(data_dir, 2)))[0]
    assert [s.caption.split(",")[0] for s in row] == ["image", "seen", "painted"]
    kept = (row[1].image == row[2].image).all(2)
    assert 0.6 < kept.mean() < 0.9  # three quarters are the image's own


@pytest.mark.parametrize(("rows", "side"), [(1, 32), (4, 32), (5, 30), (8, 8), (16, 8)])
def test_the_decoder_reaches_the_side(rows: int, side: int) -> None:
    assert Decoder(7, 3, rows, side, width=8)(torch.zeros(2, 7, rows, rows)).shape == (2, 3, side, side)


def test_a_share_of_nothing_or_all_is_refused() -> None:
    with pytest.raises(UsageError, match="masked"):
        Inpaint(encoder_of(), MEAN, STD, 32, 1.0)
