from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict, permutation_test_score

from anmok.audit.config import AuditConfig
from anmok.audit.measure import MEASURES
from anmok.audit.shortcuts import (
    FOLDS,
    MADE,
    PERMUTATIONS,
    SHOWN,
    as_dicts,
    binned,
    findings,
    fold_counts,
    holm,
    one_against_rest,
    shortcuts,
)  # fmt: skip
from anmok.data.table import Table


class OneClass(ClassifierMixin, BaseEstimator):
    """The same rule as a classifier of scikit-learn: a bin with a larger share of `label` than of the others is it."""

    def __init__(self, label: int = 0):
        self.label = label

    def fit(self, x: np.ndarray, y: np.ndarray) -> OneClass:
        self.classes_ = np.array([False, True])
        bins, names = x[:, 0].astype(int), np.unique(y)
        share = {c: np.bincount(bins[y == c], minlength=100) / (y == c).sum() for c in names}
        others = np.mean([share[c] for c in names if c != self.label], axis=0)
        self.chosen_ = share[self.label] > others + 1e-12
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.chosen_[x[:, 0].astype(int)]


def told(bins: np.ndarray, folds: np.ndarray, targets: np.ndarray) -> list[float]:
    """The balanced accuracy of each class against the rest, the others weighing the same, by scikit-learn."""
    n = np.bincount(targets)
    out = []
    for label in range(len(n)):
        taken = cross_val_predict(OneClass(label), bins[:, None], targets, cv=PredefinedSplit(folds))
        out.append(balanced_accuracy_score(targets == label, taken, sample_weight=1 / n[targets]))
    return out


