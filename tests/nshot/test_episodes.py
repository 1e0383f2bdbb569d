"""Episodes: what is drawn, that shots are paired, and that the interval is Student's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from anmok.core.errors import DataError, UsageError
from anmok.nshot.episodes import accuracies, answers, draw_episodes, mean_interval
from anmok.nshot.fewshot import METHODS


@given(st.integers(2, 5), st.integers(1, 4), st.integers(1, 20), st.integers(0, 5))
def test_nothing_stands_twice_in_an_episode(ways: int, shots: int, queries: int, seed: int) -> None:
    targets = np.random.default_rng(seed).permutation(np.repeat([0, 1, 2, 4, 7, -1], [9, 12, 5, 30, 8, 40]))
    drawn = draw_episodes(targets, ways, shots, queries, 12, seed)
    assert drawn.query.shape == (12, ways, min(queries, 5 - shots))
    for classes, support, query in zip(*drawn, strict=True):
        assert len(set(classes)) == ways
        rows = np.concatenate([support, query], axis=1)
        assert len(np.unique(rows)) == rows.size
        assert (targets[rows] == classes[:, None]).all()


def test_the_draw_is_the_seeds_and_every_class_comes() -> None:
    targets = np.repeat(np.arange(6), 10)
    some, more = draw_episodes(targets, 3, 2, 4, 20, 7), draw_episodes(targets, 3, 2, 4, 60, 7)
    for a, b in zip(some, more.part(slice(0, 20)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (draw_episodes(targets, 3, 2, 4, 20, 8).query != some.query).any()
    assert set(np.unique(more.classes)) == set(range(6))
    assert len(np.unique(np.concatenate([more.support.ravel(), more.query.ravel()]))) == 60


def test_answers_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    targets = np.repeat(np.arange(5), 20)
    vectors = (np.eye(5, 8)[targets] + 0.6 * rng.normal(size=(100, 8))).astype(np.float32)
    drawn = draw_episodes(targets, 4, 3, 6, 30, 0)
    for shots in (1, 3):
        given = answers(vectors, drawn, shots, "prototype", metric="euclidean")
        for e in range(30):
            means = [vectors[drawn.support[e, w, :shots]].mean(axis=0) for w in range(4)]
            for w in range(4):
                far = [np.linalg.norm(vectors[drawn.query[e, w]] - m, axis=1) for m in means]
                np.testing.assert_array_equal(given[e, w], np.argmin(far, axis=0))
    right = {m: accuracies(answers(vectors, drawn, 3, m)).mean() for m in METHODS}
    assert min(right.values()) > 0.5


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    targets, vectors = np.repeat(np.arange(3), 9), rng.normal(size=(27, 5)).astype(np.float32)
    base = rng.normal(size=(27, 3)).astype(np.float32)
    drawn = draw_episodes(targets, 3, 2, 4, 11, 0)
    whole = answers(vectors, drawn, 2, "cache", base=base)
    monkeypatch.setattr("anmok.nshot.episodes.BLOCK", 1)
    np.testing.assert_array_equal(answers(vectors, drawn, 2, "cache", base=base), whole)
    alone = answers(vectors, drawn, 2, "cache", base=1000 * base)  # of each image its own logits, of its own classes
    expected = base[drawn.query[:, :, :, None], drawn.classes[:, None, None, :]].argmax(axis=-1)
    np.testing.assert_array_equal(alone, expected)


def test_accuracy_and_interval_by_hand() -> None:
    given = np.array([[[0, 0], [1, 0]], [[1, 1], [0, 0]]])
    np.testing.assert_array_equal(accuracies(given), [0.75, 0.0])
    values = np.random.default_rng(0).normal(0.5, 0.1, 40)
    low, high = stats.t.interval(0.95, 39, values.mean(), stats.sem(values))
    assert mean_interval(values) == pytest.approx({"value": values.mean(), "low": low, "high": high})
    assert mean_interval(np.array([0.4])) == {"value": 0.4}
    assert mean_interval(np.array([0.0, 1.0]))["low"] == 0


def test_errors_name_the_classes() -> None:
    targets = np.repeat([0, 1, 2], [3, 10, 2])
    with pytest.raises(DataError, match=r"유리 \(3\), metal \(2\)") as caught:
        draw_episodes(targets, 2, 3, 1, 5, 0, ["유리", "paper", "metal"])
    assert caught.value.code == "too-few"
    with pytest.raises(UsageError, match="2 to 3 ways"):
        draw_episodes(targets, 4, 1, 1, 5, 0)
