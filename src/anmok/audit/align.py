"""Lay one picture over another and say how alike their structure is: small, grey, whatever was cut, turned or lit."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

SIDE = 96  # pictures are compared as squares of this side; a map between them is in units of half a side
IDENTITY = np.eye(3)
_COARSE, _FINE = 32, 48
_NOISE = 4.0  # variance in levels² within which two plain patches are the same
_STRUCTURE = 36.0  # variance in levels² at which a patch weighs half of what it can
_PATCH = 7  # pixels a side
_SAME = 0.9  # likeness of a patch from which it counts as covered
_LEAST = 0.4  # share of the square that must be compared
_EDGE = np.ones((5, 5), np.uint8)
_FLAGS = 1 | 16  # cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
_STEPS, _PATIENCE = 12, 3  # at most, and after how many two pictures have to draw nearer with each
_CORRELATED = 0.9  # or be as near as that


class Picture:
    """Luma of a whole picture, squeezed into a square uint8[96, 96], and what comparing needs of it, made once."""

    def __init__(self, square: np.ndarray) -> None:
        self.square = square
        self._made: dict[str, Any] = {}

    @classmethod
    def of(cls, gray: np.ndarray) -> Picture:
        """Of luma uint8[H, W]."""
        import cv2

        return cls(cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA))

    def turned(self, turn: str) -> Picture:
        """The same after a mirroring or a turn by name (see `hashes.TURNS`)."""
        if turn == "upright":
            return self
        return self._once(turn, lambda: Picture(np.ascontiguousarray(oriented(self.square, turn))))

    @property
    def deviation(self) -> float:
        """Of the pixels at 32, without those near the edge."""
        one = self.template(_COARSE)
        return math.sqrt(one.power / one.total)

    @property
    def pixels(self) -> np.ndarray:
        """float32[96, 96]."""
        return self._once("pixels", lambda: self.square.astype(np.float32))

    @property
    def halved(self) -> np.ndarray:
        """float32[48, 48]."""
        return self._once("halved", lambda: _shrunk(self.square, SIDE // 2))

    def level(self, side: int) -> np.ndarray:
        """float32[side, side], a little blurred."""
        import cv2

        blurred = lambda: cv2.GaussianBlur(_shrunk(self.square, side), (5, 5), 1.0)  # noqa: E731
        return self._once(f"level {side}", blurred)

    def template(self, side: int) -> Template:
        """The same as what another picture is laid over."""
        return self._once(f"template {side}", lambda: _template(self.level(side)))

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        """Made when it is first asked for; two threads may both make it (functools' property would let one wait)."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]


def oriented(pixels: np.ndarray, turn: str) -> np.ndarray:
    """A view of [H, W, ...], mirrored or turned by name."""
    if turn in ("transposed", "right", "anti-transposed", "left"):
        pixels = pixels.swapaxes(0, 1)
    if turn in ("mirrored", "half-turn", "right", "anti-transposed"):
        pixels = pixels[:, ::-1]
    if turn in ("upside-down", "half-turn", "left", "anti-transposed"):
        pixels = pixels[::-1]
    return pixels


class Template(NamedTuple):
    """A picture that another one is laid over, at one scale.

    values float32[S²]: pixels less their mean, 0 near the edge; inside float32[S²]: 0 near the edge, else 1; slopes
    float32[6, S²]: by how much each of the six numbers of an affine map moves a pixel's value; solve float64[6, 6]: the
    inverse of slopes · slopesᵀ; total: pixels inside; power: sum of the squared values.
    """

    values: np.ndarray
    inside: np.ndarray
    slopes: np.ndarray
    solve: np.ndarray
    total: float
    power: float


def _shrunk(square: np.ndarray, side: int) -> np.ndarray:
    import cv2

    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)


