"""InfoBatch: what an epoch leaves out, and that the expected loss is that of all images, exactly."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anmok.augment.preprocess import Preprocess
from anmok.data import Loader, open_table
from anmok.data.skip import Skipping, drawn_weights

LOSSES = arrays(np.float32, st.integers(1, 40), elements=st.floats(0, 100, width=32))


@given(LOSSES, st.floats(0.01, 0.99), st.integers(0, 2**63), st.integers(0, 500))
def test_weights_sum_to_the_images_and_only_easy_ones_are_left_out(
    losses: np.ndarray, share: float, seed: int, epoch: int
) -> None:
    weights = drawn_weights(losses, share, seed, epoch)
    low = losses < losses.mean(dtype=np.float64)
    assert (weights[~low] == 1).all()
    assert weights.sum() == pytest.approx(len(losses), rel=1e-5)
    assert int((weights == 0).sum()) == max(0, min(round(share * low.sum()), low.sum() - 1))
    np.testing.assert_array_equal(weights, drawn_weights(losses, share, seed, epoch))


def test_the_expected_loss_is_the_full_mean_by_enumeration() -> None:
    """All ways of leaving 2 of 5 out, each as likely: the mean of the weighted means is the mean."""
    losses = np.array([0.1, 0.2, 0.4, 0.5, 0.7, 3.0, 4.0], np.float32)
    weights = drawn_weights(losses, 0.4, 0, 0)
    low = np.flatnonzero(losses < losses.mean())
    assert len(low) == 5
    assert sorted(weights[low].tolist()) == pytest.approx([0, 0, 5 / 3, 5 / 3, 5 / 3])
    total = 0.0
    for out in itertools.combinations(low, 2):
        own = np.ones(7)
        own[low] = weights[low].max()
        own[list(out)] = 0
        total += (own * losses).mean()
    assert total / math.comb(5, 2) == pytest.approx(losses.mean(), rel=1e-6)
    seen = {tuple(np.flatnonzero(drawn_weights(losses, 0.4, 0, epoch) == 0)) for epoch in range(300)}
    assert seen == {tuple(c) for c in itertools.combinations(low, 2)}  # and all of them come up


def test_the_mean_over_draws_is_the_full_mean_within_noise() -> None:
    losses = np.random.default_rng(1).exponential(1.0, 500).astype(np.float32)
    means = np.array([(drawn_weights(losses, 0.5, 7, epoch) * losses).mean() for epoch in range(2000)])
    error = means.std(ddof=1) / math.sqrt(len(means))
    assert means.std() > 0
    assert abs(means.mean() - losses.mean()) < 4 * error
    unscaled = np.mean([losses[drawn_weights(losses, 0.5, 7, e) > 0].mean() for e in range(50)])
    assert abs(unscaled - losses.mean()) > 20 * error  # which without the weights it is not


def test_rows_that_were_never_met_are_kept() -> None:
    losses = np.array([np.nan, 0.1, 0.2, 9.0, np.nan], np.float32)
    for epoch in range(20):
        weights = drawn_weights(losses, 0.5, 0, epoch)
        assert weights[[0, 3, 4]].tolist() == [1, 1, 1]
        assert sorted(weights[1:3].tolist()) == [0, 2]
    assert drawn_weights(np.full(3, np.nan, np.float32), 0.5, 0, 0).tolist() == [1, 1, 1]


def test_losses_are_remembered_by_id_and_taken_up_again() -> None:
    skipping = Skipping(["a", "b", "c", "d"], 0.5, seed=0)
    assert skipping.picked is None
    skipping.note(["d", "a"], torch.tensor([4.0, 1.0]))
    skipping.note(["b", "c"], torch.tensor([2.0, 9.0], dtype=torch.bfloat16))
    skipping.begin(1, everything=False)
    assert skipping.losses.tolist() == [1, 2, 9, 4]
    picked = skipping.picked  # the mean is 4: of a and b one is left out
    assert picked is not None
    assert picked[2:].all()
    assert picked[:2].sum() == 1
    assert skipping.of(["c", "a", "b"]).tolist() == [1, *(2.0 * picked[:2])]
    again = Skipping(["a", "b", "c", "d"], 0.5, seed=0)
    again.restore(skipping.state())
    skipping.note(["a"], torch.tensor([0.5]))
    again.note(["a"], torch.tensor([0.5]))
    for one in (skipping, again):
        one.begin(2, everything=False)
    np.testing.assert_array_equal(skipping.weights, again.weights)
    skipping.begin(3, everything=True)
    assert skipping.picked is None


def test_what_the_other_processes_met_is_remembered_too() -> None:
    theirs = [(np.array([1, 3]), np.array([7.0, 8.0], np.float32))]
    skipping = Skipping(["a", "b", "c", "d"], 0.5, seed=0, gather=lambda own: [own, theirs])
    skipping.note(["c", "a"], torch.tensor([5.0, 6.0]))
    assert skipping.state()["losses"].tolist() == [6, 7, 5, 8]


def test_a_loader_leaves_rows_out_and_keeps_the_order(tmp_path) -> None:
    from PIL import Image

    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for i in range(9):
            Image.new("L", (8, 8), 20 * i).save(tmp_path / label / f"{i}.png")
    table = open_table(tmp_path)
    batches = Loader(table, preprocess=Preprocess(8), batch_size=4, shuffle=True, seed=3)
    whole = [i for b in batches.epoch(2) for i in b.ids]
    picked = np.arange(18) % 3 > 0
    batches.pick(picked)
    assert (len(batches), batches.share) == (3, pytest.approx(2 / 3))
    kept = {i for i, keep in zip(table.rows["id"], picked, strict=True) if keep}
    some = [i for b in batches.epoch(2) for i in b.ids]
    assert some == [i for i in whole if i in kept]
    assert [i for b in batches.epoch(2, 1) for i in b.ids] == some[4:]
    batches.pick(None)
    assert [i for b in batches.epoch(2) for i in b.ids] == whole
    assert len(batches) == 5
