"""Pretraining as a stage: from images to an encoder, resumed exactly, of use to a training and to timm."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import anmok
from anmok.augment.preprocess import Preprocess
from anmok.core.errors import DataError, UsageError
from anmok.core.files import read_json, verify_manifest
from anmok.data.batches import Loader
from anmok.stages.pretrain import PretrainRun, pretrain
from anmok.stages.pretrain_settings import contrastive_default, resolve_pretrain
from anmok.stages.probe import Monitor, probe_rows, validation_loss

SMALL: dict[str, Any] = {
    "model": "lenet", "image_size": 32, "epochs": 2, "batch_size": 32, "plan": "none", "threads": 1, "probe_every": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def contrastive(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> PretrainRun:
    """Two epochs of SimCLR on 160 digits."""
    return pretrain(digits, objective="contrastive", out=tmp_path_factory.mktemp("pre") / "run", **SMALL)


def test_a_run_leaves_what_a_run_leaves(contrastive: PretrainRun) -> None:
    names = {p.name for p in contrastive.path.iterdir()}
    assert {"config.toml", "table.parquet", "events.jsonl", "checkpoints", "encoder", "report.html"} <= names
    verify_manifest(contrastive.encoder)
    assert contrastive.finished
    assert [sorted(h["val"]) for h in contrastive.history] == [["knn", "linear", "loss"]] * 2
    assert contrastive.history[-1]["val"]["knn"] > 0.3  # four classes; pixels alone tell more
    config = read_json(contrastive.encoder / "config.json")
    assert (config["architecture"], config["num_classes"]) == ("lenet", 0)
    assert config["anmok"]["objective"]["name"] == "contrastive"
    assert "contrastive" in repr(contrastive)


def test_the_augmentation_it_took_is_kept(contrastive: PretrainRun) -> None:
    assert contrastive.config.augment.policy == "augment.toml"
    text = (contrastive.path / "augment.toml").read_text()
    assert "grayscale" in text
    assert "blur" not in text  # 32 pixels
    assert "blur" in [step.name for step in contrastive_default(224, 3).steps]
    assert all(not step.colored for step in contrastive_default(32, 1).steps)


def test_a_training_starts_from_its_encoder(contrastive: PretrainRun, digits: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from anmok.models.build import build
    from anmok.models.config import ModelConfig

    weights = load_file(contrastive.encoder / "model.safetensors")
    assert not any("fc3" in key for key in weights)  # the head is not among them
    built = build(ModelConfig(name="lenet", weights=str(contrastive.encoder)), list("abcd"), "multiclass", 3, 32)
    state = built.classifier.backbone.state_dict()
    assert all(torch.equal(state[key], value) for key, value in weights.items())
    assert len(state) > len(weights)
    run = anmok.train(
        digits, model="lenet", weights=str(contrastive.encoder), image_size=32, epochs=1, batch_size=16, plan="none",
        augment="none", threads=1, out=tmp_path / "fine",
    )  # fmt: skip
    assert run.evaluation("val").value("accuracy") is not None


@pytest.mark.parametrize("objective", ["rotation", "jigsaw", "colorize", "inpaint"])
def test_each_objective_runs(objective: str, digits: Path, tmp_path: Path) -> None:
    run = pretrain(digits, objective=objective, out=tmp_path / "run", **SMALL)
    losses = [h["loss"] for h in run.history]
    assert losses[1] < losses[0] * 1.05
    assert run.history[-1]["val"]["loss"] > 0
    assert run.config.augment.policy == "flip-crop"
    text = (run.path / "report.html").read_text()
    assert text.count("data:image/webp") >= 16


def test_labels_help_where_they_are_asked_for(digits: Path, tmp_path: Path) -> None:
    run = pretrain(digits, objective={"name": "contrastive", "labels": True}, out=tmp_path / "run", **SMALL)
    assert run.config.objective.labels


def test_images_without_any_label_get_a_random_validation(digits: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in digits.rglob("*.png"):
        shutil.copy(path, flat / f"{path.parent.name}-{path.name}")
    run = pretrain(flat, objective="rotation", out=tmp_path / "run", **SMALL)
    counts = run.table.rows["split"].value_counts()
    found = dict(counts.iter_rows())
    assert found["val"] > 10
    assert found["train"] > 80
    assert sorted(run.history[-1]["val"]) == ["loss"]
    with pytest.raises(DataError, match=r"objective\.labels"):
        pretrain(flat, objective={"name": "contrastive", "labels": True}, out=tmp_path / "other", **SMALL)
    assert not (tmp_path / "other").exists()


def test_timm_loads_the_tensors(digits: Path, tmp_path: Path) -> None:
    import timm
    from safetensors.torch import load_file

    settings = SMALL | {"model": "test_resnet", "epochs": 1}
    run = pretrain(digits, objective="rotation", out=tmp_path / "run", **settings)
    config = read_json(run.encoder / "config.json")
    network = timm.create_model(config["architecture"], num_classes=0, **config["model_args"])
    network.load_state_dict(load_file(run.encoder / "model.safetensors"))
    local = timm.create_model(f"local-dir:{run.encoder}", pretrained=True).eval()
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(local(images), network.eval()(images))
    assert network(images).shape == (2, config["num_features"])


SCRIPT = """
import sys
from pathlib import Path
from anmok.stages.pretrain import pretrain
if sys.argv[1] == "new":
    pretrain(sys.argv[2], out=sys.argv[3], objective=sys.argv[4], model="lenet", image_size=32, epochs=4, batch_size=16,
             plan="none", threads=1, probe_every=2, seed=3, optim={"ema": 0.9},
             training={"checkpoint_every": "2 steps"})
else:
    pretrain(resume=sys.argv[2])
