"""Matrices of the plane against OpenCV's, NumPy's inverse, and places worked out by hand."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.augment import matrices as m
from anmok.core.errors import UsageError

SQUARE = [(0.0, 0.0), (99.0, 0.0), (99.0, 79.0), (0.0, 79.0)]
angles = st.floats(-720, 720)
places = st.tuples(st.floats(-500, 500), st.floats(-500, 500))
factors = st.floats(0.05, 20)


def moved(matrix: np.ndarray, points: object) -> np.ndarray:
    """float64[N, 2]: where the places go."""
    out = np.hstack([np.asarray(points, float), np.ones((len(points), 1))]) @ matrix.T  # type: ignore[arg-type]
    return out[:, :2] / out[:, 2:]


@st.composite
def convex(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Four points around a convex quadrilateral: the corners of a frame, each moved by under a third of it."""
    width, height = draw(st.floats(5, 3000)), draw(st.floats(5, 3000))
    shares = [draw(st.floats(-0.15, 0.3)) for _ in range(8)]
    left, top = draw(places)
    x, y = [v * width for v in shares[::2]], [v * height for v in shares[1::2]]
    corners = [(x[0], y[0]), (width - x[1], y[1]), (width - x[2], height - y[2]), (x[3], height - y[3])]
    return [(a + left, b + top) for a, b in corners]


@given(angles, places, factors)
def test_rotation_is_opencvs(degrees: float, center: tuple[float, float], scale: float) -> None:
    theirs = cv2.getRotationMatrix2D(center, degrees, scale)
    ours = m.rotation(degrees, center, scale)
    np.testing.assert_allclose(ours[:2], theirs, rtol=0, atol=2e-3)  # OpenCV's centre is float32
    assert ours[2].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("degrees", "place"), [(90, (0, -1)), (180, (-1, 0)), (270, (0, 1)), (-90, (0, 1)), (360, (1, 0))]
)
def test_quarter_turns_are_exact_and_counter_clockwise(degrees: float, place: tuple[int, int]) -> None:
    assert moved(m.rotation(degrees, (0, 0)), [(1, 0)]).tolist() == [list(place)]  # y runs down: up is −1


@pytest.mark.parametrize(
    ("matrix", "there"),
    [
        (m.translation(3, -2), [(3, -2), (4, -2), (3, -1)]),
        (m.cropping(3, -2), [(-3, 2), (-2, 2), (-3, 3)]),
        (m.scaling(2, 3, (1, 1)), [(-1, -2), (1, -2), (-1, 1)]),
        (m.shearing(0.5, 0, (0, 2)), [(-1, 0), (0, 0), (-0.5, 1)]),
        (m.shearing(0, 0.5, (2, 0)), [(0, -1), (1, -0.5), (0, 0)]),
        (m.shearing(1, 1, (0, 0)), [(0, 0), (1, 1), (1, 2)]),
        (m.hflip(10), [(9, 0), (8, 0), (9, 1)]),
        (m.vflip(10), [(0, 9), (1, 9), (0, 8)]),
        (m.resizing((10, 20), (20, 5)), [(0.5, -0.375), (2.5, -0.375), (0.5, -0.125)]),
    ],
)  # fmt: skip
def test_opencv_finds_the_same_matrix_from_where_three_places_go(
    matrix: np.ndarray, there: list[tuple[float, float]]
) -> None:
    theirs = cv2.getAffineTransform(np.array([(0, 0), (1, 0), (0, 1)], np.float32), np.array(there, np.float32))
    np.testing.assert_allclose(matrix, [*theirs, [0, 0, 1]], atol=1e-12)


@given(convex(), convex())
def test_perspective_is_opencvs_and_goes_where_it_is_told(
    source: list[tuple[float, float]], target: list[tuple[float, float]]
) -> None:
    # OpenCV takes float32: give both what it sees.
    source, target = ([tuple(p) for p in np.array(v, np.float32).tolist()] for v in (source, target))
    ours = m.perspective(source, target)
    np.testing.assert_allclose(moved(ours, source), target, atol=1e-6)
    theirs = cv2.getPerspectiveTransform(np.array(source, np.float32), np.array(target, np.float32))
    inside = np.mean(source, 0) + 0.5 * (np.array(source) - np.mean(source, 0))
    extent = np.ptp(target, 0).max() + np.abs(target).max()  # five digits are right where its sides are short
    np.testing.assert_allclose(moved(ours, inside), moved(theirs, inside), rtol=0, atol=1e-4 * extent)
    assert (np.hstack([source, np.ones((4, 1))]) @ ours[2] > 0).all()


