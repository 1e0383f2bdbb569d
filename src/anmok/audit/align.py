"""Lay one picture over another: small, grey, whatever was cut, turned or lit.  Many pairs at a time, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from anmok.audit.likeness import LEAST, Likeness, likeness, likenesses
from anmok.audit.picture import COARSE, FINE, SIDE, Picture, middle, oriented
from anmok.audit.warp import IDENTITY, compose, warp

__all__ = [
    "IDENTITY", "SIDE", "Laid", "Likeness", "Picture", "align", "align_all", "likeness", "likenesses", "oriented",
    "refine", "refine_all",
]  # fmt: skip

_STEPS, _PATIENCE = 12, 3  # at most, and after how many two pictures have to draw nearer with each
_CORRELATED = 0.9  # or be as near as that
_REFINEMENTS = 6
_SMALL = 0.03  # pixels: a change that is the last


class Laid(NamedTuple):
    """A picture, another one, and a map float64[3, 3] from the one's square to the other's."""

    first: Picture
    second: Picture
    where: np.ndarray


def align(first: Picture, second: Picture, start: np.ndarray = IDENTITY) -> np.ndarray | None:
    """The affine map float64[3, 3] from the first picture's square to the second's, None where they do not correlate.

    Inverse compositional image alignment (Baker & Matthews 2004, IJCV 56(3)) of intensities up to gain and offset, at
    32 pixels by least squares.  It finds crops of a tenth and turns of a few degrees from the identity, in three steps
    as a rule.
    """
    return align_all([Laid(first, second, start)])[0]


def align_all(pairs: Sequence[Laid]) -> list[np.ndarray | None]:
    """`align` of each pair, from its map on."""
    inside, total = middle(COARSE)
    found: list[np.ndarray | None] = [None] * len(pairs)
    templates = [pair.first.template(COARSE) for pair in pairs]
    values, right, down = (np.array([t[part] for t in templates]).reshape(-1, COARSE**2) for part in range(3))
    power = np.array([t.power for t in templates])
    solve = _inverse(_squares(right, down))
    where = np.array([pair.where for pair in pairs]).reshape(-1, 3, 3)
    rows, alike = np.arange(len(pairs)), np.full(len(pairs), -1.0)
    for step in range(_STEPS):
        if not rows.size:
            break
        moved = warp([pairs[k].second.level(COARSE) for k in rows.tolist()], where).reshape(-1, COARSE**2)
        mean = (moved @ inside).astype(float) / total
        spread = (moved * moved) @ inside - mean**2 * total
        both = np.einsum("ps,ps->p", values, moved).astype(float)
        before, alike = alike, both / np.sqrt(np.maximum(spread * power, 1e-6))
        lost = (alike < np.minimum(_CORRELATED, before + 0.01)) & (step >= _PATIENCE)  # not on the way to each other
        gain = np.clip(both / np.maximum(spread, 1e-6), 0.4, 2.5)
        error = _f32(gain) * (moved - _f32(mean)) - values
        change = np.einsum("pij,pj->pi", solve, _along(right, down, error))
        where = compose(where, change / (COARSE / 2))
        last = (np.abs(change).max(axis=1) < _SMALL) | (step == _STEPS - 1)
        for k in np.flatnonzero(last & ~lost & (alike >= _CORRELATED)):
            found[rows[k]] = where[k]
        on = np.flatnonzero(~lost & ~last)
        if on.size < rows.size:
            rows, values, right, down, power, solve, where, alike = (
                part[on] for part in (rows, values, right, down, power, solve, where, alike)
            )
    return found


def refine(first: Picture, second: Picture, where: np.ndarray) -> np.ndarray | None:
    """A map as of `align`, to a twentieth of a pixel at 48 pixels, with little weight on what does not fit."""
    return refine_all([Laid(first, second, where)])[0]


def refine_all(pairs: Sequence[Laid]) -> list[np.ndarray | None]:
    """`refine` of each pair."""
    inside, _ = middle(FINE)
    found: list[np.ndarray | None] = [None] * len(pairs)
    templates = [pair.first.template(FINE) for pair in pairs]
    wanted, right, down = (np.array([t[part] for t in templates]).reshape(-1, FINE**2) for part in range(3))
    where = np.array([pair.where for pair in pairs]).reshape(-1, 3, 3)
    rows = np.arange(len(pairs))
    for step in range(_REFINEMENTS):
        if not rows.size:
            break
        moved = warp([pairs[k].second.level(FINE) for k in rows.tolist()], where, outside=np.nan).reshape(-1, FINE**2)
        unseen = np.isnan(moved)
        np.copyto(moved, 0, where=unseen)
        counted = np.where(unseen, np.float32(0), inside)
        total = np.maximum(counted.sum(axis=1), 1)
        values = moved - (_dot(counted, moved) / total)[:, None]
        aims = wanted - (_dot(counted, wanted) / total)[:, None]
        gain = np.clip(_dot(counted, values * aims) / np.maximum(_dot(counted, values * values), 1e-6), 0.4, 2.5)
        error = gain[:, None] * values - aims
        scale = 1.5 * _dot(counted, np.abs(error)) / total + 0.5
        counted /= 1 + np.square(error / scale[:, None])
        solve = _inverse(_squares(right, down, counted))
        change = np.einsum("pij,pj->pi", solve, _along(right, down, error * counted))
        lost = total < LEAST * FINE**2
        where = compose(where, change / (FINE / 2))
        last = (np.abs(change).max(axis=1) < _SMALL) | (step == _REFINEMENTS - 1)
        for k in np.flatnonzero(last & ~lost):
            found[rows[k]] = where[k]
        on = np.flatnonzero(~lost & ~last)
        if on.size < rows.size:
            rows, wanted, right, down, where = (part[on] for part in (rows, wanted, right, down, where))
    return found


@lru_cache(maxsize=4)
def _grid(side: int) -> np.ndarray:
    """x, y and 1 of each pixel, float32[S², 3]: what the numbers of an affine map are multiplied with."""
    steps = (np.arange(side, dtype=np.float32) - (side - 1) / 2) / (side / 2)
    x, y = np.meshgrid(steps, steps)
    return np.stack([x.ravel(), y.ravel(), np.ones(side * side, np.float32)], axis=1).astype(np.float32)


@lru_cache(maxsize=4)
def _grid_squares(side: int) -> np.ndarray:
    """The products of the columns of `_grid`, float32[S², 9]."""
    grid = _grid(side)
    return (grid[:, :, None] * grid[:, None]).reshape(-1, 9)


def _along(right: np.ndarray, down: np.ndarray, error: np.ndarray) -> np.ndarray:
    """By how much the errors float32[P, S²] go with each of the six numbers of an affine map, float64[P, 6]."""
    grid = _grid(round(error.shape[1] ** 0.5))
    return np.concatenate([(right * error) @ grid, (down * error) @ grid], axis=1).astype(float)


def _squares(right: np.ndarray, down: np.ndarray, counted: np.ndarray | float = 1.0) -> np.ndarray:
    """How the six numbers go with each other (the Gauss-Newton Hessian), float64[P, 6, 6]; counted: weights."""
    grid = _grid_squares(round(right.shape[1] ** 0.5))
    across, both, along = (
        ((one * other * counted) @ grid).reshape(-1, 3, 3)
        for one, other in ((right, right), (right, down), (down, down))
    )
    return np.block([[across, both], [both, along]]).astype(float)


def _inverse(squares: np.ndarray) -> np.ndarray:
    """Of `_squares`, a little damped so that a picture with structure in one direction only has one too."""
    damping = 1e-3 * np.trace(squares, axis1=1, axis2=2) / 6 + 1e-6
    return np.linalg.inv(squares + damping[:, None, None] * np.eye(6))


def _f32(values: np.ndarray) -> np.ndarray:
    """One number a row, as a column."""
    return values.astype(np.float32)[:, None]


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """float32[P]: the sum of products of each row."""
    return np.matmul(one[:, None], other[:, :, None])[:, 0, 0]
