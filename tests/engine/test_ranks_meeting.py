"""How a rank's end is named on the others, and that a run goes on with the batches that it began with."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anmok.augment.preprocess import Preprocess
from anmok.core.errors import DataError, MachineError
from anmok.data.batches import Loader
from anmok.data.sources import open_table
from anmok.engine import meeting, runtime
from anmok.engine.config import RuntimeConfig
from anmok.engine.meeting import Meeting, Round, named


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> tuple[Round, Round]:
    """The same round as rank 0 and as rank 1 see it."""
    monkeypatch.setattr(meeting, "PATIENCE", 0.3)
    store, numbers = torch.distributed.HashStore(), iter((7, 7))
    monkeypatch.setattr(meeting, "_rounds", numbers)
    return Round(Meeting(0, 2, store)), Round(Meeting(1, 2, store))


def test_the_error_of_a_rank_is_named_on_the_other(pair: tuple[Round, Round]) -> None:
    first, second = pair
    with pytest.raises(DataError), named(second):
        raise DataError("the loss is not finite at step 3.", code="nan-loss")
    with pytest.raises(MachineError, match="rank 1 ended the run: the loss is not finite at step 3") as caught:
        first.wait("ready")
    assert caught.value.code == "rank"
    with pytest.raises(MachineError, match="rank 1 ended the run: the loss is not finite"), named(first):
        raise RuntimeError("[gloo/transport/tcp/pair.cc] Connection closed by peer")


def test_a_rank_that_is_not_heard_of_is_named(pair: tuple[Round, Round]) -> None:
    with pytest.raises(MachineError, match="rank 1 died, or hangs, without a word"), named(pair[0]):
        raise RuntimeError("Connection closed by peer [127.0.0.1]:3456")


def test_an_error_that_is_not_of_the_exchange_stays_what_it_is(pair: tuple[Round, Round]) -> None:
    with pytest.raises(RuntimeError, match="shapes"), named(pair[1]):
        raise RuntimeError("shapes do not fit")
    with pytest.raises(MachineError, match="rank 1 ended the run: RuntimeError: shapes do not fit"):
        pair[0].look()


def test_a_launchers_sigterm_waits_until_it_is_told_who_died(pair: tuple[Round, Round]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    with pytest.raises(MachineError, match="rank 1 died, or hangs, without a word"), named(pair[0]):
        raise RuntimeError("Connection closed by peer [127.0.0.1]:3456")
    assert signal.getsignal(signal.SIGTERM) == before
    timer.join()


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "pick_device", lambda name: torch.device("cuda", 0))
    monkeypatch.setattr(runtime, "join", lambda seconds: (1, 2))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in (("LOCAL_RANK", "1"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    with pytest.raises(MachineError, match="2 processes need a GPU each, and there are 1") as caught:
        runtime.build_runtime(RuntimeConfig(threads=torch.get_num_threads()))
    assert caught.value.code == "device"


def test_what_is_said_is_heard_by_all(pair: tuple[Round, Round]) -> None:
    assert pair[1].heard("ready") is None
    pair[0].say("ready", "here")
    assert pair[1].wait("finished", "ready") == "here"


@pytest.mark.parametrize(("began", "now"), [(1, 2), (2, 1), (1, 4)])
def test_a_run_goes_on_with_its_batches_on_another_number_of_ranks(tmp_path: Path, began: int, now: int) -> None:
    for number in range(10):  # the last of batches of 4 has 2: too few for two ranks that learn from the start
        (tmp_path / f"c{number % 2}").mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 20 * number, np.uint8)).save(tmp_path / f"c{number % 2}" / f"{number}.png")
    table, preprocess = open_table(tmp_path), Preprocess(8)

    def steps(world: int, shares: int | None) -> list[list[str]]:
        loaders = [
            Loader(
                table, preprocess=preprocess, batch_size=4, shuffle=True, seed=3, threads=1, rank=rank, world=world,
                shares=shares,
            )
            for rank in range(world)
        ]  # fmt: skip
        return [[i for batch in parts for i in batch.ids] for parts in zip(*(x.epoch(1) for x in loaders), strict=True)]

    assert steps(now, began) == steps(began, None)
    assert len(steps(began, None)) == (3 if began == 1 else 2)
