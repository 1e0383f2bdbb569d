"""How far a network sees: the effective receptive field of the centre of its last map (Luo et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from anmok.core.errors import DataError

SHARES = (0.68, 0.95)  # of the influence, whose radii are told


@dataclass(frozen=True, eq=False)
class Field:
    """Where in the image the centre of the last map is influenced from.

    map: float64[H, W], the share of every pixel, sums to 1; grid: rows and columns of the last map; cell: the row and
    column whose field this is; images: how many it is the mean of.
    """

    map: np.ndarray
    grid: tuple[int, int]
    cell: tuple[int, int]
    images: int

    @property
    def centre(self) -> tuple[float, float]:
        """Row and column on whose either side lies half of the influence, pixels from the middle of the first one.

        The cell's own place in a network with any strides and padding; unlike a mean it is not drawn to the image's
        middle by a faint influence from everywhere.
        """
        row, column = (_middle(self.map.sum(axis)) for axis in (1, 0))
        return row, column

    def radius(self, share: float = 0.95) -> float:
        """The radius in pixels of the smallest disc about the centre that holds this share of the influence.

        0 where one pixel holds it. An influence spread evenly over a square of side S has 0.465 S for 68 % of it and
        0.599 S for 95 %: nothing larger is to be expected.
        """
        (row, column), (height, width) = self.centre, self.map.shape
        distance = np.hypot(np.arange(height)[:, None] - row, np.arange(width)[None] - column).ravel()
        order = np.argsort(distance, kind="stable")
        held = np.cumsum(self.map.ravel()[order])
        return float(distance[order][min(np.searchsorted(held, share - 1e-9), len(held) - 1)])

    def reach(self, share: float = 0.95) -> float:
        """That radius as a share of the image's shorter side."""
        return self.radius(share) / min(self.map.shape)


def _middle(shares: np.ndarray) -> float:
    """Where half of shares float[N], each spread evenly over its pixel, lies on either side."""
    return float(np.interp(0.5, np.concatenate([[0.0], np.cumsum(shares)]), np.arange(len(shares) + 1))) - 0.5


def effective_receptive_field(
    grid: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, batch_size: int = 8, seed: int = 0
) -> Field:
    """The Field of the centre of the map that `grid` gives: the mean absolute gradient over the images.

    grid: normalised images float[B, C, H, W] to a map float[B, D, h, w], as `Encoder.grid` of a network in evaluation
    mode; images: float[N, C, H, W] of it, real ones. The gradient is that of the D channels added with signs drawn by
    `seed`, anew for each image: a plain sum is always the same after a layer normalisation, whose gradient is then 0.
    A map of even sides has no middle; the cell after it is taken.  DataError where no gradient arrives.
    """
    draw = torch.Generator().manual_seed(seed)
    total, cell, sides = torch.zeros(images.shape[2:], dtype=torch.float64), (0, 0), (0, 0)
    for part in images.split(batch_size):
        with torch.inference_mode(False), torch.enable_grad():
            pixels = part.detach().clone().requires_grad_(True)
            last = grid(pixels)
            sides = (last.shape[2], last.shape[3])
            cell = (sides[0] // 2, sides[1] // 2)
            signs = torch.randint(0, 2, last.shape[:2], generator=draw).mul(2).sub(1).to(last)
            (gradient,) = torch.autograd.grad((last[:, :, cell[0], cell[1]] * signs).sum(), pixels)
        total += gradient.abs().mean(1).sum(0).cpu().double()
    whole = float(total.sum())
    if not np.isfinite(whole) or whole <= 0:
        raise DataError("nothing in the image changes the centre of the last map.", where="model", code="no-gradient")
    return Field((total / whole).numpy(), sides, cell, len(images))
