"""The bootstrap on cells, sums and moments against images drawn one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.evaluate import confusion as cm
from anmok.evaluate import resampling
from anmok.evaluate.resampling import resample_cells, resample_sums


def test_drawing_cells_is_drawing_images_within_their_class() -> None:
    """Mean and spread of the multinomial draws agree with images drawn one by one."""
    rng = np.random.default_rng(0)
    targets = np.sort(rng.integers(0, 4, 300))
    called = np.where(rng.random(300) < 0.7, targets, rng.integers(0, 4, 300))
    matrix = cm.confusion_counts(targets, called, 5)  # the fifth class has neither images nor predictions
    costs = rng.random((5, 5))
    cells, (spent,) = resample_cells(matrix, np.random.default_rng(1), 3000, (costs,))
    assert (cells.support == matrix.sum(axis=1)).all()
    assert (cells.predicted.sum(axis=1) == 300).all()
    assert (cells.tp <= np.minimum(cells.support, cells.predicted)).all()
    assert (cells.tp[:, 4] == 0).all()
    quick = cm.macro(cm.f1(cells))
    start, size = np.searchsorted(targets, targets), np.bincount(targets)[targets]
    plain, plain_spent = [], []
    for _ in range(3000):
        index = start + (rng.random(300) * size).astype(int)
        matrix_of = np.bincount(targets[index] * 5 + called[index], minlength=25).reshape(5, 5)
        plain.append(float(cm.macro(cm.f1(cm.counts_of(matrix_of)))))
        plain_spent.append((matrix_of * costs).sum())
    assert quick.mean() == pytest.approx(np.mean(plain), abs=0.003)
    assert quick.std() == pytest.approx(np.std(plain), rel=0.1)
    assert spent.mean() == pytest.approx(np.mean(plain_spent), rel=0.01)
    assert spent.std() == pytest.approx(np.std(plain_spent), rel=0.1)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 40), strata=st.integers(1, 5), seed=st.integers(0, 999))
def test_every_draw_has_all_its_strata(n: int, strata: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    of = rng.integers(0, strata, n)
    sums = resample_sums(np.eye(strata)[of], rng, 50, strata=of)
    assert (sums == np.bincount(of, minlength=strata)).all()
    assert (resample_sums(np.ones((n, 1)), rng, 50) == n).all()


@pytest.mark.parametrize("stratified", [False, True])
def test_sums_have_the_spread_of_a_bootstrap(stratified: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By theory n times the (within-stratum) variance; and the normal draws have the same covariance."""
    rng = np.random.default_rng(0)
    of = rng.integers(0, 3, 400)
    features = np.column_stack([rng.normal(size=400) + of, rng.exponential(size=400), of])
    centred = features - features.mean(axis=0)
    if stratified:
        centred = features - np.array([features[of == c].mean(axis=0) for c in range(3)])[of]
    want = centred.T @ centred
    scale = np.sqrt(np.outer(np.diag(want), np.diag(want))) + 1e-9
    for most in (1000, 100):
        monkeypatch.setattr(resampling, "MOST_ROWS", most)
        sums = resample_sums(features, np.random.default_rng(1), 6000, strata=of if stratified else None)
        np.testing.assert_allclose(sums.mean(axis=0), features.sum(axis=0), atol=1.5)
        np.testing.assert_allclose(np.cov(sums.T) / scale, want / scale, atol=0.07)


def test_groups_are_drawn_whole() -> None:
    """Two groups of ten equal images: a draw's mean is that of two, one or the other."""
    groups = np.repeat([0, 1], 10)
    means = resample_sums(groups[:, None].astype(float), np.random.default_rng(0), 500, groups=groups)[:, 0] / 20
    assert set(np.round(means, 9)) == {0.0, 0.5, 1.0}
    assert np.mean(means == 0.5) == pytest.approx(0.5, abs=0.08)
