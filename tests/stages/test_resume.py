"""The great equality: a run that was killed anywhere and resumed ends with the weights of one that was not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anmok.core.errors import DataError, UsageError
from anmok.core.files import verify_manifest
from anmok.stages.run import Run
from anmok.stages.train import train

NET = '''
from torch import nn

def net(num_classes, in_chans):
    """Everything with a memory: batch normalisation, dropout, convolutions."""
    return nn.Sequential(
        nn.Conv2d(in_chans, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(4),
        nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.LazyLinear(num_classes),
    )
'''.replace("nn.LazyLinear(num_classes)", "nn.Linear(16 * 36, num_classes)")

SETTINGS = [
    "--model", "killed_net:net", "--image-size", "32", "--channels", "gray", "--epochs", "6", "--batch-size", "16",
    "--augment", "strong", "--optim.ema", "0.9", "--optim.accumulate", "2", "--optim.clip", "1", "--plan", "none",
    "--threads", "1", "--training.checkpoint-every", "3 steps", "--seed", "5",
]  # fmt: skip


def start(folder: Path, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "anmok", "train", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "ANMOK_QUIET": "1"},
    )


def weights(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_killed_anywhere_and_resumed_is_bit_identical(digits: Path, tmp_path: Path, optimizer: str) -> None:
    (tmp_path / "killed_net.py").write_text(NET)
    common = [digits, *SETTINGS, "--optim.name", optimizer]
    assert start(tmp_path, *common, "--out", "whole").wait(300) == 0
    rng = random.Random(optimizer)
    steps = 6 * len(Run(tmp_path / "whole").table.where(split="train")) // 16
    kills = sorted(rng.sample(range(2, steps - 1), 3))
    killed_at = []
    process = start(tmp_path, *common, "--out", "killed")
    for target in kills:
        wait_for_step(tmp_path / "killed", target, process)
        time.sleep(rng.random() * 0.05)  # anywhere in the step, its checkpoint included
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed_at.append(last_step(tmp_path / "killed"))
        process = start(tmp_path, "--resume", "killed")
    assert process.wait(300) == 0
    assert any(killed_at)
    drop = ("seconds", "t", "images_per_s", "wait_share", "account")
    stories = [
        [{k: v for k, v in h.items() if k not in drop} for h in Run(tmp_path / n).history] for n in ("whole", "killed")
    ]
    assert stories[0] == stories[1]
    assert len(stories[0]) == 6
    assert weights(tmp_path / "whole") == weights(tmp_path / "killed")


def last_step(run: Path) -> int:
    names = sorted(p.name for p in (run / "checkpoints").glob("step-*"))
    return int(names[-1].removeprefix("step-")) if names else 0


def wait_for_step(run: Path, step: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(30_000):
        if last_step(run) >= step - 2 or process.poll() is not None:
            return
        time.sleep(0.005)
    raise AssertionError(f"never came to step {step}")


@pytest.fixture(scope="module")
def finished(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    train(digits, model="lenet", image_size=32, epochs=2, plan="none", out=out, threads=1)
    return out


def copy_unfinished(run: Path, to: Path) -> Path:
    """The run as it stood after its first epoch."""
    import shutil

    shutil.copytree(run, to)
    lines = [line for line in (to / "events.jsonl").read_text().splitlines() if json.loads(line)["event"] != "end"]
    (to / "events.jsonl").write_text("\n".join(lines) + "\n")
    shutil.rmtree(to / "model")
    newest = sorted((to / "checkpoints").glob("step-*"))[-1]
    shutil.rmtree(newest)
    return to


def test_resume_of_a_finished_run_says_so(finished: Path, cli) -> None:
    done = cli("train", "--resume", finished)
    assert done.returncode == 0
    assert "finished already" in done.stderr


def test_a_damaged_last_checkpoint_gives_way_to_the_one_before(finished: Path, tmp_path: Path, cli) -> None:
    import shutil

    run = tmp_path / "damaged"
    shutil.copytree(finished, run)
    text = (run / "events.jsonl").read_text().splitlines()
    (run / "events.jsonl").write_text("\n".join(line for line in text if '"end"' not in line) + "\n")
    shutil.rmtree(run / "model")
    newest = sorted((run / "checkpoints").glob("step-*"))[-1]
    content = bytearray((newest / "state.safetensors").read_bytes())
    content[-1] ^= 1
    (newest / "state.safetensors").write_bytes(content)
    done = cli("train", "--resume", run)
    assert done.returncode == 0, done.stderr
    assert "is damaged" in done.stderr
    assert weights(run) == weights(finished)


def test_changed_data_are_refused_and_shown(digits: Path, tmp_path: Path) -> None:
    import shutil

    from PIL import Image

    images = tmp_path / "images"
    shutil.copytree(digits, images)
    train(images, model="lenet", image_size=32, epochs=2, plan="none", out=tmp_path / "first", threads=1)
    run = copy_unfinished(tmp_path / "first", tmp_path / "run")
    changed = Run(run).table.rows["image"][0]
    Image.new("L", (8, 8), 7).save(images / changed)
    with pytest.raises(DataError, match="changed content: 1 image") as caught:
        train(resume=run)
    assert changed in str(caught.value)
    assert caught.value.code == "fingerprint"


def test_classes_in_another_order_are_refused(finished: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    run = copy_unfinished(finished, tmp_path / "run")
    table = Run(run).table
    replace(table, classes=tuple(reversed(table.classes))).save(run / "table.parquet")
    with pytest.raises(DataError, match="in another order"):
        train(resume=run)


def test_resume_takes_no_settings(finished: Path) -> None:
    with pytest.raises(UsageError, match="no settings"):
        train(resume=finished, epochs=3)


def test_a_run_without_a_checkpoint_starts_over_with_its_plan(finished: Path, tmp_path: Path) -> None:
    import shutil

    run = copy_unfinished(finished, tmp_path / "run")
    shutil.rmtree(run / "checkpoints")
    before = (run / "plan.json").read_bytes()
    train(resume=run)
    assert weights(run) == weights(finished)
    assert (run / "plan.json").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_signal_saves_and_exits_5(digits: Path, tmp_path: Path, number: signal.Signals, cli) -> None:
    process = start(tmp_path, digits, "--model", "lenet", "--image-size", "32", "--epochs", "3000", "--out", "run",
                    "--plan", "none", "--threads", "1", "--training.checkpoint-every", "100000 steps")  # fmt: skip
    for _ in range(6000):
        if (tmp_path / "run" / "events.jsonl").exists() and "epoch" in (tmp_path / "run" / "events.jsonl").read_text():
            break
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(60) == 5
    assert last_step(tmp_path / "run") > 0
    verify_manifest(sorted((tmp_path / "run" / "checkpoints").glob("step-*"))[-1])
    refused = cli("predict", tmp_path / "run", digits)
    assert refused.returncode == 3
    assert "--resume" in refused.stderr


@pytest.mark.slow
def test_a_second_run_in_the_same_folder_is_told_who_holds_it(digits: Path, tmp_path: Path, cli) -> None:
    process = start(
        tmp_path, digits, "--model", "lenet", "--image-size", "32", "--epochs", "3000", "--out", "run", "--plan", "none"
    )
    try:
        for _ in range(6000):
            if (tmp_path / "run" / "plan.json").exists():
                break
            time.sleep(0.01)
        for arguments in (["--resume", "run"], [digits, "--out", "run"]):
            second = cli("train", *arguments, cwd=tmp_path)
            assert second.returncode == 4, second.stderr
            assert str(process.pid) in second.stderr
    finally:
        process.kill()
        process.wait()
