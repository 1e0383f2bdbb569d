"""The search over rate, decay, augmentation and network: what is drawn, how it climbs, goes on and what it says."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

import anmok
from anmok.cli import main
from anmok.core.config import resolve
from anmok.core.errors import DataError, Interrupted, UsageError
from anmok.core.events import read_events
from anmok.data.table import Table
from anmok.stages import tune_search
from anmok.stages.config import TrainConfig
from anmok.stages.defaults import HEAD_LR, WHOLE
from anmok.stages.tune_brackets import brackets_within, repeated_sizes, with_default
from anmok.stages.tune_propose import propose, spread
from anmok.stages.tune_result import Tuning, of_the_default
from anmok.stages.tune_rungs import Cost, Trial, reasons
from anmok.stages.tune_settings import TuneTree
from anmok.stages.tune_space import Range, build_space, completed, configured, fitted, name_of, usual
from anmok.stages.tune_trial import Pace, Task

pytest.importorskip("torch")
pytest.importorskip("optuna")

SHORT: dict[str, Any] = {
    "model": "lenet", "image_size": 16, "batch_size": 16, "plan": "none", "threads": 1, "rungs": 2, "minutes": 0.5,
}  # fmt: skip
SPACE = {"lr": Range(1e-4, 1e-2), "model": ("lenet", "speednet_small")}
USUAL = {"lr": 1e-3, "model": "lenet"}
Script = Callable[..., None]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANMOK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Trainings replaced by a function of their settings, so that the course of a search is known; `ran` collects."""

    def script(score: Callable[[TrainConfig], float], ran: list[Task], cost: Cost = Cost(0.0, 1e-4, 0.0)) -> None:  # noqa: B008
        def measure(task: Task, validate_s: float | None = None) -> tuple[Cost, dict[str, Any]]:
            return cost, {"plan": {}, "epochs": 1, "side": None}

        def run(task: Task, cost: Cost, stop: Callable[[], bool], slower: float = 1.0) -> tuple[Trial, Pace]:
            value = score(task.config)
            ran.append(task)
            images = len(task.table.where(split="train"))
            trial = Trial(
                task.rung, task.candidate, images, 3, 3, 0.0, "accuracy", value, value - 0.05, value + 0.05, 1 - value
            )  # fmt: skip
            return trial, Pace(1e-4, 1.0)

        monkeypatch.setattr(tune_search, "measure", measure)
        monkeypatch.setattr(tune_search, "run_trial", run)

    return script


def peak(config: TrainConfig) -> float:
    """Highest, 0.9, at a rate of 0.004."""
    assert config.optim.lr is not None
    return 0.9 - 0.2 * abs(math.log10(config.optim.lr / 0.004))


def test_what_is_drawn_first_is_spread_and_is_the_seed_s() -> None:
    drawn = spread(SPACE, USUAL, 16, 0)
    assert len({name_of(settings) for settings in drawn}) == 16
    quarters = [int(2 * math.log10(settings["lr"] / 1e-4)) for settings in drawn]
    assert all(3 <= quarters.count(q) <= 5 for q in range(4))  # Sobol: evenly over the decades
    assert 5 <= sum(settings["model"] == "lenet" for settings in drawn) <= 11
    assert all(1e-4 <= settings["lr"] <= 1e-2 for settings in drawn)
    assert spread(SPACE, USUAL, 16, 0) == drawn
    assert spread(SPACE, USUAL, 16, 1) != drawn
    few = spread({"model": ("a", "b", "c")}, {"model": "a"}, 10, 0)
    assert sorted(settings["model"] for settings in few) == ["b", "c"]