def test_perspective_of_a_frame_is_opencvs_number_for_number() -> None:
    target = [(20, 10), (70, 5), (90, 55), (8, 75)]
    theirs = cv2.getPerspectiveTransform(np.array(SQUARE, np.float32), np.array(target, np.float32))
    np.testing.assert_allclose(m.perspective(SQUARE, target), theirs, rtol=1e-9, atol=1e-9)


def test_perspective_with_the_origin_on_its_horizon() -> None:
    source = [(-1.0, 1.0), (1.0, 1.0), (2.0, 2.0), (-2.0, 2.0)]  # the sides meet at (0, 0)
    matrix = m.perspective(source, [(0, 0), (1, 0), (1, 1), (0, 1)])
    np.testing.assert_allclose(moved(matrix, source), [(0, 0), (1, 0), (1, 1), (0, 1)], atol=1e-12)
    assert abs(matrix[2, 2]) < 1e-12


def test_perspective_may_mirror() -> None:
    mirrored = [SQUARE[k] for k in (1, 0, 3, 2)]
    np.testing.assert_allclose(m.perspective(SQUARE, mirrored), m.hflip(100), atol=1e-12)


@given(angles, places, factors, convex())
def test_compose_applies_the_first_first_and_inverse_undoes(
    degrees: float, center: tuple[float, float], factor: float, corners: list[tuple[float, float]]
) -> None:
    steps = [m.rotation(degrees, center, factor), m.shearing(0.3, -0.2, center), m.perspective(corners, SQUARE)]
    inside = np.mean(corners, 0)[None]
    back = [m.inverse(step) for step in reversed(steps)]
    before = moved(m.compose(*back), moved(m.compose(*steps), inside))
    np.testing.assert_allclose(before, inside, rtol=1e-5, atol=1e-5)
    for step in steps:
        np.testing.assert_allclose(m.inverse(step), np.linalg.inv(step), rtol=1e-6, atol=1e-9 * np.abs(step).max())
        np.testing.assert_allclose(m.compose(step, m.inverse(step)), np.eye(3), atol=1e-6)
    there = moved(steps[1], moved(steps[0], inside))
    np.testing.assert_allclose(moved(m.compose(*steps[:2]), inside), there, rtol=1e-9, atol=1e-6)


def test_composing_nothing_changes_nothing() -> None:
    assert m.compose().tolist() == np.eye(3).tolist()


def test_resizing_in_two_steps_is_one() -> None:
    both = m.compose(m.resizing((37, 21), (80, 90)), m.resizing((80, 90), (5, 6)))
    np.testing.assert_allclose(both, m.resizing((37, 21), (5, 6)), atol=1e-12)


def test_an_affine_inverse_does_not_mind_how_far_it_moves() -> None:
    far = m.translation(1e9, -1e9)
    assert m.inverse(far).tolist() == m.translation(-1e9, 1e9).tolist()


@pytest.mark.parametrize(
    "points",
    [
        [(0, 0), (1, 0), (2, 0), (0, 1)],  # three on a line
        [(0, 0), (1, 1), (1, 0), (0, 1)],  # crossing sides
        [(0, 0), (2, 0), (0.4, 0.4), (0, 2)],  # a corner that points inwards
        [(0, 0), (0, 0), (1, 1), (0, 1)],
        [(5, 5)] * 4,
        [(0, 0), (1, 0), (1, 1)],
        [(0, 0), (1, 0), (1, 1), (0, math.nan)],
        [(0, 0), (1, 0), (1, math.inf), (0, 1)],
        [0, 1, 2, 3],
        None,
    ],
)
def test_points_that_no_perspective_has(points: list[tuple[float, float]]) -> None:
    with pytest.raises(UsageError, match="source"):
        m.perspective(points, SQUARE)
    with pytest.raises(UsageError, match="target"):
        m.perspective(SQUARE, points)


@pytest.mark.parametrize(
    "matrix",
    [
        m.scaling(0, 1, (3, 4)), np.zeros((3, 3)), np.array([[0.1, 0.2, 5], [0.3, 0.6, 7], [0, 0, 1.0]]),
        np.arange(9.0).reshape(3, 3), m.translation(math.nan, 0), m.translation(0, math.inf),
        np.full((3, 3), math.nan),
    ],
)  # fmt: skip
def test_matrices_without_an_inverse(matrix: np.ndarray) -> None:
    with pytest.raises(UsageError, match="no inverse"):
        m.inverse(matrix)
