"""Images whose patches change places: what stays is local texture, what goes is shape and layout."""

from __future__ import annotations

import numpy as np

from anmok.core.errors import UsageError


def shuffle_patches(images: np.ndarray, grid: int, rng: np.random.Generator) -> np.ndarray:
    """Each image cut into grid × grid equal patches, put together in an order of its own that `rng` draws.

    images: uint8[B, H, W, C], or another dtype; the result is new, of the same shape and dtype. Where `grid` does not
    divide a side, the strip left over at the right or the bottom stays where it is. How much accuracy this costs says
    how much a network relies on shape (Brendel & Bethge 2019, arXiv:1904.00760, who shuffled texture otherwise).
    UsageError for a grid below 1 or finer than the pixels.
    """
    height, width = images.shape[1] // max(grid, 1), images.shape[2] // max(grid, 1)
    if grid < 1 or not height or not width:
        raise UsageError(
            f"{grid} × {grid} patches cannot be cut from {images.shape[1]} × {images.shape[2]} pixels.", where="grid",
            code="setting",
        )  # fmt: skip
    out = images.copy()
    inside = out[:, : grid * height, : grid * width]
    tall = inside.reshape(len(images), grid, height, grid, width, -1).transpose(0, 1, 3, 2, 4, 5)
    patches = tall.reshape(len(images), grid * grid, height, width, -1)
    order = rng.permuted(np.tile(np.arange(grid * grid), (len(images), 1)), axis=1)
    moved = np.take_along_axis(patches, order[:, :, None, None, None], axis=1).reshape(tall.shape)
    inside[:] = moved.transpose(0, 1, 3, 2, 4, 5).reshape(inside.shape)
    return out
