"""Batches of labelled and unlabelled images together, each image in a weak view and in what is learned from it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from anmok.core.types import Batch
from anmok.data.batches import Loader


class SemiBatches(Loader):
    """Batches of `labelled` (one view) and of `unlabelled` (two: weak, strong), rows of both evenly among each other.

    An epoch passes once over the one with more batches; the other goes on from where it was, so what a step sees is a
    pure function of (epoch, step). images: (weak, learned), where a labelled image's two are the same; targets: -1 of
    an unlabelled one.
    """

    def __init__(self, labelled: Loader, unlabelled: Loader):
        self.__dict__.update(vars(labelled))  # the same table, seed and rejects
        self.labelled, self.unlabelled, self.wait_s = labelled, unlabelled, 0.0

    def __len__(self) -> int:
        return max(len(self.labelled), len(self.unlabelled))

    @property
    def rows(self) -> int:
        """Images of an epoch, labelled and not."""
        sizes = [(len(part.table), len(part)) for part in (self.labelled, self.unlabelled)]
        return round(sum(n * len(self) / batches for n, batches in sizes))

    def epoch(self, epoch: int = 0, start: int = 0) -> Generator[Batch]:
        """The batches of an epoch from `start` on."""
        first = epoch * len(self) + start
        streams = [onward(self.labelled, first), onward(self.unlabelled, first)]
        try:
            for _ in range(start, len(self)):
                known, blank = (next(stream) for stream in streams)
                self.wait_s = self.labelled.wait_s + self.unlabelled.wait_s
                yield among(known, blank)
        finally:
            for stream in streams:
                stream.close()

    def close(self) -> None:
        """Give back what the caches hold."""
        self.labelled.close()
        self.unlabelled.close()


def onward(loader: Loader, step: int) -> Generator[Batch]:
    """The batches from a step on, epoch after epoch without end."""
    epoch, start = divmod(step, len(loader))
    while True:
        yield from loader.epoch(epoch, start)
        epoch, start = epoch + 1, 0


def among(known: Batch, blank: Batch) -> Batch:
    """One batch of both, rows spread evenly, so that any part of it has about the same mixture."""
    n, m = len(known), len(blank)
    along = [(np.arange(count) + 0.5) / max(1, count) for count in (n, m)]
    order = np.argsort(np.concatenate(along), kind="stable")
    place = np.empty(n + m, np.int64)
    place[order] = np.arange(n + m)
    mine, theirs = place[:n], place[n:]
    images: list[Any] = []
    for view in blank.images:
        out = np.empty((n + m, *view.shape[1:]), np.uint8)
        out[mine], out[theirs] = known.images, view
        images.append(out)
    targets = np.full(n + m, -1, np.int64)
    targets[mine] = known.targets
    ids = [*known.ids, *blank.ids]
    return Batch(tuple(images), targets, [ids[i] for i in order.tolist()])
