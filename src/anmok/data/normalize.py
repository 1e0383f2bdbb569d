"""From uint8 pixels to normalised floats on the host, in one pass."""

from __future__ import annotations

import math
import weakref
from functools import cache
from typing import Any

import numpy as np

SPARE = 6  # arrays that are kept for the next batches


class Spare:
    """float32 arrays that are used again once nobody holds them: the system takes longer to map one than to fill it.

    Hold the array itself, as a tensor made of it does: a numpy view of it does not count.
    """

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []

    def array(self, shape: tuple[int, ...]) -> np.ndarray:
        """float32[shape], not filled."""
        size = math.prod(shape)
        base = next((a for a in self._free if a.size == size), None)
        if base is None:
            base = np.empty(size, np.float32)
        else:
            self._free = [a for a in self._free if a is not base]
        lent = base.reshape(shape)
        weakref.finalize(lent, self._back, base)
        return lent

    def _back(self, base: np.ndarray) -> None:
        self._free = [*self._free, base][-SPARE:]


def normalized(
    images: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...], spare: Spare | None = None
) -> np.ndarray:
    """float32[B, H, W, C], (images / 255 - mean) / std, of uint8[B, H, W, C]; mean, std: one a channel."""
    out = np.empty(images.shape, np.float32) if spare is None else spare.array(images.shape)
    count, height, width, depth = images.shape
    scale = np.tile(1 / (255 * np.asarray(std, np.float64)), width).astype(np.float32)
    offset = np.tile(np.asarray(mean, np.float64) / np.asarray(std, np.float64), width).astype(np.float32)
    rows, source = out.reshape(count, height, width * depth), images.reshape(count, height, width * depth)
    run = _kernel()
    run(source, scale, offset, rows)
    return out


@cache
def _kernel() -> Any:
    from numba import njit

    @njit(nogil=True, cache=True, fastmath={"contract"})
    def run(source: Any, scale: Any, offset: Any, out: Any) -> None:  # pragma: no cover - compiled
        for b in range(source.shape[0]):
            for y in range(source.shape[1]):
                for x in range(source.shape[2]):
                    out[b, y, x] = np.float32(source[b, y, x]) * scale[x] - offset[x]

    return run
