"""InfoBatch: an epoch leaves out a share of the images that are learned already, the rest of them weighs more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

_STREAM = 0x1F0BA7C4  # apart from the draws of the epoch's order

Noted = list[tuple[np.ndarray, np.ndarray]]  # rows and their losses, batch by batch


def drawn_weights(losses: np.ndarray, share: float, seed: int, epoch: int) -> np.ndarray:
    """float32[N], what the loss of each row weighs in this epoch, 0: left out. A pure function of its arguments.

    losses float[N]: the last of each row, NaN: not known. Of the m rows below the mean k = round(share × m) are left
    out, drawn without replacement, and the others of the m weigh m / (m − k), which is 1 / (1 − share) but for the
    rounding: so the weights always sum to N, and the expected weight of every row is exactly 1. (Qin et al. 2024,
    arXiv:2303.04947, eqs. 3 to 5, have 1 / (1 − r), and leave out each with probability r.)
    """
    weights = np.ones(len(losses), np.float32)
    known = ~np.isnan(losses)
    if not known.any():
        return weights
    low = np.flatnonzero(known & (losses < losses[known].mean(dtype=np.float64)))
    out = min(round(share * len(low)), len(low) - 1)
    if out > 0:
        rng = np.random.default_rng(np.random.SeedSequence([seed % 2**64, epoch, _STREAM]))
        weights[low] = len(low) / (len(low) - out)
        weights[rng.choice(low, out, replace=False)] = 0
    return weights


class Skipping:
    """The last loss of every row, and what follows for the present epoch.

    ids: of the N rows; share: of those below the mean loss, which is left out. losses float32[N] (NaN: never met);
    weights float32[N], settled when an epoch begins. A row that was left out keeps the loss it had. gather: what all
    processes of the run have noted, of which each has met other rows; by default this one is alone.
    """

    def __init__(
        self, ids: Sequence[str], share: float, seed: int,
        gather: Callable[[Noted], list[Noted]] = lambda own: [own],
    ):  # fmt: skip
        self.share, self.seed, self._gather = share, seed, gather
        self._rows = {identity: row for row, identity in enumerate(ids)}
        self.losses = np.full(len(ids), np.nan, np.float32)
        self.weights = np.ones(len(ids), np.float32)
        self._noted: list[tuple[np.ndarray, Any]] = []

    def begin(self, epoch: int, everything: bool) -> None:
        """Settle the weights of an epoch, counted from 0. everything: it takes all rows alike."""
        losses = self.state()["losses"]
        self.weights = np.ones_like(losses) if everything else drawn_weights(losses, self.share, self.seed, epoch)

    @property
    def picked(self) -> np.ndarray | None:
        """bool[N], the rows of the epoch; None where it has all."""
        picked = self.weights > 0
        return None if picked.all() else picked

    def of(self, ids: Sequence[str]) -> np.ndarray:
        """float32[B], what the losses of these rows weigh."""
        return self.weights[self._at(ids)]

    def note(self, ids: Sequence[str], losses: Any) -> None:
        """Remember the losses of these rows, a tensor float[B], which is read from its device only when needed."""
        self._noted.append((self._at(ids), losses))

    def state(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps, copies; the same in all processes, and all of them have to ask."""
        own = [(rows, losses.float().cpu().numpy()) for rows, losses in self._noted]
        for noted in self._gather(own):
            for rows, losses in noted:
                self.losses[rows] = losses
        self._noted.clear()
        return {"losses": self.losses.copy(), "weights": self.weights.copy()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Back to a checkpoint's state."""
        self._noted.clear()
        self.losses, self.weights = state["losses"].copy(), state["weights"].copy()

    def _at(self, ids: Sequence[str]) -> np.ndarray:
        return np.fromiter((self._rows[i] for i in ids), np.int64, len(ids))