def test_what_is_known_draws_proposals_to_it() -> None:
    known = [({"lr": lr, "model": m}, 0.9 - 0.3 * abs(math.log10(lr / 5e-3)) - 0.3 * (m == "lenet"))
             for lr in (1.1e-4, 3e-4, 1e-3, 2e-3, 5e-3, 9e-3) for m in SPACE["model"]]  # fmt: skip
    known.append(({"lr": 9.9e-3, "model": "lenet"}, None))
    first = propose(SPACE, known, 12, 0)
    assert propose(SPACE, known, 12, 0) == first
    assert not {name_of(s) for s in first} & {name_of(s) for s, _ in known}
    found = [s for seed in range(5) for s in propose(SPACE, known, 12, seed)]
    assert sum(s["model"] == "speednet_small" for s in found) > 0.6 * len(found)
    assert sum(s["lr"] > 1e-3 for s in found) > 0.6 * len(found)


def test_the_space_is_about_the_defaults() -> None:
    config = resolve(
        TuneTree, {"search": "lr,weight_decay,augment,model", "candidates": "none,light", "models": "lenet"}
    )
    assert usual(config) == {"lr": 1e-3, "weight_decay": 0.05, "augment": "light", "model": "resnet18"}
    space = build_space(config)
    assert space["lr"] == pytest.approx((1e-4, 1e-2))
    assert space["augment"] == ("light", "none")
    assert space["model"] == ("resnet18", "lenet")
    config = resolve(TuneTree, {"search": "weight_decay", "optim": {"name": "adam"}})
    assert usual(config) == {"weight_decay": 0.0}
    assert build_space(config)["weight_decay"] == (1e-6, 1e-2)
    assert spread(build_space(config), usual(config), 3, 0)
    muon = resolve(TuneTree, {"search": "lr", "optim": {"name": "muon", "aux_lr": 0.002}})
    assert configured(muon, {"lr": 0.1}).optim.aux_lr == pytest.approx(0.01)
    whole = configured(config, {"model": "speednet", "augment": "strong", "weight_decay": 0.3})
    assert (whole.model.name, whole.augment.policy, whole.optim.weight_decay) == ("speednet", "strong", 0.3)
    assert fitted("speednet", 10) == 16
    assert fitted("lenet", 30) == 30
    assert fitted("lenet", None) is None


def test_what_is_left_open_is_as_a_training_has_it() -> None:
    table = Table(pl.DataFrame({"id": ["a"]}), Path(), ("x", "y"), "multilabel")
    head = {"adapt": "head", "weights": "a.safetensors"}
    config = completed(resolve(TuneTree, head | {"search": "weight_decay"}), table)
    assert (config.optim.lr, config.augment.translate) == (HEAD_LR, WHOLE["translate"])
    assert completed(resolve(TuneTree, {"search": "augment"}), table).augment.translate is None


def test_each_reason_is_told_once() -> None:
    assert reasons([("a", "Why."), ("b", "Why."), ("c", "Other.")]) == "a: Why. c: Other."


def test_brackets_and_their_sizes() -> None:
    cost = Cost(1.0, 0.01, 1.0)  # 10 s for 8 epochs of 100 images
    assert [brackets_within(s, 5, 2, cost, 100) for s in (10, 199, 200, 300, 9999)] == [1, 1, 2, 3, 3]
    assert repeated_sizes(100.0, [5.0, 10.0, 20.0], 9, 3) == [9, 3, 1]
    assert repeated_sizes(94.0, [5.0, 10.0, 20.0], 9, 3) == [8, 3, 1]
    assert repeated_sizes(34.9, [5.0, 10.0, 20.0], 9, 3) == []
    assert with_default(["a", "b", "default", "c"], 2) == ["default", "a", "b"]
    assert with_default(["a", "default", "c"], 2) == ["default", "a"]
    assert with_default(["a", "b"], 1) == ["a"]


