"""What a frozen part gives, computed once: batches of kept features in the place of batches of images."""

from __future__ import annotations

import copy
import time
from collections.abc import Generator
from typing import Any

import numpy as np
import torch

from anmok.core.progress import bar
from anmok.core.types import Batch
from anmok.data.batches import Loader, batch_bounds
from anmok.data.cache import NoCache
from anmok.engine.ranks import of_all
from anmok.engine.runtime import Runtime
from anmok.models.classifier import Classifier
from anmok.models.split import Kept


class FeatureBatches(Loader):
    """Batches of what `Classifier.front` gave, in the order and the bounds of the `plain` loader of images.

    views: of each view what was kept of every row, tensors whose first dimension is the rows; epoch e sees view e mod
    their number. good: bool[N], the rows that could be read; the others are left out as the loader leaves them out.
    """

    def __init__(self, plain: Loader, views: list[Kept], good: np.ndarray):
        self.__dict__.update(vars(plain))  # the same table, order, bounds and rejects
        self.plain, self.views, self.good, self.cache, self.wait_s = plain, views, good, NoCache(), 0.0

    def epoch(self, epoch: int = 0, start: int = 0) -> Generator[Batch]:
        """The batches of an epoch from `start` on; images are a tuple of tensors, targets and ids as the loader's."""
        order, view = self.order(epoch), self.views[epoch % len(self.views)]
        for low, high in self.bounds[start:]:
            began = time.perf_counter()
            rows = np.array_split(order[low:high], self.world)[self.rank]
            rows = rows[self.good[rows]]
            at = torch.from_numpy(rows)
            kept: Any = tuple(tensor[at].contiguous(memory_format=_layout(tensor)) for tensor in view)
            self.wait_s += time.perf_counter() - began
            yield Batch(kept, self._targets[rows], [self._ids[r] for r in rows])

    def close(self) -> None:
        """Give the features back."""
        self.views = []


def keep_features(
    loader: Loader, classifier: Classifier, runtime: Runtime, views: int, title: str = "features"
) -> FeatureBatches:
    """Run every row through the frozen part once for each view, as the augmentation of epochs 0, 1, … draws it.

    In the runtime's precision, in evaluation mode.  DataError where too many images cannot be read.
    """
    good = np.ones(len(loader.table), bool)
    row_of = {identity: row for row, identity in enumerate(loader.table.rows["id"].to_list())}
    kept: list[Kept] = []
    with bar(title, views * len(loader.table)) as progress:
        for view in range(views):
            seen = np.zeros(len(good), bool)
            store: Kept = ()
            for batch in in_order(loader).epoch(view):
                if not len(batch):
                    continue
                found = _front(classifier, runtime, batch)
                store = store or tuple(_room(len(good), tensor) for tensor in found)
                rows = np.array([row_of[i] for i in batch.ids])
                for room, tensor in zip(store, found, strict=True):
                    room[torch.from_numpy(rows)] = tensor.to(room.device)
                seen[rows] = True
                progress.advance(len(batch))
            if runtime.world > 1:
                seen, store = _of_all(seen, store, runtime.world)
            good &= seen
            kept.append(store)
    loader.wait_s = 0.0
    return FeatureBatches(loader, kept, good)


def _of_all(seen: np.ndarray, store: Kept, world: int) -> tuple[np.ndarray, Kept]:
    """bool[N] and the features of all rows, where each rank has those of its own."""
    own = torch.from_numpy(np.flatnonzero(seen))
    for rows, tensors in of_all((own, tuple(tensor[own] for tensor in store)), world):
        store = store or tuple(_room(len(seen), tensor) for tensor in tensors)
        for room, tensor in zip(store, tensors, strict=False):  # a rank may have none
            room[rows] = tensor
        seen[rows.numpy()] = True
    return seen, store


def in_order(loader: Loader) -> Loader:
    """The same pictures, draws, cache and rejects in the table's order: what an image gives has no order."""
    twin = copy.copy(loader)
    twin.shuffle = False
    twin.bounds = batch_bounds(len(loader.table), max(high - low for low, high in loader.bounds))
    return twin


def _front(classifier: Classifier, runtime: Runtime, batch: Batch) -> Kept:
    was = classifier.training
    classifier.eval()
    try:
        with torch.no_grad(), runtime.autocast():
            return classifier.front(runtime.to_device(batch).images)
    finally:
        classifier.train(was)


def _room(rows: int, like: torch.Tensor) -> torch.Tensor:
    """Host memory for that many rows, laid out as the network gives them: another order of sums rounds otherwise."""
    room = torch.empty((rows, *like.shape[1:]), dtype=like.dtype)
    return room.contiguous(memory_format=_layout(like))


def _layout(tensor: torch.Tensor) -> torch.memory_format:
    last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format
