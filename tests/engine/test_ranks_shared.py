"""What ranks share: batch statistics, weights in parts, a rank without images, predictions, what is agreed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from anmok.core.types import Predictions
from anmok.engine.ranks import equal_parts, from_first, in_order, of_all, with_synchronised_norms
from anmok.engine.shard import blocks_of

WORKER = Path(__file__).with_name("ranks_worker.py")
Found = dict[tuple[int, int], dict[str, Any]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """By (rank, world) what one process alone and each of two found."""
    out = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    places = ((0, 1), (0, 2), (1, 2))
    processes = []
    for rank, world in places:
        own = {"WORLD_SIZE": str(world), "RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        command = [sys.executable, str(WORKER), str(out)]
        processes.append(subprocess.Popen(command, env=os.environ | own, stderr=subprocess.PIPE, text=True))
    for process in processes:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    return {(r, w): torch.load(out / f"found-{r}-{w}.pt", weights_only=False) for r, w in places}


def learns(name: str) -> bool:
    return "running" not in name and "num_batches" not in name and name != "booked"


def test_batch_normalisation_is_bit_equal_to_one_process_that_accumulates_the_shares(found: Found) -> None:
    alone, first, second = (found[place]["norm"] for place in ((0, 1), (0, 2), (1, 2)))
    for name in filter(learns, alone):
        assert torch.equal(first[name], second[name])
        assert torch.equal(alone[name], first[name]), name


def test_books_hold_the_loss_of_all_ranks_once(found: Found) -> None:
    assert torch.equal(found[0, 2]["norm"]["booked"], found[1, 2]["norm"]["booked"])
    assert torch.allclose(found[0, 2]["norm"]["booked"], found[0, 1]["norm"]["booked"], rtol=1e-6)


def test_a_rank_without_a_readable_image_adds_nothing_and_holds_nobody_up(found: Found) -> None:
    alone, first, second = (found[place]["missing"] for place in ((0, 1), (0, 2), (1, 2)))
    for name in filter(learns, alone):
        assert torch.equal(first[name], second[name])
        assert torch.allclose(alone[name], first[name], rtol=1e-6, atol=1e-7), name
        assert first[name].isfinite().all()
    for name in alone:
        if "running" in name:  # of the second rank they are those that it got from the first, or none were met
            assert second[name].isfinite().all()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_weights_in_parts_learn_what_one_process_learns(found: Found, accumulate: int) -> None:
    alone, first, second = (found[place][f"shard-{accumulate}"] for place in ((0, 1), (0, 2), (1, 2)))
    for name in filter(learns, alone):
        assert (first[name] - alone[name]).norm() <= 1e-12 * alone[name].norm()
        assert torch.equal(first[name], second[name])


def test_weights_in_parts_take_a_whole_state_and_hold_half(found: Found) -> None:
    whole = 12 * 16 + 16 + 16 * 3 + 3
    assert all(found[0, 2]["taken"])
    assert all(found[1, 2]["taken"])
    assert found[0, 2]["held"] + found[1, 2]["held"] == whole


def test_predictions_are_one_table_each_image_once_in_its_order(found: Found) -> None:
    assert found[0, 1]["answers"].ids == ["i0", "i1", "i2", "i3", "i4", "i6"]  # alone: as its loader gave them
    for place in ((0, 2), (1, 2)):
        got: Predictions = found[place]["answers"]
        assert got.ids == ["i3", "i6", "i0", "i1", "i2", "i4"]  # i5 could not be read
        assert np.allclose(got.probs[:, 0], [0.3, 0.6, 0, 0.1, 0.2, 0.4])
        assert got.targets is not None
        assert got.targets.tolist() == [1, 0, 0, 1, 0, 0]


def test_what_is_agreed_is_the_same_on_all_ranks(found: Found) -> None:
    assert found[0, 2]["agreed"] == found[1, 2]["agreed"] == ("of 0", [0, 1], True, 5)
    assert found[0, 1]["agreed"] == ("of 0", [0], True, 5)


def test_an_image_that_two_ranks_predicted_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Predictions(["a"], ["x", "y"], np.array([[0.5, 0.5]], np.float32), np.array([0]))
    monkeypatch.setattr("anmok.engine.ranks.of_all", lambda value, world: [value] * world)
    with pytest.raises(ValueError, match="1 images were predicted by two ranks"):
        in_order(own, ["a"], 2)


def test_normalisation_is_synchronised_on_several_gpus_only() -> None:
    from timm.layers import BatchNormAct2d, SyncBatchNormAct

    def network() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), BatchNormAct2d(4))

    for device, world in (("cpu", 2), ("cuda", 1), ("mps", 2)):
        kept = with_synchronised_norms(network(), torch.device(device), world)
        assert not any(isinstance(m, nn.SyncBatchNorm) for m in kept.modules())
    plain = network()
    names, weight = set(plain.state_dict()), plain[1].weight
    turned = with_synchronised_norms(plain, torch.device("cuda"), 2)
    assert isinstance(turned[1], nn.SyncBatchNorm)
    assert isinstance(turned[2], SyncBatchNormAct)  # with its activation
    assert turned[1].weight is weight  # which the optimizer knows
    assert set(turned.state_dict()) == names


def test_blocks_are_the_large_members_of_lists_inner_ones_first() -> None:
    inner = nn.Sequential(nn.Linear(10, 10), nn.Tanh())
    network = nn.ModuleDict({"stages": nn.ModuleList([inner, nn.Linear(2, 2)]), "head": nn.Linear(10, 10)})
    assert blocks_of(network, 100) == [inner[0], inner]
    assert blocks_of(network, 1000) == []


def test_a_process_alone_exchanges_nothing() -> None:
    assert not torch.distributed.is_initialized()
    assert from_first(lambda: 3, 1) == 3
    assert of_all("x", 1) == ["x"]
    assert equal_parts(4, 3, 1) == 4
