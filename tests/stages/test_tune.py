"""The search for an augmentation: what it must choose, what it must not look at, and how it ends and goes on."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

import anmok
from anmok.cli import main
from anmok.core.config import resolve
from anmok.core.errors import DataError, Interrupted, UsageError
from anmok.core.events import read_events
from anmok.data import Table, open_table
from anmok.stages import tune_search, tune_trial
from anmok.stages.config import TrainConfig
from anmok.stages.tune_result import Tuning, sentences, standing
from anmok.stages.tune_rungs import (
    Cost,
    Trial,
    affordable,
    apart,
    images_within,
    ranked,
    rung_fractions,
    rung_sizes,
    stratified,
)
from anmok.stages.tune_settings import CANDIDATES, TuneTree
from anmok.stages.tune_trial import Pace, Task

pytest.importorskip("torch")

SHORT: dict[str, Any] = {
    "model": "lenet", "image_size": 24, "batch_size": 16, "plan": "none", "threads": 1, "minutes": 0.5, "rungs": 2,
    "split": "honour", "data.max_rejects": 0.01,
}  # fmt: skip


def arrow(rng: np.random.Generator, right: bool, side: int = 24) -> Image.Image:
    """A dark triangle on a light ground that points to one side."""
    image = Image.fromarray(np.full((side, side, 3), rng.integers(150, 256, 3), np.uint8))
    x, y, r = rng.integers(8, side - 8), rng.integers(8, side - 8), rng.integers(4, 7)
    way = 1 if right else -1
    dark = tuple(int(v) for v in rng.integers(0, 110, 3))
    ImageDraw.Draw(image).polygon([(x + way * r, y), (x - way * r, y - r), (x - way * r, y + r)], fill=dark)
    return image


@pytest.fixture(scope="module")
def arrows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train, val and test of arrows that point left or right: mirrored, one class is the other."""
    folder = tmp_path_factory.mktemp("arrows")
    rng = np.random.default_rng(0)
    for split, each in (("train", 40), ("val", 30), ("test", 6)):
        for label in ("left", "right"):
            (folder / split / label).mkdir(parents=True)
            for i in range(each):
                arrow(rng, label == "right").save(folder / split / label / f"{i}.png")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANMOK_CACHE", str(tmp_path / "cache"))


