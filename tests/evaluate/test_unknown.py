"""Scores of strangeness by hand and against torch-free references; alarms on known images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from anmok.core.errors import DataError, UsageError
from anmok.evaluate.unknown import UnknownRule, alarm_above, alarms, energy, neighbour_distance


def test_energy_by_hand() -> None:
    z = np.array([[0.0, np.log(3)], [1000.0, -1000.0]])
    np.testing.assert_allclose(energy(z), [-np.log(4), -1000])
    np.testing.assert_allclose(energy(z[:1], 2.0), [-2 * np.log(1 + np.sqrt(3))])
    with pytest.raises(UsageError, match="the energy needs logits"):
        energy(np.array([[0.5, 0.5]]))


@settings(max_examples=20, deadline=None)
@given(m=st.integers(3, 20), n=st.integers(1, 10), k=st.integers(1, 3), seed=st.integers(0, 99))
def test_distances_are_those_of_unit_vectors(m: int, n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    known, asked = rng.normal(size=(m, 4)), rng.normal(size=(n, 4))
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (known, asked)]
    want = np.sort(cdist(unit[1], unit[0]), axis=1)[:, k - 1]
    np.testing.assert_allclose(neighbour_distance(known, asked, k), want, atol=1e-3)


def test_an_image_is_not_its_own_neighbour() -> None:
    known = np.array([[1.0, 0], [0, 1], [-1, 0]])
    np.testing.assert_allclose(neighbour_distance(known, known, 1, same=True), np.sqrt([2, 2, 2]), atol=1e-5)


def test_false_alarms_on_fresh_images() -> None:
    """On average over validation sets no more than the share, and hardly less."""
    rng = np.random.default_rng(0)
    rates = [(rng.normal(size=2000) > alarm_above(rng.normal(size=99), 0.05)).mean() for _ in range(300)]
    assert np.mean(rates) == pytest.approx(0.05, abs=0.006)
    assert alarm_above(np.arange(19.0), 0.05) == 18


def test_what_a_rule_does() -> None:
    rng = np.random.default_rng(0)
    known, unknown = rng.normal(size=400), rng.normal(size=300) + 3
    rule = UnknownRule("energy", alarm_above(known, 0.05), 0.05)
    got = alarms(rule, rng.normal(size=1000), unknown)
    assert got["false_alarms"]["low"] < 0.07
    assert got["found"]["value"] > 0.8
    assert got["roc_auc"]["value"] > 0.95
    assert alarms(rule, known)["found"]["reason"] == "no unknown image at hand"
    assert rule.to_dict()["score"] == "energy"


def test_too_few() -> None:
    with pytest.raises(DataError, match=r"18 known images are too few for 0\.05 false alarms; 19 are needed"):
        alarm_above(np.zeros(18), 0.05)
    with pytest.raises(DataError, match="2 known images have no 3th neighbour"):
        neighbour_distance(np.ones((2, 3)), np.ones((1, 3)), 3)
    with pytest.raises(DataError, match="have 2 numbers, the known ones 3"):
        neighbour_distance(np.ones((5, 3)), np.ones((1, 2)), 1)
    with pytest.raises(UsageError, match="between 0 and 1"):
        alarm_above(np.zeros(5), 0)
