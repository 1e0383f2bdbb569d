"""Whole runs by several processes: what a rank that fails means to the others, and that two learn what one does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from small_runs import digits_and
from started_ranks import NET, SETTINGS, flags, train_ranks

from anmok.core.errors import Interrupted
from anmok.core.events import read_events
from anmok.stages.run import Run
from anmok.stages.train import train


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the network, which this process finds too."""
    (tmp_path / "failing_net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def losses(run: Path) -> list[float]:
    """Of training and validation, of each epoch."""
    found = [(e["loss"], e["val"]["loss"]) for e in Run(run).history]
    return [loss for pair in found for loss in pair]


def steps_of(run: Path, event: str) -> list[int]:
    return [e["step"] for e in read_events(run / "events.jsonl", event)]


def spoil(folder: Path, *names: str) -> None:
    """Damage the pixels of images whose headers stay whole."""
    for name in names:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:45] + bytes(len(content) - 45))


def test_a_killed_rank_ends_the_run_by_name_and_one_process_goes_on_with_it(digits: Path, place: Path) -> None:
    train(digits, out=place / "whole", **SETTINGS)
    ended = train_ranks(
        place, digits, *flags(SETTINGS), "--out", "two", "--runtime.rank-timeout", "600", torchrun=True,
        fails="kill:1:11",
    )  # fmt: skip
    assert ended.codes == [1]  # torchrun's
    assert "error [rank] ranks: rank 1 died, or hangs, without a word." in ended.said[0]
    assert "go on with --resume" in ended.said[0]
    train(resume=place / "two")
    assert steps_of(place / "two", "resume") == [9]
    np.testing.assert_allclose(losses(place / "two"), losses(place / "whole"), rtol=1e-5)
    ids = [Run(place / name).predictions("val").ids for name in ("two", "whole")]
    assert ids[0] == ids[1]


def test_the_rank_that_leads_is_named_too(digits: Path, place: Path) -> None:
    ended = train_ranks(place, digits, *flags(SETTINGS), "--out", "two", fails="kill:0:11")
    assert ended.codes == [-9, 4]
    assert "error [rank] ranks: rank 0 died, or hangs, without a word." in ended.said[1]


def test_a_run_of_one_process_goes_on_in_two(digits: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(digits, out=place / "whole", **SETTINGS)
    monkeypatch.setenv("RANK_FAILS", "stop:0:10")
    with pytest.raises(Interrupted, match="after step 10"):
        train(digits, out=place / "one", **SETTINGS)
    ended = train_ranks(place, "--resume", "one")
    assert ended.codes == [0, 0], ended.said
    assert "going on at epoch 2, step 10" in ended.said[0]
    assert not ended.said[1]  # the first one speaks
    np.testing.assert_allclose(losses(place / "one"), losses(place / "whole"), rtol=1e-5)


def test_two_ranks_leave_out_the_images_that_one_process_does_and_one_goes_on(digits: Path, place: Path) -> None:
    skipping = {**SETTINGS, "epochs": 4, "training.skip": 0.5}
    train(digits, out=place / "one", **skipping)
    ended = train_ranks(place, digits, *flags(skipping), "--out", "two")
    assert ended.codes == [0, 0], ended.said
    shares = [[e["share"] for e in Run(place / name).history] for name in ("one", "two")]
    assert min(shares[0]) < 1
    assert shares[0] == shares[1]
    np.testing.assert_allclose(losses(place / "two"), losses(place / "one"), rtol=1e-5)
    stopped = train_ranks(place, digits, *flags(skipping), "--out", "half", fails="stop:0:14")
    assert stopped.codes == [5, 5], stopped.said
    train(resume=place / "half")
    np.testing.assert_allclose(losses(place / "half"), losses(place / "one"), rtol=1e-5)


def test_a_loss_that_is_no_number_on_one_rank_is_the_same_error_on_all(digits: Path, place: Path) -> None:
    ended = train_ranks(place, digits, *flags(SETTINGS), "--out", "two", fails="nan:1:5")
    assert ended.codes == [3, 3]
    for said in ended.said:
        assert said.splitlines()[-1].startswith("error [nan-loss] the loss is not finite at step 6.")
    assert "Traceback" not in "".join(ended.said)


def test_an_image_that_one_rank_cannot_read_is_left_out_as_in_one_process(digits: Path, place: Path) -> None:
    folder = digits_and(place, digits, 0, 1, 2, 3)
    train(folder, out=place / "clean", **{**SETTINGS, "epochs": 1})
    table = Run(place / "clean").table
    bad = [table.where(split=split).rows["image"][3] for split in ("train", "val")]
    spoil(folder, *bad)
    allowed: dict[str, Any] = {**SETTINGS, "data.max_rejects": 0.02}
    train(folder, out=place / "one", **allowed)
    ended = train_ranks(place, folder, *flags(allowed), "--out", "two")
    assert ended.codes == [0, 0], ended.said
    found = [pl.read_parquet(place / name / "rejects.parquet") for name in ("one", "two")]
    assert sorted(found[0]["id"]) == sorted(bad)
    assert found[0].equals(found[1])
    assert all(f"{name} is left out" in "".join(ended.said[0].split("\n")) for name in bad)
    np.testing.assert_allclose(losses(place / "two"), losses(place / "one"), rtol=1e-5)
    parts = [Run(place / name).predictions("val") for name in ("one", "two")]
    assert parts[0].ids == parts[1].ids
    assert bad[1] not in parts[0].ids
    np.testing.assert_allclose(parts[0].probs, parts[1].probs, atol=1e-5)


def test_too_many_unreadable_images_end_all_ranks(digits: Path, place: Path) -> None:
    folder = digits_and(place, digits, 0, 1)
    train(folder, out=place / "clean", **{**SETTINGS, "epochs": 1})
    spoil(folder, *Run(place / "clean").table.where(split="train").rows["image"][:6])
    ended = train_ranks(place, folder, *flags(SETTINGS), "--out", "two")
    assert all(code in (3, 4) for code in ended.codes)
    assert 3 in ended.codes
    assert all("images cannot be used, more than 1.0%" in said for said in ended.said)
    assert "Traceback" not in "".join(ended.said)