def _template(pixels: np.ndarray) -> Template:
    import cv2

    x, y, inside = _grid(len(pixels))
    right = cv2.Sobel(pixels, cv2.CV_32F, 1, 0, scale=1 / 8).ravel() * inside
    down = cv2.Sobel(pixels, cv2.CV_32F, 0, 1, scale=1 / 8).ravel() * inside
    slopes = np.empty((6, pixels.size), np.float32)
    for row, values in enumerate((right * x, right * y, right, down * x, down * y, down)):
        slopes[row] = values
    count = float(inside.sum())
    values = (pixels.ravel() - float(inside @ pixels.ravel()) / count) * inside
    return Template(values, inside, slopes, _inverse(slopes @ slopes.T), count, float(values @ values))


@lru_cache(maxsize=4)
def _grid(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    steps = (np.arange(side, dtype=np.float32) - (side - 1) / 2) / (side / 2)
    x, y = (np.ascontiguousarray(v).ravel() for v in np.meshgrid(steps, steps))
    inside = np.zeros((side, side), np.float32)
    inside[2:-2, 2:-2] = 1
    return x, y, inside.ravel()


def _inverse(squares: np.ndarray) -> np.ndarray:
    """Of slopes · slopesᵀ, a little damped so that a picture with structure in one direction only has one too."""
    damped = squares.astype(np.float64)
    damped[np.diag_indices(6)] += 1e-3 * np.trace(damped) / 6 + 1e-6
    return np.linalg.inv(damped)


def align(first: Picture, second: Picture, start: np.ndarray = IDENTITY) -> np.ndarray | None:
    """The affine map float64[3, 3] from the first picture's square to the second's, None where they do not correlate.

    Inverse compositional image alignment (Baker & Matthews 2004, IJCV 56(3)) of intensities up to gain and offset, at
    32 pixels by least squares.  It finds crops of a tenth and turns of a few degrees from the identity, in three steps
    as a rule.
    """
    import cv2

    one, other, where, alike = first.template(_COARSE), second.level(_COARSE), start, -1.0
    for step in range(_STEPS):
        values = cv2.warpAffine(
            other, _matrix(where, _COARSE), (_COARSE, _COARSE), flags=_FLAGS, borderMode=cv2.BORDER_REPLICATE
        ).ravel()
        mean = float(one.inside @ values) / one.total
        spread = float(one.inside @ (values * values)) - mean * mean * one.total
        both = float(one.values @ values)
        before, alike = alike, both / math.sqrt(max(spread * one.power, 1e-6))
        if alike < min(_CORRELATED, before + 0.01) and step >= _PATIENCE:
            return None  # no longer on the way to each other
        gain = min(max(both / max(spread, 1e-6), 0.4), 2.5)
        change = one.solve @ (one.slopes @ (gain * (values - mean) - one.values))
        where = where @ _undo(change / (_COARSE / 2))
        if np.abs(change).max() < 0.03:
            break
    return where if alike >= _CORRELATED else None


def refine(first: Picture, second: Picture, where: np.ndarray) -> np.ndarray | None:
    """A map as of `align`, to a twentieth of a pixel at 48 pixels, with little weight on what does not fit."""
    one, other = first.template(_FINE), second.level(_FINE)
    for _ in range(6):
        moved, seen = _warp(other, where)
        counted = one.inside * seen.ravel()
        total = float(counted.sum())
        if total < _LEAST * counted.size:
            return None
        values = moved.ravel() - float(counted @ moved.ravel()) / total
        wanted = one.values - float(counted @ one.values) / total
        spread = float(counted @ (values * values))
        gain = min(max(float(counted @ (values * wanted)) / max(spread, 1e-6), 0.4), 2.5)
        error = gain * values - wanted
        scale = 1.5 * float(counted @ np.abs(error)) / total + 0.5
        counted /= 1 + np.square(error / scale)
        change = _inverse((one.slopes * counted) @ one.slopes.T) @ (one.slopes @ (error * counted))
        where = where @ _undo(change / (_FINE / 2))
        if np.abs(change).max() < 0.03:
            break
    return where


def _matrix(where: np.ndarray, side: int) -> np.ndarray:
    """A map in pixels of a square of that side, float64[2, 3]."""
    (a, b, x), (c, d, y), _ = where.tolist()
    centre, half = (side - 1) / 2, side / 2
    return np.array([[a, b, x * half + centre * (1 - a - b)], [c, d, y * half + centre * (1 - c - d)]])


def _warp(other: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The other picture as the map sees it, float32[S, S], and where it is in the picture at all, bool[S, S]."""
    import cv2

    side = len(other)
    moved = cv2.warpAffine(
        other, _matrix(where, side), (side, side), flags=_FLAGS, borderMode=cv2.BORDER_CONSTANT, borderValue=np.nan
    )
    seen = ~np.isnan(moved)
    moved[~seen] = 0
    return moved, seen


def _undo(change: np.ndarray) -> np.ndarray:
    """The inverse of the map that the six numbers change the identity to."""
    a, b, c, d, e, f = change.tolist()
    a, e = 1 + a, 1 + e
    size = a * e - b * d
    if abs(size) < 1e-3:
        return IDENTITY
    return np.array([[e, -b, b * f - c * e], [-d, a, c * d - a * f], [0, 0, size]]) / size


class Likeness(NamedTuple):
    """score: 1 for the same structure, about 0 for unrelated; covered: the larger of the shares of one picture's
    structure that is the same in the other; structure: how much there is, 0 (plain) to 1; difference: mean of the
    absolute differences, in levels of 255; light: mean of the second over that of the first.
    """

    score: float
    covered: float
    structure: float
    difference: float
    light: float


def likeness(first: Picture, second: Picture, where: np.ndarray, *, halved: bool = False) -> Likeness | None:
    """How alike two pictures are under a map, at 96 or 48 pixels; None where they overlap too little.

    Patches are compared by contrast and structure as SSIM does (Wang et al. 2004, IEEE TIP 13(4), eq. 9 and 10), after
    one gain for the whole picture, and weigh by the structure in them: v / (v + 36) of the variance, so that the white
    around two objects does not make them alike.
    """
    import cv2

    a, b = (first.halved, second.halved) if halved else (first.pixels, second.pixels)
    b, seen = _warp(b, where)
    whole = seen.astype(np.uint8)
    whole[[0, -1]] = 0
    whole[:, [0, -1]] = 0
    inside = cv2.erode(whole, _EDGE).astype(np.float32)  # a neighbour's colour bleeds into the edge of either
    total = float(inside.sum())
    if total < _LEAST * inside.size:
        return None
    difference = _sum(np.abs(a - b), inside) / total
    light_a, light_b = _sum(a, inside) / total, _sum(b, inside) / total
    a, b = (a - light_a) * inside, (b - light_b) * inside
    scale = 1 / np.maximum(_box(inside), 1)
    mean_a, mean_b = _box(a) * scale, _box(b) * scale
    var_a, var_b = _box(a * a) * scale - mean_a * mean_a, _box(b * b) * scale - mean_b * mean_b
    both = _box(a * b) * scale - mean_a * mean_b
    sum_a, sum_b = max(_sum(var_a, inside), 1e-6), max(_sum(var_b, inside), 1e-6)
    gain = min(max(math.sqrt(sum_b / sum_a), 0.25), 4)
    var_a *= gain * gain
    var_a, var_b = np.maximum(var_a, 0), np.maximum(var_b, 0)
    either = var_a + var_b
    alike = (2 * gain * both + _NOISE) / (either + _NOISE)
    weight = either / (either + 2 * _STRUCTURE) * inside
    weight_a, weight_b = var_a / (var_a + _STRUCTURE) * inside, var_b / (var_b + _STRUCTURE) * inside
    agree = (alike > _SAME).astype(np.float32)
    covered = max(_sum(agree, w) / max(float(w.sum()), 1e-6) for w in (weight_a, weight_b))
    structure = float(weight.sum())
    light = (light_b + 1) / (light_a + 1)
    return Likeness(_sum(alike, weight) / max(structure, 1e-6), covered, structure / total, difference, light)


def _box(values: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.boxFilter(values, -1, (_PATCH, _PATCH), normalize=False, borderType=cv2.BORDER_CONSTANT)


def _sum(values: np.ndarray, weights: np.ndarray) -> float:
    return float(values.ravel() @ weights.ravel())
