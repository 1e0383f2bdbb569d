"""What may be fitted on, and folds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_predictions import made, made_labels

from anmok.core.errors import DataError
from anmok.evaluate.fitting import fitting_rows, folds


def test_one_row_of_the_test_split_is_enough_to_refuse() -> None:
    p = replace(made(4, split=None), split=["val", "val", "test", "val"])
    with pytest.raises(DataError, match=r"1 of 4 rows are of the test split, on which a threshold") as e:
        fitting_rows(p)
    assert (e.value.code, e.value.exit_code) == ("test-split", 3)


def test_validation_and_unmarked_rows_are_taken() -> None:
    assert len(fitting_rows(made(5)).ids) == 5
    assert len(fitting_rows(made(5, split=None)).ids) == 5
    p = made(5)
    p.probs[0] = np.nan
    assert fitting_rows(p).ids == ["i1", "i2", "i3", "i4"]
    with pytest.raises(DataError, match="no row can be scored"):
        fitting_rows(replace(p, targets=None))


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 60), k=st.integers(1, 4), parts=st.integers(2, 5), seed=st.integers(0, 99))
def test_folds_are_even_in_every_class(n: int, k: int, parts: int, seed: int) -> None:
    targets = np.random.default_rng(seed).integers(0, k, n)
    got = folds(targets, parts, seed)
    sizes = np.bincount(got, minlength=parts)
    assert sizes.max() - sizes.min() <= 1
    for c in range(k):
        of = np.bincount(got[targets == c], minlength=parts)
        assert of.max() - of.min() <= 1
    assert (got == folds(targets, parts, seed)).all()


def test_folds_of_label_sets() -> None:
    p = made_labels(80, 2)
    got = folds(p.targets > 0.5, 4, 0)
    assert np.bincount(got).tolist() == [20] * 4
