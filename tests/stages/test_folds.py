from __future__ import annotations

import collections
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.data.table import Table
from anmok.stages.folds import assign_folds


def table_of(labels: list, hashes: list[str] | None = None, group: list[str | None] | None = None) -> Table:
    n = len(labels)
    several = isinstance(labels[0], list)
    names = sorted({name for label in labels for name in label} if several else set(labels))
    rows = pl.DataFrame(
        {
            "id": [f"{i:04d}.png" for i in range(n)], "image": [f"{i:04d}.png" for i in range(n)], "label": labels,
            "split": [None] * n, "group": group or [None] * n, "hash": hashes or [f"{i:032x}" for i in range(n)],
        },
        schema_overrides={"split": pl.String, "group": pl.String},
    )  # fmt: skip
    return Table(rows, Path(), tuple(names), "multilabel" if several else "multiclass")


@given(st.lists(st.integers(0, 3), min_size=20, max_size=120), st.integers(2, 6), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_copies_share_a_fold_classes_are_spread_and_rare_ones_only_train(
    codes: list[int], folds: int, seed: int
) -> None:
    labels = [f"c{code}" for code in codes]
    hashes = [f"{i // 2 if i < 10 else i}" for i in range(len(labels))]  # five pairs of copies
    plan = assign_folds(table_of(labels, hashes), folds, seed)
    for i in range(0, 10, 2):
        assert plan.fold[i] == plan.fold[i + 1]
    counts = collections.Counter(labels)
    for name, is_rare in zip(sorted(counts), plan.rare, strict=True):
        mine = plan.fold[[label == name for label in labels]]
        assert is_rare == (counts[name] < folds)
        if is_rare:
            assert (mine == -1).all()
    alone = [i for i in range(10, len(labels)) if not plan.rare[sorted(counts).index(labels[i])]]
    assert plan.fold.max(initial=-1) < folds
    spread = np.bincount(plan.fold[alone][plan.fold[alone] >= 0], minlength=folds)
    assert np.ptp(spread) <= 12  # ten copies may fill one fold and push the others


def test_every_image_of_its_own_has_a_fold_of_equal_size_and_class_share() -> None:
    plan = assign_folds(table_of(["a"] * 50 + ["b"] * 25), 5, 3)
    assert np.bincount(plan.fold).tolist() == [15] * 5
    assert np.bincount(plan.fold[:50]).tolist() == [10] * 5
    assert not plan.rare.any()


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does() -> None:
    table = table_of(["a", "b", "c"] * 20)
    plan = assign_folds(table, 4, 1)
    order = np.random.default_rng(0).permutation(60)
    np.testing.assert_array_equal(assign_folds(table.take(order), 4, 1).fold, plan.fold[order])
    assert (assign_folds(table, 4, 2).fold != plan.fold).any()


def test_groups_of_the_table_and_of_an_audit_stay_together() -> None:
    own: list[str | None] = ["g"] * 4 + [None] * 36
    near = [None] * 3 + ["n"] * 5 + [None] * 32
    plan = assign_folds(table_of(["a", "b"] * 20, group=own), 5, 0, groups=near)
    assert len(set(plan.fold[:8].tolist())) == 1


def test_what_hangs_together_with_a_rare_class_only_trains() -> None:
    labels = ["a"] * 20 + ["b"] * 20 + ["rare"] * 2
    hashes = [str(i) for i in range(42)]
    hashes[41] = "0"  # the same image as a rare one and as an "a"
    plan = assign_folds(table_of(labels, hashes), 5, 0)
    assert plan.fold[[0, 40, 41]].tolist() == [-1, -1, -1]
    assert (plan.fold[1:40] >= 0).all()
    assert plan.rare.tolist() == [False, False, True]


def test_multilabel_rare_by_presence_or_absence() -> None:
    labels = [["a"] + (["b"] if i % 3 == 0 else []) + (["c"] if i == 7 or i == 9 else []) for i in range(30)]
    plan = assign_folds(table_of(labels), 5, 0)
    assert plan.rare.tolist() == [True, False, True]
    assert (plan.fold >= 0).all()
    assert np.bincount(plan.fold[::3], minlength=5).tolist() == [2] * 5


def test_fewer_images_than_folds_leaves_nothing_to_judge() -> None:
    plan = assign_folds(table_of(["a", "b", "a"]), 5, 0)
    assert plan.fold.tolist() == [-1, -1, -1]
    assert plan.rare.all()
