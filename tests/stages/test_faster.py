"""Lookahead, growing images and skipped images in a whole run: what they do, their resume, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_runs import SMALL

import anmok
from anmok.core.errors import UsageError
from anmok.core.events import read_events
from anmok.stages.pretrain import pretrain
from anmok.stages.run import Run

NET = '''
from torch import nn

def net(num_classes, in_chans):
    """Images of any size."""
    return nn.Sequential(
        nn.Conv2d(in_chans, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Dropout(0.3), nn.Linear(32, num_classes),
    )

def fixed(num_classes, in_chans):
    """Images of 32 pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(32 * 32 * in_chans, num_classes))
'''
ARMS: dict[str, dict[str, Any]] = {
    "lookahead": {"optim": {"lookahead": 0.3, "lookahead_power": 3}},
    "grow": {"training": {"grow": 0.5}},
    "skip": {"training": {"skip": 0.5}},
    "all": {"optim": {"lookahead": 0.5, "lookahead_every": 3}, "training": {"grow": 0.5, "skip": 0.7}},
}
EPOCHS = 8


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "faster_net.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)
    return "faster_net"


def trained(digits: Path, out: Path, model: str, **settings: Any) -> Run:
    training = {"checkpoint_every": "4 steps", **settings.pop("training", {})}
    own = {**SMALL, "epochs": EPOCHS, "model": model, "augment": "medium", **settings, "training": training}
    return anmok.train(digits, out=out, **own)


@pytest.mark.parametrize("arm", list(ARMS))
def test_taken_up_in_the_middle_it_is_bit_identical(digits: Path, tmp_path: Path, nets: str, arm: str) -> None:
    whole = trained(digits, tmp_path / "whole", f"{nets}:net", **ARMS[arm])
    last = whole.history[-1]["step"]
    kept = sorted((whole.path / "checkpoints").glob("step-*"))
    assert kept
    run = tmp_path / "again"
    shutil.copytree(whole.path, run)
    lines = (run / "events.jsonl").read_text().splitlines()
    (run / "events.jsonl").write_text("\n".join(line for line in lines if json.loads(line)["event"] != "end") + "\n")
    shutil.rmtree(run / "model")
    newest = sorted((run / "checkpoints").glob("step-*"))
    for checkpoint in newest[1:]:
        shutil.rmtree(checkpoint)
    assert int(newest[0].name.removeprefix("step-")) < last
    again = anmok.train(resume=run)
    assert (run / "model" / "model.safetensors").read_bytes() == (
        whole.path / "model" / "model.safetensors"
    ).read_bytes()
    drop = ("seconds", "t", "images_per_s", "wait_share", "account")
    stories = [[{k: v for k, v in h.items() if k not in drop} for h in r.history] for r in (whole, again)]
    assert stories[0] == stories[1]
    assert len(stories[0]) == EPOCHS


def test_skipping_leaves_images_out_until_the_last_epochs_which_take_all(
    digits: Path, tmp_path: Path, nets: str
) -> None:
    run = trained(digits, tmp_path / "run", f"{nets}:net", training={"skip": 0.7}, augment="none")
    shares = [h["share"] for h in run.history]
    assert shares[0] == 1  # no loss is known
    assert all(0.3 < share < 1 for share in shares[1:-1])
    assert shares[-1] == 1  # 87.5 % are behind
    plain = trained(digits, tmp_path / "plain", f"{nets}:net", augment="none")
    assert run.history[-1]["step"] < plain.history[-1]["step"]
    assert len(run.history) == len(plain.history)
    assert run.history[-1]["lr"] == pytest.approx(plain.history[-1]["lr"], rel=0.05)  # the course is that of epochs
    assert run.history[0]["loss"] == pytest.approx(plain.history[0]["loss"], rel=1e-5)
    # the books hold the loss of all images: it does not jump where an epoch leaves the easy ones out
    assert run.history[1]["loss"] == pytest.approx(plain.history[1]["loss"], rel=0.15)


def test_images_grow_and_are_judged_at_their_size(digits: Path, tmp_path: Path, nets: str) -> None:
    run = trained(digits, tmp_path / "run", f"{nets}:net", training={"grow": 0.5, "grow_until": "4 epochs"})
    assert [h["side"] for h in run.history] == [16, 20, 24, 28, 32, 32, 32, 32]
    assert run.model.preprocess.image_size == 32
    assert anmok.evaluate(run).value("accuracy") is not None


def test_slow_weights_are_those_that_are_kept(digits: Path, tmp_path: Path, nets: str) -> None:
    from safetensors.torch import load_file

    run = trained(
        digits, tmp_path / "run", f"{nets}:net", optim={"lookahead": 0.5}, training={"checkpoint_every": "1 epoch"},
        split={"val": 0.0},
    )  # fmt: skip
    newest = sorted((run.path / "checkpoints").glob("step-*"))[-1]
    state = load_file(newest / "state.safetensors")
    kept = load_file(run.path / "model" / "model.safetensors")
    steps = run.history[-1]["step"]
    assert steps % 5  # the fast ones have gone on since they met
    best = next((run.path / "checkpoints").glob("best-*"))
    slow = load_file(best / "state.safetensors")
    name = next(n for n in kept if n.endswith("0.weight"))
    inside = next(n for n in slow if n.endswith(name))
    assert (kept[name] == slow[inside]).all()
    if int(best.name.removeprefix("best-")) == EPOCHS:
        assert (state[f"average:{inside}"] == slow[inside]).all()
    assert (state[f"average:{inside}"] != state[f"model:{inside}"]).any()


def test_a_time_is_kept_to_with_both(digits: Path, tmp_path: Path, nets: str) -> None:
    run = trained(
        digits, tmp_path / "run", f"{nets}:net", epochs=None, minutes=0.05, training={"grow": 0.5, "skip": 0.5}
    )
    training = sum(h["seconds"] + h["account"].get("evaluation", 0.0) for h in run.history)
    assert training < 3 * 1.2
    sides = [h["side"] for h in run.history]
    assert sides[0] == 16
    assert sides == sorted(sides)
    settled = list(read_events(run.path / "events.jsonl", "pace"))
    assert run.history[-1]["step"] >= 1
    assert all(event["total"] >= 1 for event in settled)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "vit_tiny_patch16_224", "training": {"grow": 0.5}}, "built for one image size"),
        ({"model": "speednet_small", "training": {"grow": 0.25}}, "Pass 0.5 or more"),
        ({"model": "faster_net:fixed", "training": {"grow": 0.5}}, "does not take images of 16 pixels"),
        ({"preprocess": {"colorspace": "hsv"}, "training": {"grow": 0.5}}, "hues are angles"),
        ({"data": {"balance": "balanced"}, "training": {"skip": 0.5}}, "balanced sampling"),
        ({"loss": {"name": "soft-f1"}, "training": {"skip": 0.5}}, "soft-f1 is no mean"),
        ({"augment": {"policy": "none", "mixup": 0.2}, "training": {"skip": 0.5}}, "mixed image"),
        ({"runtime": {"compile": "true"}, "training": {"skip": 0.5}}, "not compiled"),
        ({"optim": {"ema": 0.9, "lookahead": 0.5}}, "leave one of them out"),
        ({"optim": {"lookahead": 0.5, "lookahead_every": 500}}, "Lower it"),
        ({"training": {"grow_until": "5 min"}}, "grow_until"),
        ({"model": "lenet", "adapt": "head", "training": {"grow": 0.5}}, "--model.no-keep-features"),
        ({"model": "lenet", "adapt": "head", "training": {"skip": 0.5}}, "--model.no-keep-features"),
    ],
)
def test_what_does_not_go_together_is_refused_with_a_way_out(
    digits: Path, tmp_path: Path, nets: str, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        anmok.train(digits, out=tmp_path / "run", **{**SMALL, **settings})
    assert not (tmp_path / "run").exists()


def test_other_objectives_refuse_them(digits: Path, tmp_path: Path) -> None:
    for name in ("grow", "skip"):
        with pytest.raises(UsageError, match="fixmatch"):
            anmok.train(
                digits, out=tmp_path / "run", objective="fixmatch", unlabeled=str(digits), training={name: 0.5}, **SMALL
            )
        with pytest.raises(UsageError, match=f"training.{name}: no such setting"):
            pretrain(digits, out=tmp_path / "run", training={name: 0.5})
