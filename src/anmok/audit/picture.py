"""A picture small, grey and square, as it is compared with others, and what comparing needs of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

SIDE = 96  # pictures are compared as squares of this side
COARSE, FINE = 32, 48  # sides at which one is laid over another


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
        return math.sqrt(self.template(COARSE).power / middle(COARSE)[1])

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

    values float32[S²]: pixels less their mean, 0 near the edge; right, down float32[S²]: by how much a pixel's value
    grows with one step to the right and down, 0 near the edge; power: sum of the squared values.
    """

    values: np.ndarray
    right: np.ndarray
    down: np.ndarray
    power: float


def _shrunk(square: np.ndarray, side: int) -> np.ndarray:
    import cv2

    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)


def _template(pixels: np.ndarray) -> Template:
    import cv2

    inside, count = middle(len(pixels))
    right = cv2.Sobel(pixels, cv2.CV_32F, 1, 0, scale=1 / 8).ravel() * inside
    down = cv2.Sobel(pixels, cv2.CV_32F, 0, 1, scale=1 / 8).ravel() * inside
    values = (pixels.ravel() - float(inside @ pixels.ravel()) / count) * inside
    return Template(values, right, down, float(values @ values))


@lru_cache(maxsize=4)
def middle(side: int) -> tuple[np.ndarray, float]:
    """float32[S²], 0 within two pixels of the edge, else 1, and its sum."""
    inside = np.zeros((side, side), np.float32)
    inside[2:-2, 2:-2] = 1
    return inside.ravel(), float(inside.sum())
