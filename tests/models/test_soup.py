"""Averages of weights: uniform and greedy soups, and batch normalisation measured anew."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from anmok.models.average import greedy_soup, refresh_norms, soup


def test_the_mean_of_two_by_hand() -> None:
    a = {"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(3)}
    b = {"w": torch.tensor([3.0, -2.0]), "n": torch.tensor(5)}
    found = soup([a, b])
    assert found["w"].tolist() == [2.0, 0.0]
    assert found["n"].item() == 3
    assert a["w"].tolist() == [1.0, 2.0]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(0, 1000))
def test_a_soup_lies_among_its_members_in_any_order(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    states = [{"w": torch.from_numpy(rng.normal(size=7).astype(np.float32))} for _ in range(n)]
    stacked = torch.stack([state["w"] for state in states])
    found = soup(states)["w"]
    torch.testing.assert_close(found, stacked.mean(0))
    torch.testing.assert_close(found, soup(states[::-1])["w"])
    assert (found <= stacked.max(0).values + 1e-6).all()
    assert (found >= stacked.min(0).values - 1e-6).all()


def test_a_linear_network_of_averaged_weights_gives_the_averaged_answer() -> None:
    torch.manual_seed(0)
    networks = [nn.Linear(5, 3) for _ in range(3)]
    x = torch.randn(4, 5)
    expected = torch.stack([network(x) for network in networks]).mean(0)
    together = nn.Linear(5, 3)
    together.load_state_dict(soup([network.state_dict() for network in networks]))
    torch.testing.assert_close(together(x), expected)


def test_a_greedy_soup_takes_only_what_does_not_lower_the_score() -> None:
    states = [{"w": torch.tensor([v])} for v in (1.0, 9.0, 1.4, -5.0, 0.6)]
    found, taken = greedy_soup(states, lambda state: -abs(float(state["w"]) - 1.0))
    assert taken == [0]  # any other would move it from its best
    found, taken = greedy_soup(states, lambda state: -abs(float(state["w"]) - 1.2))
    assert taken == [0, 2]
    assert found["w"].item() == pytest.approx(1.2)


def test_other_weights_cannot_be_averaged() -> None:
    with pytest.raises(ValueError, match="other weights"):
        soup([{"w": torch.zeros(2)}, {"w": torch.zeros(3)}])
    with pytest.raises(ValueError, match="no weights"):
        soup([])


def test_batch_statistics_are_those_of_the_images() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm1d(3, momentum=0.3), nn.Dropout(0.5))
    batches = [torch.randn(50, 3) * 2 + 5 for _ in range(4)]
    assert refresh_norms(network, batches)
    norm = network[0]
    torch.testing.assert_close(norm.running_mean, torch.stack([b.mean(0) for b in batches]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([b.var(0) for b in batches]).mean(0))
    assert norm.momentum == 0.3
    assert norm.training
    assert not refresh_norms(nn.Linear(3, 3), batches)