def test_the_default_leads_and_later_brackets_close_in(digits: Path, tmp_path: Path, scripted: Script) -> None:
    ran: list[Task] = []
    scripted(peak, ran)
    found = anmok.tune(
        digits, out=tmp_path / "s", search="lr", proposals=9, brackets=3, **SHORT | {"minutes": 5}
    )  # fmt: skip
    first = [task for task in ran if task.rung == 1]
    assert ran[0].candidate == "default"
    assert ran[0].config.optim.lr == 1e-3
    events = list(read_events(found.path / "trials.jsonl", "propose"))
    assert [len(event["candidates"]) for event in events] == [9, 9, 9]
    assert len({task.candidate for task in first}) == 27
    assert max(t.seconds for t in first) == pytest.approx(min(t.seconds for t in first))
    best = [max(peak(t.config) for t in first if t.candidate in event["candidates"]) for event in events]
    assert max(best[1:]) > best[0]  # what was known has helped
    near = [sum(abs(math.log10(s["lr"] / 0.004)) < 0.25 for s in e["candidates"].values()) for e in events]
    assert near[2] > near[0]
    assert found.best.score == max(peak(task.config) for task in ran)
    assert "default" in {task.candidate for task in ran if task.rung == 2}  # the measure of the others, to the end
    rows = pl.read_csv(found.path / "trials.csv")
    assert rows.filter(pl.col("candidate") == "default")["lr"].to_list() == [1e-3, 1e-3]
    written = resolve(TrainConfig, file=found.path / "best.toml")
    assert written.optim.lr == found.settings[found.best.candidate]["lr"]
    with Image.open(found.path / "search.png") as picture:
        assert picture.width > 500
    assert (found.path / "halving.png").is_file()