Scores = Callable[..., None]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scores:
    """Replace trainings by given scores, so that the course of a search is known; `ran` collects the tasks."""

    def script(scores: dict[str, float], ran: list[Task], cost: Cost = Cost(0.0, 1e-4, 0.0)) -> None:  # noqa: B008
        def measure(task: Task, validate_s: float | None = None) -> tuple[Cost, dict[str, Any]]:
            return cost, {"plan": {}, "epochs": 1, "side": None}

        def run(task: Task, cost: Cost, stop: Callable[[], bool], slower: float = 1.0) -> tuple[Trial, Pace]:
            ran.append(task)
            score = scores[task.candidate]
            images = len(task.table.where(split="train"))
            low, high = score - 0.05, score + 0.05
            return Trial(task.rung, task.candidate, images, 3, 3, 0.0, "accuracy", score, low, high, 1 - score), Pace(
                1e-4, 1.0
            )

        monkeypatch.setattr(tune_search, "measure", measure)
        monkeypatch.setattr(tune_search, "run_trial", run)

    return script


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real trials of half a second, whatever there is time for."""
    run = tune_search.run_trial
    monkeypatch.setattr(tune_search, "run_trial", lambda task, *rest: run(task._replace(seconds=0.5), *rest))


@pytest.mark.slow
def test_a_policy_that_destroys_the_label_loses(arrows: Path, tmp_path: Path) -> None:
    out = tmp_path / "search"
    crop = tmp_path / "crop.toml"
    crop.write_text('[[steps]]\nop = "crop"\nscale = [0.8, 1.0]\n')
    found = anmok.tune(arrows, out=out, candidates=["flip-crop", "medium", str(crop)], **SHORT | {"minutes": 0.35})
    assert found.best.candidate == str(crop)
    assert found.best.score is not None
    assert found.best.score > 0.8
    losers = [t.score for t in found.trials if t.candidate in ("flip-crop", "medium") and t.score is not None]
    assert losers
    assert max(losers) < 0.75  # mirrored at random, an arrow says nothing of its class
    rungs = {t.rung: {u.candidate for u in found.trials if u.rung == t.rung} for t in found.trials}
    assert len(rungs[1]) == 3
    assert len(rungs[2]) == 2
    assert rungs[2] == {t.candidate for t in ranked([t for t in found.trials if t.rung == 1])[:2]}
    (share, *_) = [event["share_s"] for event in read_events(out / "trials.jsonl", "rung")]
    for t in found.trials:  # whole epochs, so less than the share; on a busy machine more, up to a cut
        assert t.epochs >= 1
        assert t.rung == 2 or t.seconds < tune_trial.LATE * share + 2
    (end,) = read_events(out / "trials.jsonl", "end")
    assert end["spent_s"] < 2 * 21
    rows = pl.read_csv(out / "trials.csv").select("candidate", "rung", "score").rows()
    assert rows == [(t.candidate, t.rung, t.score) for t in found.trials]
    with Image.open(out / "halving.png") as picture:
        assert picture.width > 600
    best = resolve(TrainConfig, file=out / "best.toml")
    assert (best.augment.policy, best.model.name, best.minutes, best.epochs) == (str(crop), "lenet", None, None)
    run = anmok.train(arrows, config=out / "best.toml", out=tmp_path / "run", epochs=1)
    assert run.config.augment.policy == str(crop)
    assert set(run.table.where(split="val").rows["id"]) == set(
        Table.load(out / "table.parquet").where(split="val").rows["id"]
    )
    assert f"Chosen: {crop}" in repr(found)
    assert "<pre>" in found._repr_html_()


def test_the_test_split_is_gone_before_the_first_trial(
    arrows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    table = open_table(arrows)
    tests = set(table.where(split="test").rows["id"])
    reads: list[str] = []
    measure = tune_trial.measure

    def watched(task: Task, validate_s: float | None = None) -> Any:
        from anmok.data.storage import Storage

        read = Storage.read
        monkeypatch.setattr(Storage, "read", lambda self, image: reads.append(image) or read(self, image))
        return measure(task, validate_s)

    monkeypatch.setattr(tune_search, "measure", watched)
    found = anmok.tune(table, out=tmp_path / "search", candidates="none,flip-crop", **SHORT)
    assert any("train" in image for image in reads)
    assert any("val" in image for image in reads)
    assert not any("test" in image for image in reads)
    for folder in (found.path / "trials").iterdir():
        rows = Table.load(folder / "table.parquet").rows
        assert not tests & set(rows["id"])
        assert rows.filter(pl.col("split") == "val").height == 60
        assert not (folder / "model").exists()


def test_halving_keeps_the_best_and_gives_them_more(arrows: Path, tmp_path: Path, scripted: Scores) -> None:
    ran: list[Task] = []
    scores = {name: 0.5 + 0.02 * i for i, name in enumerate(CANDIDATES)}
    scripted(scores, ran)
    found = anmok.tune(arrows, out=tmp_path / "search", **SHORT | {"rungs": 3, "minutes": 8})
    counts = [sum(task.rung == rung for task in ran) for rung in (1, 2, 3)]
    assert counts == [len(CANDIDATES), 6, 2] == rung_sizes(16, 3, 3)
    assert found.best.candidate == CANDIDATES[-1]
    assert [t.candidate for t in standing(found.trials)] == list(reversed(CANDIDATES))
    for rung, n in zip((1, 2, 3), counts, strict=True):  # nothing is spent, so each rung has what was left
        share = {task.seconds for task in ran if task.rung == rung}
        assert max(share) == pytest.approx(8 * 60 * 0.98 / (4 - rung) / n, rel=0.05)
    assert {len(task.table.where(split="train")) for task in ran} == {80}  # under LEAST_IMAGES all are taken
    assert {task.config.epochs for task in ran} == {None}
    assert {task.config.data.cache for task in ran} == {"disk"}
    assert "Nor can it be told" not in repr(found)
    assert "intervals overlap" in repr(found)


@pytest.mark.parametrize("after", [0, 2])
def test_an_interrupted_search_goes_on_with_what_is_missing(
    arrows: Path, tmp_path: Path, scripted: Scores, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    scores, ran = {"light": 0.6, "medium": 0.7, "strong": 0.65, "none": 0.9}, []
    scripted(scores, ran)
    run, out = tune_search.run_trial, tmp_path / "search"

    def interrupted(task: Task, *rest: Any) -> Any:
        if len(ran) == after:
            raise Interrupted("stopped after step 3, as asked.")
        return run(task, *rest)

    monkeypatch.setattr(tune_search, "run_trial", interrupted)
    with pytest.raises(Interrupted, match="--resume") as caught:
        anmok.tune(arrows, out=out, candidates=list(scores), **SHORT)
    assert caught.value.exit_code == 5
    assert [task.candidate for task in ran] == ["light", "medium"][:after]
    with (out / "trials.jsonl").open("a") as file:
        file.write('{"event": "trial", "rung": 1, "cand')  # a line torn by a kill
    monkeypatch.setattr(tune_search, "run_trial", run)
    found = anmok.tune(resume=out)
    first = [(task.rung, task.candidate) for task in ran]
    assert first == [(1, "light"), (1, "medium"), (1, "strong"), (1, "none"), (2, "none"), (2, "medium")]
    assert found.best.candidate == "none"
    assert pl.read_csv(out / "trials.csv").height == 6
    before = (out / "trials.jsonl").read_bytes()
    assert anmok.tune(resume=out).best == found.best
    assert (out / "trials.jsonl").read_bytes() == before
    with pytest.raises(UsageError, match="goes on as it began"):
        anmok.tune(resume=out, minutes=3)


@pytest.mark.slow
def test_a_candidate_that_cannot_train_is_a_row_that_says_why(arrows: Path, tmp_path: Path, quick: None) -> None:
    hue = tmp_path / "hue.toml"
    hue.write_text('[[steps]]\nop = "operation"\nname = "hue"\nvalue = 0.1\n')
    found = anmok.tune(
        arrows, out=tmp_path / "search", candidates=[str(hue), "none", "flip-crop"], channels="gray", **SHORT
    )  # fmt: skip
    failed = [t for t in found.trials if t.error]
    assert [(t.candidate, t.rung, t.score, t.epochs) for t in failed] == [(str(hue), 1, None, 0)]
    assert "one channel" in failed[0].error
    assert f"{hue} could not train" in repr(found)
    assert "one channel" in (found.path / "trials.csv").read_text()
    assert found.best.candidate in ("none", "flip-crop")


def test_no_candidate_that_can_train_is_an_error_and_leaves_nothing(arrows: Path, tmp_path: Path) -> None:
    paths = []
    for turns in (0.1, 0.2):
        paths.append(tmp_path / f"hue-{turns}.toml")
        paths[-1].write_text(f'[[steps]]\nop = "operation"\nname = "hue"\nvalue = {turns}\n')
    with pytest.raises(DataError, match=r"no candidate can train.*one channel") as caught:
        anmok.tune(arrows, out=tmp_path / "search", candidates=paths, channels="gray", **SHORT)
    assert caught.value.code == "search"
    assert not (tmp_path / "search").exists()


def test_too_little_time_means_fewer_candidates_then_an_error(
    arrows: Path, tmp_path: Path, scripted: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(tune_search, "warn", said.append)
    ran: list[Task] = []
    scores = {"light": 0.6, "medium": 0.7, "strong": 0.65, "none": 0.9}
    # An epoch of all 80 images takes 4.5 s with all that belongs to it; a rung has 0.98 × 30 s / 2.
    scripted(scores, ran, Cost(0.25, 0.05, 0.25))
    anmok.tune(arrows, out=tmp_path / "a", candidates=list(scores), **SHORT)
    assert [task.candidate for task in ran if task.rung == 1] == ["light", "medium", "strong"]
    assert "3 of 4 candidates" in said[0]
    with pytest.raises(UsageError, match=r"0\.2 minutes are too few.*Allow more") as caught:
        anmok.tune(arrows, out=tmp_path / "b", candidates=list(scores), **SHORT | {"minutes": 0.2})
    assert caught.value.code == "budget"
    assert not (tmp_path / "b").exists()


@given(st.integers(1, 60), st.integers(1, 8), st.integers(2, 6))
def test_rungs_shrink_to_two(candidates: int, rungs: int, keep: int) -> None:
    sizes = rung_sizes(candidates, rungs, keep)
    assert sizes[0] == candidates
    assert len(sizes) <= rungs
    for more, fewer in itertools.pairwise(sizes):
        assert 2 <= fewer < more
        assert fewer == max(2, -(-more // keep))


def test_fractions_grow_by_equal_factors_to_all() -> None:
    assert rung_fractions(0.25, 3, 100_000) == pytest.approx([0.25, 0.5, 1.0])
    assert rung_fractions(0.25, 1, 100_000) == [0.25]
    assert rung_fractions(0.1, 2, 400) == [0.5, 1.0]
    assert rung_fractions(0.1, 2, 50) == [1.0, 1.0]


def test_a_share_is_of_every_class_and_grows_by_adding(tmp_path: Path) -> None:
    labels = ["a"] * 100 + ["b"] * 30 + ["c"] * 3 + ["d"]
    rows = pl.DataFrame({
        "id": [f"{i}" for i in range(134)], "image": [f"{i}.png" for i in range(134)], "label": labels,
        "split": ["train"] * 134, "group": [None] * 134, "hash": [f"{i:032x}" for i in range(134)],
    })  # fmt: skip
    table = Table(rows, tmp_path, ("a", "b", "c", "d"))
    chosen = {share: stratified(table, share, 7) for share in (0.1, 0.3, 1.0)}
    counts = {
        share: [sum(labels[i] == c for i in rows) for c in "abcd"] for share, rows in chosen.items()
    }  # fmt: skip
    assert counts == {0.1: [10, 3, 2, 1], 0.3: [30, 9, 2, 1], 1.0: [100, 30, 3, 1]}
    assert set(chosen[0.1]) < set(chosen[0.3]) < set(chosen[1.0])
    assert (np.diff(chosen[0.3]) > 0).all()
    np.testing.assert_array_equal(stratified(table, 0.3, 7), chosen[0.3])
    assert set(stratified(table, 0.3, 8)) != set(chosen[0.3])


def test_what_time_does_for() -> None:
    cost = Cost(1.0, 0.01, 2.0)
    assert cost.epoch(100) == pytest.approx(4.0)
    assert affordable(10, 13.0, cost, 100) == 3
    assert affordable(2, 13.0, cost, 100) == 2
    assert affordable(2, 3.9, cost, 100) == 0
    assert images_within(8.0, cost) == 500
    assert images_within(1.0, cost) == 0


def trial(name: str, score: float | None, half: float = 0.02, rung: int = 1, **more: Any) -> Trial:
    bounds = (None, None) if score is None else (score - half, score + half)
    values = {"metric": "accuracy", "loss": 0.5, "epochs": 4, "planned": 4} | more
    return Trial(rung, name, 100, seconds=1.0, score=score, low=bounds[0], high=bounds[1], **values)


def test_order_and_words() -> None:
    a, b, c = trial("a", 0.8, loss=0.4), trial("b", 0.8, loss=0.3), trial("c", 0.7)
    failed = trial("d", None, error="no such thing", epochs=0, planned=0)
    assert [t.candidate for t in ranked([c, a, failed, b])] == ["b", "a", "c"]
    losses = [trial(n, v, metric="log_loss") for n, v in (("x", 0.9), ("y", 0.4))]
    assert [t.candidate for t in ranked(losses)] == ["y", "x"]
    assert apart(a, c)
    assert not apart(a, trial("e", 0.77))
    said = " ".join(sentences([trial("w", 0.95), c, trial("v", 0.6), failed]))
    assert "0.250 ahead of c" in said
    assert "do not overlap" in said
    assert "d could not train: no such thing" in said
    said = " ".join(sentences([a, trial("e", 0.77), trial("f", 0.79, epochs=2)]))
    assert "no difference can be told" in said
    assert "Nor can it be told from e." in said
    assert "f was cut after 2 of 4 epochs" in said
    of_others = " ".join(sentences([a, trial("default", 0.79), trial("e", 0.77)]))  # a paired sentence is the default's
    assert "ahead of e" in of_others
    assert "default" not in of_others


def test_candidates_as_text_and_as_lists() -> None:
    grid = [f"randaugment:n={n},m={m}" for n in (1, 2, 3) for m in (5, 9, 13)]
    others = ["flip-crop", "light", "medium", "strong", "trivialaugment", "autoaugment", "augmix"]
    assert sorted(CANDIDATES) == sorted([*grid, *others])
    text = "light, randaugment:n=2,m=9,none,augmix:severity=3,width=2"
    expected = ("light", "randaugment:n=2,m=9", "none", "augmix:severity=3,width=2")
    assert resolve(TuneTree, {"candidates": text}).candidates == expected
    assert resolve(TuneTree, {"candidates": [text]}).candidates == expected
    assert resolve(TuneTree, {"candidates": list(expected)}).candidates == expected
    assert resolve(TuneTree, {"candidates": "light,light,none"}).candidates == ("light", "none")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"candidates": "light"}, "one candidate alone"),
        ({"candidates": "lihgt,none"}, "Did you mean light"),
        ({"candidates": "none,missing.toml"}, "missing.toml"),
        ({"search": "momentum"}, "augment"),
        ({"keep": 1}, "greater than or equal to 2"),
        ({"fractoin": 0.5}, "Did you mean fraction"),
        ({"split.val": 0.0, "split": "ignore"}, "no labelled validation image"),
    ],
)
def test_bad_settings(arrows: Path, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises((UsageError, DataError), match=message):
        anmok.tune(arrows, out=tmp_path / "search", **SHORT | settings)
    assert not (tmp_path / "search").exists()


def test_the_training_s_own_policy_is_a_candidate(arrows: Path, tmp_path: Path, scripted: Scores) -> None:
    ran: list[Task] = []
    scripted({"none": 0.7, "light": 0.6}, ran)
    anmok.tune(arrows, out=tmp_path / "search", candidates="light", augment="none", **SHORT)
    assert [task.candidate for task in ran if task.rung == 1] == ["none", "light"]
    with pytest.raises(UsageError, match="no search here"):
        Tuning(tmp_path)


def test_the_command_prints_the_table_and_the_choice(
    digits: Path, tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = "--search augment --candidates none,randaugment:n=1,m=5 --minutes 0.5 --rungs 1 --model lenet"
    more, out = "--image-size 16 --plan none --threads 1", tmp_path / "search"
    main(["tune", str(digits), *flags.split(), *more.split(), "--out", str(out)])
    said = capsys.readouterr().out
    for text in ("candidate", "95 % interval", "Chosen: ", f"{out}/halving.png", f"--config {out}/best.toml"):
        assert text in said
    assert {t.candidate for t in Tuning(out).trials} == {"none", "randaugment:n=1,m=5"}
    main(["tune", "--resume", str(out)])
    assert capsys.readouterr().out.count("Chosen: ") == 1
