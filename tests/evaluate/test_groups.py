"""Groups: their codes, sums, and what shares are worth when images repeat one another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.evaluate.groups import by_group, class_tables, class_worth, group_codes, images_worth, resample_groups


def test_codes() -> None:
    codes = group_codes(["a", "b", "c", "d", "g"], {"a": "g", "c": "g", "d": ""})
    assert codes is not None
    assert codes.tolist() == [0, 1, 0, 2, 3]  # the image called g is not in the group g
    assert group_codes(["a", "b"], {"a": "x", "b": "y"}) is None
    assert group_codes(["a"], None) is None


@settings(max_examples=25, deadline=None)
@given(n=st.integers(4, 60), copies=st.integers(2, 6), seed=st.integers(0, 999))
def test_copies_are_worth_one_image(n: int, copies: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    right = rng.random(n) < 0.7
    right[:2] = [True, False]
    codes = np.repeat(np.arange(n), copies)
    got = images_worth(np.repeat(right, copies), codes)
    assert got == pytest.approx(n - 1, rel=1e-9)  # the ratio estimate's variance has G - 1 in it
    assert images_worth(np.ones(n * copies, bool), codes) == n


def test_independent_images_in_groups_are_worth_themselves() -> None:
    rng = np.random.default_rng(0)
    worths = [images_worth(rng.random(1000) < 0.8, np.repeat(np.arange(250), 4)) for _ in range(30)]
    assert np.mean(worths) > 880
    values = rng.random(1000)
    assert images_worth(values, None) == 1000
    assert images_worth(values, np.repeat(np.arange(250), 4)) > 800


@pytest.mark.parametrize("multi", [False, True])
def test_tables_and_their_worth(multi: bool) -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 20, 200)
    truth, called = rng.integers(0, 3, 200), rng.integers(0, 3, 200)
    one_truth, one_called = np.eye(3, dtype=bool)[truth], np.eye(3, dtype=bool)[called]
    tables = class_tables(groups, one_truth if multi else truth, one_called if multi else called, 3)
    for found, dense in zip(tables, (one_truth & one_called, one_truth, one_called), strict=True):
        want = np.array([dense[groups == g].sum(axis=0) for g in range(20)])
        np.testing.assert_array_equal(found.toarray(), want)
    sizes = by_group(np.ones(200), groups)
    worth = class_worth(tables, sizes)
    for name, most in (
        ("recall", one_truth.sum(axis=0)),
        ("precision", one_called.sum(axis=0)),
        ("specificity", 200 - one_truth.sum(axis=0)),
    ):
        assert (worth[name] <= most).all()
        assert (worth[name] > 10).all()
    drawn = resample_groups(tables, sizes, rng, 400)
    np.testing.assert_allclose(drawn.support.sum(axis=1), 200, rtol=1e-9)
    np.testing.assert_allclose(drawn.support.mean(axis=0), one_truth.sum(axis=0), rtol=0.05)