@pytest.mark.parametrize("after", [0, 3, 9, 12])
def test_an_interrupted_search_draws_the_same(
    digits: Path, tmp_path: Path, scripted: Script, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    whole: list[Task] = []
    scripted(peak, whole)
    settings = {"search": "lr,augment", "proposals": 6, "brackets": 2, "candidates": "none,light"} | SHORT
    anmok.tune(digits, out=tmp_path / "whole", **settings)
    ran: list[Task] = []
    scripted(peak, ran)
    run = tune_search.run_trial

    def interrupted(task: Task, *rest: Any) -> Any:
        if len(ran) == after:
            raise Interrupted("stopped, as asked.")
        return run(task, *rest)

    monkeypatch.setattr(tune_search, "run_trial", interrupted)
    with pytest.raises(Interrupted, match="--resume"):
        anmok.tune(digits, out=tmp_path / "part", **settings)
    assert len(ran) == after
    if after == 9:  # the process was killed before it had kept the proposals of its next bracket
        log = tmp_path / "part" / "trials.jsonl"
        kept = [line for line in log.read_text().splitlines() if '"propose", ' not in line or '"bracket": 1' in line]
        log.write_text("\n".join(kept) + "\n")
    monkeypatch.setattr(tune_search, "run_trial", run)
    anmok.tune(resume=tmp_path / "part")
    assert [(t.rung, t.candidate) for t in ran] == [(t.rung, t.candidate) for t in whole]
    assert len(ran) > 12


def test_who_cannot_train_is_a_row_and_the_default_is_kept(digits: Path, tmp_path: Path, scripted: Script) -> None:
    ran: list[Task] = []

    def score(config: TrainConfig) -> float:
        assert config.optim.lr is not None
        if config.optim.lr > 2e-3:
            raise DataError("the loss is not finite at step 3.", code="nan-loss")
        return 0.7 if config.optim.lr == 1e-3 else 0.6

    scripted(score, ran)
    found = anmok.tune(digits, out=tmp_path / "s", search="lr", proposals=6, brackets=1, **SHORT)
    failed = [t for t in found.trials if t.error]
    assert failed
    assert all("not finite" in t.error and t.score is None for t in failed)
    assert found.best.candidate == "default"
    assert "Nothing that was tried is better" in repr(found)
    assert "lr 0.001" in repr(found)
    assert pl.read_csv(found.path / "trials.csv").filter(pl.col("error") != "")["lr"].min() > 2e-3


def test_a_network_too_slow_for_its_time_is_a_row(
    digits: Path, tmp_path: Path, scripted: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Task] = []
    scripted(lambda config: 0.5, ran)
    fast = tune_search.measure

    def measure(task: Task, validate_s: float | None = None) -> Any:
        cost, plan = fast(task, validate_s)
        return (Cost(0.0, 10.0, 0.0) if task.config.model.name == "speednet" else cost), plan

    monkeypatch.setattr(tune_search, "measure", measure)
    found = anmok.tune(digits, out=tmp_path / "s", search="model", models="speednet,speednet_small", **SHORT)
    (slow,) = [t for t in found.trials if t.error]
    assert found.settings[slow.candidate] == {"model": "speednet"}
    assert "too slow" in slow.error
    assert {task.config.model.name for task in ran} == {"lenet", "speednet_small"}
    assert len(list(found.path.glob("plan-*.json"))) == 3


@pytest.mark.slow
def test_a_real_search(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "s"
    flags = "--search lr,weight_decay --proposals 3 --rungs 1 --brackets 1 --minutes 0.4 --model lenet --image-size 16"
    more = "--plan none --threads 1 --batch-size 16 --augment none --optim.name sgd --optim.lr 0.02"
    main(["tune", str(digits), *flags.split(), *more.split(), "--out", str(out)])
    said = capsys.readouterr().out
    for text in ("Chosen: ", f"{out}/search.png", f"--config {out}/best.toml"):
        assert text in said
    found = Tuning(out)
    (default,) = [t for t in found.trials if t.candidate == "default"]
    if default.error:
        assert "not finite" in default.error
        assert "nothing to say of a gain" in said
    elif found.best == default:
        assert "Nothing that was tried is better" in said
    else:
        assert "Against the default its accuracy gains +" in said
        assert found.against is not None
        assert found.best.score is not None
        assert default.score is not None
        assert found.against["value"] == pytest.approx(found.best.score - default.score)
    (end,) = read_events(out / "trials.jsonl", "end")
    assert end["spent_s"] < 2 * 24  # a busy machine may take longer than a quiet one


def test_the_sentence_about_the_default() -> None:
    best = Trial(2, "lr 0.1", 10, 3, 3, 1.0, "accuracy", 0.8, 0.7, 0.9, 0.5)
    facts = {"rung": 2, "metric": "accuracy", "value": 0.05, "low": 0.01, "high": 0.09}
    assert "gains +0.050" in of_the_default(facts, best)
    assert "0 is outside it" in of_the_default(facts, best)
    assert "0 is inside it" in of_the_default(facts | {"low": -0.01}, best)
    lower = {"rung": 1, "metric": "log_loss", "value": -0.2, "low": -0.3, "high": -0.1}
    assert "gains +0.200" in of_the_default(lower, best)
    assert "+0.100 to +0.300" in of_the_default(lower, best)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"search": "lr,momentum"}, "weight_decay"),
        ({"search": ""}, "at least 1"),
        ({"search": "model", "models": "lenett"}, "lenet"),
        ({"search": "model", "models": "lenet"}, "one candidate alone"),
        ({"search": "lr", "proposals": 1}, "greater than or equal to 2"),
    ],
)
def test_bad_settings_of_a_search(digits: Path, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises((UsageError, DataError), match=message):
        anmok.tune(digits, out=tmp_path / "s", **SHORT | settings)
    assert not (tmp_path / "s").exists()


def test_weights_of_one_network_start_no_others(digits: Path, tmp_path: Path) -> None:
    run = anmok.train(digits, out=tmp_path / "run", epochs=1, augment="none", **{
        k: v for k, v in SHORT.items() if k not in ("rungs", "minutes")
    })  # fmt: skip
    with pytest.raises(UsageError, match="belong to one network"):
        anmok.tune(digits, out=tmp_path / "s", search="model", weights=str(run.path), **SHORT)
    assert not (tmp_path / "s").exists()
