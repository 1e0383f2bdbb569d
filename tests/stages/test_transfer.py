"""Transfer through `anmok train`: kept features are the plain way, and runs resume, freeze and start as they say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import anmok
from anmok.core.config import resolve
from anmok.core.errors import Interrupted, UsageError
from anmok.core.events import read_events
from anmok.core.files import read_json
from anmok.core.types import Batch
from anmok.stages import job as job_module
from anmok.stages import keeping
from anmok.stages.config import TrainConfig
from anmok.stages.features import FeatureBatches
from anmok.stages.keeping import Keeping, views_that_fit
from anmok.stages.learn import set_up
from anmok.stages.planning import settle_length

SMALL: dict[str, Any] = {
    "model": "test_resnet", "image_size": 32, "epochs": 3, "batch_size": 16, "plan": "none", "threads": 1,
    "optim.lr": 0.01,
}  # fmt: skip
PLAIN = {"model.keep_features": False}


@pytest.fixture
def aloud(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    heard: list[str] = []
    for name in ("say", "warn"):
        monkeypatch.setattr(keeping, name, heard.append)
    return heard


def weights(run: Any) -> dict[str, torch.Tensor]:
    return load_file(run.path / "model" / "model.safetensors")


def losses(run: Any) -> list[tuple[float, float]]:
    return [(e["loss"], e["val"]["loss"]) for e in run.history]


@pytest.mark.parametrize("adapt", ["head", "last:1"])
@pytest.mark.parametrize("more", [{}, {"optim.ema": 0.9, "optim.accumulate": 2, "data.balance": "balanced"}])
def test_kept_features_are_the_plain_way(digits: Path, tmp_path: Path, adapt: str, more: dict[str, Any]) -> None:
    settings = {**SMALL, "augment": "none", "adapt": adapt, **more}
    kept = anmok.train(digits, out=tmp_path / "kept", **settings)
    plain = anmok.train(digits, out=tmp_path / "plain", **settings, **PLAIN)
    starts = [next(read_events(r.path / "events.jsonl", "start")) for r in (kept, plain)]
    assert [s.get("views") for s in starts] == [1, None]
    np.testing.assert_allclose(losses(kept), losses(plain), rtol=1e-5)
    ours, theirs = weights(kept), weights(plain)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], atol=1e-5, rtol=1e-4, msg=name)
    np.testing.assert_allclose(kept.predictions("val").probs, plain.predictions("val").probs, atol=1e-5)
    images = [kept.table.root / p for p in kept.table.where(split="val").rows["image"]]
    np.testing.assert_allclose(kept.predict(images).probs, kept.predictions("val").probs, atol=1e-5)


def test_views_are_the_epochs_draws(digits: Path, tmp_path: Path) -> None:
    """With as many views as epochs an augmented run, too, is the plain one; afterwards views come again."""
    settings = {**SMALL, "augment": "light", "adapt": "head", "cache": "none"}
    kept = anmok.train(digits, out=tmp_path / "kept", **settings, **{"model.views": 3})
    plain = anmok.train(digits, out=tmp_path / "plain", **settings, **PLAIN)
    np.testing.assert_allclose(losses(kept), losses(plain), rtol=1e-5)
    job = set_up(kept.path, resolve(TrainConfig, {**settings, "model.views": 2}), None)
    batches = job.train
    assert isinstance(batches, FeatureBatches)
    assert len(batches.views) == 2

    def rows(epoch: int) -> dict[str, np.ndarray]:
        return {i: f.numpy() for b in batches.epoch(epoch) for i, f in zip(b.ids, b.images[0], strict=True)}

    first, second, third = (rows(e) for e in range(3))
    assert first.keys() == second.keys() == set(batches.table.rows["id"])
    assert all(np.array_equal(first[i], third[i]) for i in first)
    assert any(not np.allclose(first[i], second[i]) for i in first)


def test_batches_are_the_loaders_and_start_anywhere(digits: Path, tmp_path: Path) -> None:
    run = anmok.train(digits, out=tmp_path / "run", **SMALL, augment="none", adapt="head")
    batches = set_up(run.path, run.config, None).train
    assert isinstance(batches, FeatureBatches)
    for epoch in (0, 4):
        mine, theirs = list(batches.epoch(epoch)), list(batches.plain.epoch(epoch))
        assert [b.ids for b in mine] == [b.ids for b in theirs]
        assert all(np.array_equal(a.targets, b.targets) for a, b in zip(mine, theirs, strict=True))
        rest = list(batches.epoch(epoch, 3))
        assert [b.ids for b in rest] == [b.ids for b in mine[3:]]
        assert len(mine) == len(batches)
    batches.good[5] = False  # an image that could not be read
    found = [i for b in batches.epoch(1) for i in b.ids]
    assert len(found) == len(batches.table) - 1
    assert batches.table.rows["id"][5] not in found


def test_an_image_that_cannot_be_read_is_left_out(digits: Path, tmp_path: Path) -> None:
    from small_runs import digits_and

    folder = digits_and(tmp_path, digits)
    table = anmok.open(folder)
    settings = {**SMALL, "augment": "light", "adapt": "head", "data.max_rejects": 0.2}
    run = anmok.train(table, out=tmp_path / "before", **settings)
    bad = run.table.where(split="train").rows["image"][0]
    (folder / bad).write_bytes(b"no image")
    job = set_up(run.path, run.config, None)
    assert isinstance(job.train, FeatureBatches)
    assert job.train.good.sum() == len(job.train.table) - 1
    assert len(job.rejects.found) == 1


def test_it_resumes_to_the_same_weights(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {**SMALL, "augment": "light", "adapt": "last:1", "training.checkpoint_every": "3 steps", "drop": 0.3}
    settings["model.drop"] = settings.pop("drop")
    whole = anmok.train(digits, out=tmp_path / "whole", **settings)
    fit = job_module.fit

    def short(*given: Any) -> None:
        hooks, state = given[6], given[5]
        stopping = type(hooks)(**{**vars(hooks), "stop": lambda: state.step >= 11})
        fit(*given[:6], stopping, *given[7:])

    with monkeypatch.context() as patch:
        patch.setattr(job_module, "fit", short)
        with pytest.raises(Interrupted):
            anmok.train(digits, out=tmp_path / "cut", **settings)
    again = anmok.train(resume=tmp_path / "cut")
    assert losses(again) == losses(whole)
    assert all(torch.equal(v, weights(again)[k]) for k, v in weights(whole).items())


def test_gradual_unfreezing_resumes_and_leaves_frozen_statistics(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**SMALL, "epochs": 4, "augment": "none", "training.unfreeze": "1 epoch", "optim.layer_decay": 0.5}
    whole = anmok.train(digits, out=tmp_path / "whole", **settings)
    seen: list[dict[str, torch.Tensor]] = []
    keep = job_module.keep_best

    def look(job: Any, state: Any) -> None:
        seen.append({k: v.clone() for k, v in job.learner.model.backbone.state_dict().items()})
        keep(job, state)

    hooks = job_module.Hooks

    def stopping(**given: Any) -> Any:
        return hooks(**{**given, "validate": lambda: {"loss": 1.0, "select": float(len(seen))}})

    with monkeypatch.context() as patch:
        patch.setattr(job_module, "keep_best", look)
        patch.setattr(job_module, "Hooks", stopping)
        anmok.train(digits, out=tmp_path / "looked", **settings)
    assert len(seen) == 4
    for epoch in range(1, 4):
        moved = {k.split(".")[0] for k, v in seen[epoch].items() if not torch.equal(v, seen[epoch - 1][k])}
        joined = ["layer4", "layer3", "layer2"][:epoch]
        assert moved == {"fc", *joined}, epoch  # running statistics among them
    start = next(read_events(whole.path / "events.jsonl", "start"))
    assert [(p["name"], p["since"], p["rate"]) for p in start["parts"]][-2:] == [("layer4.0", 2, 0.5), ("fc", 1, 1.0)]
    with monkeypatch.context() as patch:
        patch.setattr(
            job_module, "Hooks", lambda **given: hooks(**{**given, "stop": lambda: count_steps(tmp_path / "cut") >= 2})
        )
        with pytest.raises(Interrupted):
            anmok.train(digits, out=tmp_path / "cut", **settings)
    again = anmok.train(resume=tmp_path / "cut")
    assert losses(again) == losses(whole)
    assert all(torch.equal(v, weights(again)[k]) for k, v in weights(whole).items())


def count_steps(run: Path) -> int:
    """Epochs that a run has behind it."""
    return sum(1 for _ in read_events(run / "events.jsonl", "epoch"))


def test_lora_leaves_an_ordinary_folder_and_resumes(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**SMALL, "augment": "none", "adapt": "lora", "model.lora_rank": 2, "optim.ema": 0.8}
    whole = anmok.train(digits, out=tmp_path / "whole", **settings)
    own = timm.create_model("test_resnet", num_classes=4).state_dict()
    assert weights(whole).keys() == own.keys()
    images = [whole.table.root / p for p in whole.table.where(split="val").rows["image"]]
    np.testing.assert_allclose(whole.predict(images).probs, whole.predictions("val").probs, atol=1e-5)
    hooks = job_module.Hooks
    with monkeypatch.context() as patch:
        patch.setattr(
            job_module, "Hooks", lambda **given: hooks(**{**given, "stop": lambda: count_steps(tmp_path / "cut") >= 1})
        )
        with pytest.raises(Interrupted):
            anmok.train(digits, out=tmp_path / "cut", **settings)
    again = anmok.train(resume=tmp_path / "cut")
    assert all(torch.equal(v, weights(again)[k]) for k, v in weights(whole).items())


def test_reasons_for_the_plain_way_are_said(
    digits: Path, tmp_path: Path, aloud: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    once = {**SMALL, "epochs": 1, "adapt": "head"}
    anmok.train(digits, out=tmp_path / "mix", **once, **{"augment.mixup": 0.2})
    assert "mixup and cutmix" in aloud[-1]
    anmok.train(digits, out=tmp_path / "trace", **{**once, "model": "lenet", "adapt": "last:1"})
    assert "computed in every epoch: symbolically traced" in aloud[-1]
    anmok.train(digits, out=tmp_path / "views", **once, augment="none", **{"model.views": 3})
    assert "all views are the same" in aloud[-2]
    monkeypatch.setattr(keeping, "free_memory_bytes", lambda: 100_000)
    anmok.train(digits, out=tmp_path / "small", **once, **{"data.cache": "none"})
    assert "its features take" in aloud[-1]
    assert all(next(read_events(tmp_path / n / "events.jsonl", "start")).get("views") is None for n in ("mix", "small"))


def test_fewer_views_where_memory_is_short(
    digits: Path, tmp_path: Path, aloud: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "free_memory_bytes", lambda: 2 * 4 * 96 * (112 * 2 + 24))  # half of it: two views
    anmok.train(digits, out=tmp_path / "run", **SMALL, adapt="head", augment="light", **{"data.cache": "none"})
    assert "features of 2 view(s), not 3" in aloud[-1]


@pytest.mark.parametrize(
    ("wanted", "room", "expected"), [(4, 1000, 4), (4, 279, 2), (4, 110, 1), (4, 109, 0), (1, 10**9, 1)]
)
def test_views_that_fit(wanted: int, room: int, expected: int) -> None:
    assert views_that_fit(wanted, train=10, val=1, each=10, room=room) == expected


def test_the_memory_that_features_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "free_memory_bytes", lambda: 1000)
    assert Keeping(1, 250).share_left() == 0.75
    assert Keeping(1, 5000).share_left() == pytest.approx(0.1)


def test_minutes_count_what_the_features_took() -> None:
    config = resolve(TrainConfig, {"minutes": 1})
    assert settle_length(config, 0.001, 1000, 10, 0, 0).steps == 480  # 0.12 s a step, and 2.4 s kept for evaluation
    assert settle_length(config, 0.001, 1000, 10, 0, 30).steps == 230
    assert settle_length(config, 0.001, 1000, 10, 0, 300).steps == 1
    assert settle_length(resolve(TrainConfig, {"epochs": 7, "minutes": 1}), 0.001, 1000, 10, 0, 0).epochs == 7


def test_minutes_with_kept_features(digits: Path, tmp_path: Path) -> None:
    settings = {**SMALL, "epochs": None, "minutes": 0.02, "plan": "auto"}
    settings.pop("epochs")
    run = anmok.train(digits, out=tmp_path / "run", **settings, adapt="head", augment="none")
    plan = read_json(run.path / "plan.json")
    settled = list(read_events(run.path / "events.jsonl", "pace"))  # it goes on as fast as it finds itself
    assert run.history[-1]["step"] == (settled[-1]["total"] if settled else plan["steps"]) >= 1


def test_what_does_not_go_together(digits: Path, tmp_path: Path) -> None:
    for settings, text in (
        ({"adapt": "last:9"}, r"5 stage\(s\) before its head"),
        ({"adapt": "head", "training.unfreeze": "1 epoch"}, "no stage that could join"),
        ({"training.unfreeze": "5 min"}, "cannot be counted in steps"),
    ):
        with pytest.raises(UsageError, match=text):
            anmok.train(digits, out=tmp_path / "run", **SMALL, **settings)
        assert not (tmp_path / "run").exists()


def test_several_ranks_refuse_unfreezing(monkeypatch: pytest.MonkeyPatch) -> None:
    from anmok.stages.learning import refuse_unfreezing

    refuse_unfreezing(resolve(TrainConfig, {"training.unfreeze": "10%"}), 1)
    with pytest.raises(UsageError, match="several processes"):
        refuse_unfreezing(resolve(TrainConfig, {"training.unfreeze": "10%"}), 2)


def test_weights_of_a_run_bring_their_size_and_normalisation(digits: Path, tmp_path: Path) -> None:
    first = anmok.train(digits, out=tmp_path / "first", **{**SMALL, "epochs": 1, "image_size": 48}, augment="none")
    later = {**SMALL, "epochs": 1, "weights": str(first.path), "augment": "none", "adapt": "head"}
    later.pop("image_size")
    run = anmok.train(digits, out=tmp_path / "later", **later)
    assert run.model.preprocess.image_size == 48
    assert run.config.preprocess.image_size == 48
    assert (run.path / "config.toml").read_text().startswith("# anmok train ")
    same = weights(first)
    assert all(torch.equal(v, same[k]) for k, v in weights(run).items() if not k.startswith("fc"))


def test_weights_of_an_encoder_folder(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "pre" / "encoder").mkdir(parents=True)
    theirs = timm.create_model("test_resnet", num_classes=0)
    save_file(theirs.state_dict(), tmp_path / "pre" / "encoder" / "model.safetensors")
    run = anmok.train(
        digits, out=tmp_path / "run", **SMALL, weights=str(tmp_path / "pre"), adapt="head", augment="none"
    )
    found = weights(run)
    assert all(torch.equal(found[k], v) for k, v in theirs.state_dict().items() if "num_batches" not in k)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")
def test_a_frozen_run_on_real_photos(data_dir: Path, tmp_path: Path) -> None:
    table = anmok.open(data_dir / "trashnet" / "split.csv")
    few = table.take(np.arange(0, len(table), 40))
    settings = {**SMALL, "epochs": 2, "image_size": 64, "adapt": "head", "views": 2}
    settings["model.views"] = settings.pop("views")
    run = anmok.train(few, out=tmp_path / "run", **settings)
    assert len(run.history) == 2
    assert run.evaluation("val")["n"] == len(run.table.where(split="val"))


def test_a_batch_of_features_in_parts() -> None:
    batch = Batch((torch.arange(6).reshape(3, 2), torch.zeros(3, 4)), np.arange(3), ["a", "b", "c"])
    part = batch.part(slice(1, 3))
    assert [tuple(t.shape) for t in part.images] == [(2, 2), (2, 4)]
    assert part.ids == ["b", "c"]