"""


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["jigsaw", "contrastive"])
def test_killed_and_resumed_is_bit_identical(objective: str, digits: Path, tmp_path: Path) -> None:
    def start(*arguments: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
        return subprocess.Popen(command, env={**os.environ, "ANMOK_QUIET": "1"})

    assert start("new", digits, tmp_path / "whole", objective).wait(300) == 0
    process = start("new", digits, tmp_path / "killed", objective)
    for _ in range(30_000):
        steps = sorted((tmp_path / "killed" / "checkpoints").glob("step-*"))
        if (steps and int(steps[-1].name[5:]) >= 10) or process.poll() is not None:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not PretrainRun(tmp_path / "killed").finished
    assert start("resume", tmp_path / "killed").wait(300) == 0
    drop = ("seconds", "t", "images_per_s", "wait_share", "account")
    runs = [PretrainRun(tmp_path / name) for name in ("whole", "killed")]
    stories = [[{k: v for k, v in h.items() if k not in drop} for h in run.history] for run in runs]
    assert stories[0] == stories[1]
    whole, killed = ((run.encoder / "model.safetensors").read_bytes() for run in runs)
    assert whole == killed


def test_validation_draws_the_same_and_leaves_the_training_alone(digits: Path) -> None:
    from anmok.engine.runtime import Runtime
    from anmok.models.encoder import Encoder
    from anmok.models.lenet import LeNet
    from anmok.objectives.jigsaw import Jigsaw

    learner = Jigsaw(Encoder(LeNet(), 10, 32), (0.5,) * 3, (0.25,) * 3, 32)
    batches = Loader(anmok.open(digits), preprocess=Preprocess(32), batch_size=50)
    torch.manual_seed(9)
    before = torch.get_rng_state()
    losses = [validation_loss(learner, batches, Runtime(torch.device("cpu"))) for _ in range(2)]
    assert losses[0] == losses[1]
    assert torch.equal(before, torch.get_rng_state())
    assert learner.training


def test_probes_take_a_tenth_of_the_time() -> None:
    now = [0.0]
    monitor = Monitor(None, None, None, False, clock=lambda: now[0])
    taken = []
    for epoch in range(1, 41):
        now[0] += 10.0
        if monitor.due(epoch, 40):
            now[0] += 5.0
            monitor._spent += 5.0
            taken.append(epoch)
    assert taken[0] == 1
    assert taken[-1] == 40
    assert monitor._spent <= 0.1 * now[0] + 2 * 5.0
    assert [e for e in range(1, 11) if Monitor(None, None, 4, False).due(e, 10)] == [4, 8, 10]


def test_probes_see_every_class(digits: Path) -> None:
    table = anmok.open(digits)
    uneven = table.take(np.r_[0:40, 40:43, 80:120])
    few = probe_rows(uneven, 12, seed=0)
    assert few is not None
    assert sorted(np.bincount(few.targets())[:3].tolist()) == [3, 4, 5]
    assert len(set(few.rows["id"])) == 12


def test_what_was_said_wins_over_the_objectives_own(tmp_path: Path) -> None:
    config, said = resolve_pretrain({"objective": "contrastive"})
    assert (config.batch_size, config.schedule.name) == (256, "cosine")
    assert "augment" not in said
    file = tmp_path / "c.toml"
    file.write_text('batch_size = 64\n[objective]\nname = "rotation"\n[augment]\npolicy = "light"\n')
    config, said = resolve_pretrain({"schedule": {"name": "constant"}}, file=file)
    assert (config.objective.name, config.batch_size, config.augment.policy) == ("rotation", 64, "light")
    assert (config.schedule.name, config.schedule.warmup) == ("constant", "5%")
    assert "augment" in said


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "jigsaws"}, "objective.name"),
        ({"objective": "colorize", "channels": "gray"}, "colours"),
        ({"objective": "rotation", "augment": {"vflip": 0.5}}, "right way up"),
        ({"objective": "rotation", "objective.labels": True}, "no use for labels"),
        ({"adapt": "head"}, "whole network"),
        ({"training": {"select": "accuracy"}}, "without labels"),
        ({"training": {"early_stop": 3}}, "stops improving"),
        ({"loss": "focal"}, "no such setting"),
        ({"objective": "contrastive", "augment": "strong"}, "mixup"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, Any], message: str, digits: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        pretrain(digits, out=tmp_path / "run", **(SMALL | settings))
    assert not (tmp_path / "run" / "config.toml").exists()


def test_resume_takes_no_settings(contrastive: PretrainRun, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="goes on as it began"):
        pretrain(resume=contrastive.path, epochs=5)
    assert pretrain(resume=contrastive.path).path == contrastive.path


def test_a_run_without_its_end_has_no_encoder(contrastive: PretrainRun, tmp_path: Path) -> None:
    (tmp_path / "cut").mkdir()
    shutil.copy(contrastive.path / "config.toml", tmp_path / "cut")
    with pytest.raises(DataError, match="pretrain --resume"):
        _ = PretrainRun(tmp_path / "cut").encoder


def test_the_page_tells_what_the_log_tells(contrastive: PretrainRun) -> None:
    text = (contrastive.path / "report.html").read_text()
    events = [json.loads(line) for line in (contrastive.path / "events.jsonl").read_text().splitlines()]
    last = [e for e in events if e["event"] == "epoch"][-1]
    assert f"{last['loss']:.3f}" in text
    assert "nearest other" in text
    assert "<script src" not in text


def test_few_minutes_are_few_epochs(digits: Path, tmp_path: Path) -> None:
    settings = {k: v for k, v in SMALL.items() if k != "epochs"}
    run = pretrain(digits, objective="rotation", minutes=0.02, out=tmp_path / "run", **settings)
    assert 1 <= len(run.history) < 100