def example(seed: int, n: int = 240, k: int = 3, effect: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(bins, folds, targets)"""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, k, n)
    targets[:k] = np.arange(k)
    bins = binned(rng.normal(targets * effect, 1))
    return bins, rng.permutation(n) % FOLDS, targets


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 5), st.floats(0, 3))
def test_the_score_is_that_of_scikit_learn(seed: int, k: int, effect: float) -> None:
    bins, folds, targets = example(seed, k=k, effect=effect)
    found = one_against_rest(fold_counts(bins, folds, targets[None]))[0]
    assert found.tolist() == pytest.approx(told(bins, folds, targets))
    if k == 2:
        assert found[0] == pytest.approx(found[1], abs=0.1)  # but for bins whose shares are equal


def test_the_p_value_is_that_of_scikit_learn() -> None:
    bins, folds, targets = example(4, n=90, effect=0.27)

    def best(_: OneClass, x: np.ndarray, y: np.ndarray) -> float:
        return max(told(x[:, 0].astype(int), folds, y))

    everything = [(np.arange(90), np.arange(90))]
    score, _, theirs = permutation_test_score(
        OneClass(), bins[:, None], targets, scoring=best, cv=everything, n_permutations=150, random_state=0
    )
    dealt = np.random.default_rng(1).permuted(np.tile(targets, (4000, 1)), axis=1)
    null = one_against_rest(fold_counts(bins, folds, dealt)).max(axis=1)
    assert one_against_rest(fold_counts(bins, folds, targets[None])).max() == pytest.approx(score)
    ours = (1 + (null >= score - 1e-12).sum()) / 4001
    assert 0.01 < ours < 0.6
    assert ours == pytest.approx(theirs, abs=4 * np.sqrt(ours * (1 - ours) / 150))


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_by_its_definition(p: list[float]) -> None:
    corrected = holm(p)
    for i, value in enumerate(p):
        smaller = sorted((q, j) for j, q in enumerate(p) if (q, j) <= (value, i))
        steps = [min(1, q * (len(p) - rank)) for rank, (q, _) in enumerate(smaller)]
        assert corrected[i] == pytest.approx(max(steps))


def test_bins_by_hand() -> None:
    nan = float("nan")
    assert binned(np.array([3.0] * 50 + [1.0] * 50 + [nan] * 2)).tolist() == [1] * 50 + [0] * 50 + [2] * 2
    assert binned(np.full(100, 7.0)).tolist() == [0] * 100
    assert binned(np.full(100, nan)).tolist() == [0] * 100
    counts = np.bincount(binned(np.random.default_rng(0).random(1600)))
    assert len(counts) == 16
    assert counts.min() >= 95
    many_zeros = binned(np.r_[np.zeros(900), np.arange(1, 101)])
    assert len(np.unique(many_zeros[:900])) == 1
    assert many_zeros[900] != many_zeros[0]


def images_of(n: int, **columns: object) -> pl.DataFrame:
    """Measurements that tell nothing, and some that are given."""
    rng = np.random.default_rng(7)
    data: dict[str, object] = {name: rng.random(n) for name in SHOWN}
    data |= {"width": [64] * n, "height": [48] * n, "bytes": rng.integers(1000, 9000, n), "format": ["jpeg"] * n,
             "jpeg_quality": [80] * n, "mtime": [1e9] * n, "exif": [False] * n, "icc": [False] * n}  # fmt: skip
    assert {*SHOWN, *MADE} - {"pixels", "aspect"} <= set(MEASURES)
    return pl.DataFrame({"id": [str(i) for i in range(n)]} | data | columns)


def table_of(labels: list) -> Table:
    ids = [str(i) for i in range(len(labels))]
    classes = tuple(sorted({name for name in labels if isinstance(name, str)}))
    return Table(rows=pl.DataFrame({"id": ids, "image": ids, "label": labels}), root=Path(), classes=classes)


LABELS = [("cat", "dog", "owl")[i % 3] for i in range(300)]


def test_nothing_is_found_where_nothing_is() -> None:
    tested = shortcuts(images_of(300), table_of(LABELS))
    assert {found.property for found in tested} == {*SHOWN, "bytes"}
    assert all(found.p_corrected > 0.05 for found in tested)
    assert not list(findings(tested, AuditConfig()))


def test_false_alarms_are_as_rare_as_the_correction_promises() -> None:
    alarms = 0
    for seed in range(60):
        labels = np.random.default_rng(seed).permutation(LABELS).tolist()
        alarms += any(found.p_corrected <= 0.05 for found in shortcuts(images_of(300), table_of(labels)))
    assert alarms <= 8  # 3 expected of 60; 8 or more in one of a hundred such tests


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("brightness", {"brightness": [0.2 if label == "owl" else 0.6 + i % 7 / 50 for i, label in enumerate(LABELS)]}),
        ("jpeg_quality", {"jpeg_quality": [95 if label == "owl" else 80 for label in LABELS]}),
        ("jpeg_quality", {"jpeg_quality": [None if label == "owl" else 80 for label in LABELS]}),
        ("format", {"format": ["png" if label == "owl" else "jpeg" for label in LABELS]}),
        ("icc", {"icc": [label == "owl" for label in LABELS]}),
        ("exif", {"exif": [None if label == "owl" else True for label in LABELS]}),
        ("mtime", {"mtime": [1e9 + i * 60 + 1e6 * (label == "owl") for i, label in enumerate(LABELS)]}),
        ("aspect", {"width": [48 if label == "owl" else 64 for label in LABELS],
                    "height": [64 if label == "owl" else 48 for label in LABELS]}),
    ],
)  # fmt: skip
def test_a_planted_shortcut_is_found_and_told_as_a_question(name: str, columns: dict) -> None:
    tested = shortcuts(images_of(300, **columns), table_of(LABELS))
    assert tested[0].property == name
    assert tested[0].label == "owl"
    assert 0.5 < tested[0].chance < 0.6
    assert tested[0].p == 1 / (1 + PERMUTATIONS)
    found = list(findings(tested, AuditConfig()))
    assert [f.kind for f in found] == ["shortcut"]
    assert found[0].score == tested[0].effect() >= 0.95
    assert found[0].evidence.startswith(f"{name} alone tells owl from the rest")
    assert found[0].evidence.endswith("?")
    assert not list(findings(tested, AuditConfig(shortcut_p=0.001)))
    told = as_dicts(tested)[0]
    assert {"property", "score", "chance", "p", "p_corrected"} <= set(told)


def test_one_class_of_many_is_enough() -> None:
    labels = [f"class {i % 40:02d}" for i in range(2000)]
    images = images_of(2000, bytes=[90_000 + i if i % 40 == 3 else 1000 + i for i in range(2000)])
    found = list(findings(shortcuts(images, table_of(labels)), AuditConfig()))
    assert [f.evidence.split(" from")[0] for f in found] == ["bytes alone tells class 03"]


def test_a_weak_one_is_tested_and_not_reported() -> None:
    rng = np.random.default_rng(0)
    weak = [rng.normal(0.5 + 0.08 * (label == "owl"), 0.1) for label in LABELS]
    tested = shortcuts(images_of(300, brightness=weak), table_of(LABELS))
    assert tested[0].property == "brightness"
    assert tested[0].p_corrected <= 0.05
    assert not list(findings(tested, AuditConfig()))
    assert list(findings(tested, AuditConfig(shortcut=0.1)))


def test_the_order_of_a_copy_is_no_file_time() -> None:
    times = [1e9 + i / 1000 for i in range(300)]
    tested = shortcuts(images_of(300, mtime=times), table_of(sorted(LABELS)))
    assert "mtime" not in {found.property for found in tested}


@pytest.mark.parametrize(
    "labels",
    [
        [None] * 40, ["cat"] * 40, [["cat", "dog"]] * 40, [["cat"], None] * 20, [f"{i}" for i in range(40)],
        ["cat"] * 37 + ["dog"] * 3,
    ],
)  # fmt: skip
def test_sets_with_nothing_to_test(labels: list) -> None:
    columns = {"label": pl.Series(labels, dtype=pl.List(pl.String) if isinstance(labels[0], list) else pl.String)}
    table = table_of(labels)
    table = Table(rows=table.rows.with_columns(**columns), root=Path(), classes=table.classes)
    assert shortcuts(images_of(40), table) == []


def test_unlabelled_and_unreadable_images_are_left_out() -> None:
    labels = [None if i % 4 == 0 else label for i, label in enumerate(LABELS)]
    dark = [None if i % 5 == 0 else 0.9 * (label == "owl") for i, label in enumerate(LABELS)]
    tested = shortcuts(images_of(300, brightness=dark), table_of(labels))
    assert tested[0].property == "brightness"
    assert tested[0].effect() == pytest.approx(1)


def test_it_is_the_same_every_time_and_a_sample_of_large_sets() -> None:
    labels = [("cat", "dog")[i % 2] for i in range(30_000)]
    images, table = images_of(30_000, icc=[i % 2 == 0 for i in range(30_000)]), table_of(labels)
    start = time.process_time()
    first = shortcuts(images, table)
    assert time.process_time() - start < 5
    assert first == shortcuts(images, table)
    assert (first[0].property, first[0].score) == ("icc", 1.0)
