"""Predictions of several models joined by id."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_predictions import made, made_labels

from anmok.core.errors import DataError, UsageError
from anmok.evaluate.aligned import aligned, same_images


def test_rows_are_joined_by_id() -> None:
    a = made(20)
    moved = a.select(np.random.default_rng(0).permutation(20))
    _, b = same_images([a, moved])
    assert b.ids == a.ids
    np.testing.assert_array_equal(b.probs, a.probs)
    np.testing.assert_array_equal(b.targets, a.targets)


def test_an_image_one_could_not_read_counts_for_none() -> None:
    a = made(5)
    probs = a.probs.copy()
    probs[2] = np.nan
    rows = aligned([a, replace(a, probs=probs, targets=None)])
    assert [r.ids for r in rows] == [["i0", "i1", "i3", "i4"]] * 2
    np.testing.assert_array_equal(rows[1].targets, a.targets[[0, 1, 3, 4]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["c0", "c1", "x"]}, "it lacks c2; it adds x"),
        ({"classes": ["c1", "c0", "c2"]}, "the order differs"),
        ({"task": "multilabel"}, "tasks differ"),
        (
            {"ids": ["i0", "i1", "x"]},
            r"lacks 1 of the first's, such as 'i2' and has 1 that the first lacks, such as 'x'",
        ),
        ({"ids": ["i0", "i1", "i1"]}, "appears more than once"),
        ({"targets": np.array([9, 9, 9])}, "3 targets of number 2 are not the first's, such as that of 'i0'"),
    ],
)
def test_what_does_not_match(change: dict, message: str) -> None:
    a = made(3)
    with pytest.raises(DataError, match=message):
        same_images([a, replace(a, **change)])


def test_more_rows_than_the_first() -> None:
    with pytest.raises(DataError, match="has 1 that the first lacks, such as 'i3'"):
        same_images([made(4).select(np.arange(3)), made(4)])
    with pytest.raises(UsageError, match="no predictions"):
        same_images([])


def test_unknown_targets_of_labels_agree() -> None:
    a = made_labels(4)
    targets = a.targets.copy()
    targets[1] = np.nan
    p = replace(a, targets=targets)
    assert len(aligned([p, p])[0].ids) == 3
