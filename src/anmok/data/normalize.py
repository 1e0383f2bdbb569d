"""From uint8 pixels to normalised floats on the host, in one pass."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np

CHUNK = 8  # images a task


def normalized(
    images: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...], pool: ThreadPoolExecutor | None = None
) -> np.ndarray:
    """float32[B, H, W, C], (images / 255 - mean) / std, of uint8[B, H, W, C]; mean, std: one a channel."""
    out = np.empty(images.shape, np.float32)
    count, height, width, depth = images.shape
    scale = np.tile(1 / (255 * np.asarray(std, np.float64)), width).astype(np.float32)
    offset = np.tile(np.asarray(mean, np.float64) / np.asarray(std, np.float64), width).astype(np.float32)
    rows, source = out.reshape(count, height, width * depth), images.reshape(count, height, width * depth)
    run = _kernel()

    def part(low: int) -> None:
        run(source[low : low + CHUNK], scale, offset, rows[low : low + CHUNK])

    list((pool.map if pool else map)(part, range(0, count, CHUNK)))
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
