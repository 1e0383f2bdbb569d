"""`anmok auto`: who takes part, who is trained to the end, on what; and its defaults."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.core.config import resolve
from anmok.core.errors import UsageError
from anmok.stages.auto_candidates import (
    Candidate,
    build_candidates,
    image_side,
    load_candidates,
    save_candidates,
)
from anmok.stages.auto_diary import Diary, account
from anmok.stages.auto_final import finalists
from anmok.stages.auto_rungs import PASSES, fast_enough, images_for
from anmok.stages.auto_settings import AutoTree
from anmok.stages.config import TrainConfig
from anmok.stages.defaults import HEAD_LR, WHOLE
from anmok.stages.tune_rungs import LEAST_IMAGES, Cost, Trial

pytest.importorskip("torch")


def trial(name: str, score: float | None, rung: int = 2) -> Trial:
    return Trial(rung, name, 100, 3, 3, 1.0, "accuracy", score, None, None, 1.0, "" if score is not None else "no")


def test_named_candidates_keep_what_the_user_set_and_get_the_rest() -> None:
    config = resolve(AutoTree, {"candidates": "lenet,speednet_small", "batch_size": 32, "optim": {"lr": 0.5}})
    found = build_candidates(config, "multiclass", 32.0)
    assert [c.name for c in found] == ["lenet", "speednet_small"]
    for candidate in found:
        settings = candidate.config
        assert (settings.optim.name, settings.optim.lr, settings.batch_size) == ("muon", 0.5, 32)
        assert settings.preprocess.image_size == 32
        assert settings.augment.policy == "none"
        assert settings.minutes is None
        assert settings.epochs is None


def test_a_head_has_its_own_rate_and_several_labels_keep_pictures_whole() -> None:
    layer = {"candidates": "lenet", "weights": "some.safetensors"}
    head, full = build_candidates(resolve(AutoTree, layer), "multilabel", 100.0)
    assert (head.config.model.adapt, head.config.optim.lr) == ("head", HEAD_LR)
    assert (full.config.model.adapt, full.config.optim.lr) == ("full", None)
    photos = build_candidates(resolve(AutoTree, {"candidates": "lenet"}), "multilabel", 100.0)[0]
    for candidate in (head, full, photos):
        augment = candidate.config.augment
        assert {name: getattr(augment, name) for name in WHOLE} == WHOLE
    assert photos.config.augment.brightness == 0.3
    assert build_candidates(resolve(AutoTree, layer), "multiclass", 100.0)[0].config.augment.scale is None
    given = resolve(AutoTree, layer | {"optim": {"lr": 0.5}, "augment": {"policy": "light"}})
    head = build_candidates(given, "multilabel", 100.0)[0]
    assert (head.config.optim.lr, head.config.augment.translate) == (0.5, None)


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(UsageError):
        build_candidates(resolve(AutoTree, {"candidates": "speednett"}), "multiclass", 32.0)


def test_candidates_come_back_as_they_were_saved(tmp_path: Path) -> None:
    found = build_candidates(resolve(AutoTree, {"candidates": "lenet,speednet"}), "multiclass", 100.0)
    save_candidates(tmp_path, found)
    again = load_candidates(tmp_path)
    assert [(c.name, c.config.model_dump()) for c in again] == [(c.name, c.config.model_dump()) for c in found]


@given(st.floats(1, 2000))
def test_images_are_seen_at_one_of_three_sizes(median: float) -> None:
    assert image_side(median) == (32 if median <= 40 else 64 if median <= 88 else 128)


@given(st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=5), st.floats(10, 1000))
def test_every_candidate_has_its_passes_of_a_rung(images_s: list[float], seconds: float) -> None:
    n = images_for(seconds, [Cost(1.0, image, 1.0) for image in images_s])
    assert n == LEAST_IMAGES or all(2.0 + PASSES * n * image <= seconds + 1e-6 for image in images_s)


def test_the_slow_are_left_out_but_somebody_stays() -> None:
    costs = {"fast": Cost(0, 0.001, 0), "slow": Cost(0, 1.0, 0)}
    assert fast_enough(costs, 1000, 100) == ["fast"]  # 100 epochs against a tenth of one
    assert fast_enough(costs, 1000, 0.1) == ["fast"]  # nobody has three


def test_more_are_trained_where_the_time_does_for_40_epochs_each() -> None:
    names = ("a", "b", "c", "d")
    candidates = [Candidate(name, TrainConfig()) for name in names]
    costs = dict.fromkeys(names, Cost(0.0, 0.01, 0.0))  # an epoch of 100 images is a second
    trials = [trial("a", 0.9), trial("b", 0.88), trial("c", None), trial("d", 0.5)]
    for seconds, wanted in ((30, ["a"]), (81, ["a", "b"]), (1000, ["a", "b"])):  # d is too far behind, c failed
        chosen = finalists(trials, candidates, costs, 100, seconds, 3)
        assert [one.candidate.name for one in chosen] == wanted
    assert len(finalists(trials, candidates, costs, 100, 1000, 1)) == 1


def test_a_diary_goes_on_where_it_was_and_accounts_for_its_time(tmp_path: Path) -> None:
    diary = Diary(tmp_path, 1.0, 0.0, lambda: False)
    with diary.step("look") as found:
        found["images"] = 3
    with pytest.raises(ZeroDivisionError), diary.step("split"):
        raise ZeroDivisionError
    diary.events.close()
    again = Diary(tmp_path, 1.0, 0.0, lambda: False)
    again.events.close()
    event = again.of("look", images=3)
    assert event is not None
    assert again.of("split") is None
    assert account(tmp_path) == [("look", event["seconds"])]
