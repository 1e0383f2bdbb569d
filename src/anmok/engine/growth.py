"""Images that begin small and grow: the side as a function of the course, what that costs, and how they are shrunk."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

import torch
from torch.nn import functional as F

from anmok.core.types import Batch
from anmok.engine.duration import share_of

SAMPLES = 200  # of the course ahead, over which its cost is averaged


@dataclass(frozen=True)
class Growth:
    """Progressive resizing (Howard 2018, "Training Imagenet in 3 hours"): from a share of `size`, growing evenly.

    until: a Duration of steps, epochs or %, after which images have `size`. multiple: of which sides are multiples but
    for `size` itself. A side is settled when an epoch begins and holds for it.
    """

    share: float
    until: str
    size: int
    multiple: int = 4

    def side(self, done: float, per_epoch: int, total: int) -> int:
        """Side of the images, pixels, where a share `done` of the `total` steps is behind."""
        end = share_of(self.until, per_epoch, total)
        if done >= end - 1e-9:
            return self.size
        wished = self.size * (self.share + (1 - self.share) * done / end)
        return min(self.size, max(self.multiple, round(wished / self.multiple) * self.multiple))

    def ahead(self, done: float, per_epoch: int, total: int, side: int | None = None) -> float:
        """What a step costs in the mean over the course from `done` on, in steps at `side` (by default `size`).

        A step is taken to cost what its images have in pixels.
        """
        places = (done + (1 - done) * (k + 0.5) / SAMPLES for k in range(SAMPLES))
        return fmean(self.side(place, per_epoch, total) ** 2 for place in places) / (side or self.size) ** 2


def shrunk(batch: Batch, side: int | None) -> Batch:
    """The batch with its images uint8[B, H, W, C] made smaller to [B, side, side, C]; None: as it is.

    By torch's antialiased bilinear filter, in uint8 on the CPU and rounded elsewhere; where they are, host or device.
    """
    if side is None or not len(batch) or batch.images.shape[1] == side:
        return batch
    images = torch.as_tensor(batch.images).permute(0, 3, 1, 2)
    if images.device.type != "cpu":
        images = images.float()
    small = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
    if small.dtype != torch.uint8:
        small = small.round_().clamp_(0, 255).to(torch.uint8)
    return Batch(small.permute(0, 2, 3, 1).contiguous(), batch.targets, batch.ids)
