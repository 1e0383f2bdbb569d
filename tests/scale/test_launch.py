"""`anmok train DATA --ranks 2`: one command, one result, one error, one exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anmok.cli import asked_ranks, main
from anmok.stages.run import Run
from anmok.stages.train import train

sys.path.insert(0, str(Path(__file__).parents[1] / "stages"))
from started_ranks import NET, PATIENCE, SETTINGS, flags


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images of two shades and the network, which this process finds too."""
    (tmp_path / "failing_net.py").write_text(NET)
    rng = np.random.default_rng(0)
    for label, low in (("bright", 120), ("dark", 0)):
        (tmp_path / "images" / label).mkdir(parents=True)
        for n in range(40):
            pixels = rng.integers(low, low + 130, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{n}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def start(place: Path, *arguments: object, fails: str = "", epochs: int = 3) -> subprocess.Popen[str]:
    settings = flags(SETTINGS | {"epochs": epochs})
    return subprocess.Popen(
        [sys.executable, "-m", "anmok", "train", "images", "--ranks", "2", *settings, *map(str, arguments)],
        cwd=place, env={**os.environ, "ANMOK_QUIET": "", "RANK_FAILS": fails}, stderr=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_two_ranks_by_one_command_learn_what_one_process_learns(place: Path) -> None:
    out, said = (process := start(place, "--out", "two")).communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert out.splitlines() == ["two/report.html", "next: anmok evaluate two"]
    assert "2 processes learn together" in said
    train(place / "images", out=place / "one", **SETTINGS)
    found = [[e["loss"] for e in Run(place / name).history] for name in ("one", "two")]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("fails", "code", "error"),
    [
        ("kill:1:2", 4, "error [rank] ranks: rank 1 died, or hangs, without a word."),  # before any checkpoint
        ("kill:0:2", 4, "error [rank] rank 0 ended with SIGKILL. There is no checkpoint yet."),
        ("nan:1:5", 3, "error [nan-loss] the loss is not finite at step 6."),
    ],
)  # fmt: skip
def test_an_error_is_shown_once_with_its_exit_code(place: Path, fails: str, code: int, error: str) -> None:
    _, said = (process := start(place, "--out", "two", fails=fails)).communicate(timeout=PATIENCE)
    assert process.returncode == code, said
    assert said.count("error [") == 1
    assert error in said
    assert "Traceback" not in said


def test_row_43_a_rank_that_died_is_named_and_started_again_once(place: Path) -> None:
    process = start(place, "--out", "two", fails="kill:0:8")  # of 12; what is left from step 6 on has fewer than 8
    out, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert f"rank 0 ended with SIGKILL; all start again, once, from the last checkpoint of {place / 'two'}" in said
    assert "two/report.html" in out
    train(place / "images", out=place / "one", **SETTINGS)
    found = [[e["loss"] for e in Run(place / name).history] for name in ("one", "two")]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    _, said = (process := start(place, "--out", "again", fails="kill:1:5")).communicate(timeout=PATIENCE)
    assert process.returncode == 4, said  # its fifth step comes once more, after step 3
    assert said.count("all start again, once") == 1


def test_a_ctrl_c_asks_all_ranks_to_stop_and_to_save(place: Path) -> None:
    process = start(place, "--out", "two", epochs=4000)
    until = time.monotonic() + PATIENCE
    while not (place / "two" / "checkpoints").is_dir():
        assert time.monotonic() < until
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 5, said
    assert said.count("error [") == said.count("error [interrupted] stopped after step") == 1
    assert list((place / "two" / "checkpoints").glob("step-*"))


def test_what_is_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert asked_ranks(["train", "x", "--ranks", "3"]) == asked_ranks(["train", "--ranks=3", "x"]) == 3
    assert asked_ranks(["train", "x"]) == asked_ranks(["evaluate", "x", "--ranks", "3"]) == 1
    with pytest.raises(SystemExit) as caught:
        main(["train", "x", "--ranks", "0"])
    assert caught.value.code == 2
    assert "expected one process or more, found 0" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert asked_ranks(["train", "x", "--ranks", "2"]) == 1
