"""From a Table to uint8 batches: threads decode and augment straight into an array made for the batch.

There are no worker processes and nothing is pickled. The order is a pure function of (seed, epoch), so a run resumes at
any batch without reading what came before.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from anmok.augment.guests import Guest, GuestParams
from anmok.augment.host import augment_into
from anmok.augment.mix import mix_batch
from anmok.augment.params import Params
from anmok.augment.policy import Policy
from anmok.augment.preprocess import Preprocess
from anmok.augment.tta import ImageViews
from anmok.augment.views import Views
from anmok.core.errors import DataError, ImageError, UsageError
from anmok.core.machine import cores
from anmok.core.pixels import luma
from anmok.core.types import Batch, Reject
from anmok.data.cache import NoCache, PixelCache
from anmok.data.device_cache import DeviceCache
from anmok.data.pixels import Pixels
from anmok.data.sampler import row_weights, weighted_order
from anmok.data.table import Table


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """int64[n]: the order of an epoch, a pure function of (n, seed, epoch)."""
    return np.random.Generator(np.random.Philox(key=np.array([seed % 2**64, epoch], np.uint64))).permutation(n)


def batch_bounds(
    n: int, size: int, drop_last: bool = False, join_single: bool = False, world: int = 1
) -> list[tuple[int, int]]:
    """(start, end) of every batch of n rows.

    join_single: a last batch of one image (or of fewer than two for each of `world` ranks) joins the one before it, as
    batch normalisation cannot learn from one.
    """
    ends = list(range(size, n + 1, size))
    if not drop_last and n % size:
        if join_single and n % size < 2 * world and ends:
            ends[-1] = n
        else:
            ends.append(n)
    return list(zip([0, *ends], ends, strict=False))


@dataclass
class Pending:
    """A batch on its way: its step, rows, what was drawn for each view, where the views go, and the threads' work."""

    step: int
    rows: np.ndarray
    params: list[Params | GuestParams] | None
    out: list[np.ndarray]
    futures: list[Future[list[Reject]]]


class Loader:
    """Batches of a Table. `epoch(e, start)` yields those of epoch e from batch `start` on; iterating counts epochs.

    Images are uint8[B, S, S, C] (of Views: a tuple of them, one a view); targets int64[B], or float32[B, K] for
    multi-label and mixed batches. An image that cannot be decoded is left out of its batch and kept in `rejects`;
    nothing replaces it (a batch may end up empty). `notes` says of which image the colour profile is broken and
    ignored. `wait_s` sums the seconds the consumer waited for data.

    policy: what training draws, None for the deterministic preprocessing. cache: keeps decoded pixels, at a short side
    of `cache_side` (see `open_cache`); with a DeviceCache images come as a tensor on its device. balance: with
    `shuffle`, how often the rows of a class are drawn (see `sampling_weights`). rank, world: this process takes its
    share of every global batch. test_views: what is seen of each image instead of the preprocessing's square or a
    policy's draw (images are then a tuple, one array a view). empty: makes the arrays of a batch, by default np.empty.
    shares: the number of ranks by which a last batch is too small, where that is not world: a run goes on with the
    batches that it began with. on_reject is called once for each rejected image; on_note(id, text) for each note, from
    the thread that reads it. `pick` leaves rows out of epochs.
    """

    def __init__(
        self, table: Table, *, preprocess: Preprocess, batch_size: int, policy: Policy | Guest | Views | None = None,
        shuffle: bool = False, drop_last: bool = False, seed: int = 0, threads: int | None = None,
        cache: PixelCache | None = None, cache_side: int | None = None, balance: str = "none",
        allow_truncated: bool = False, rank: int = 0, world: int = 1, prefetch: int = 3,
        test_views: ImageViews | None = None, empty: Callable[[tuple[int, ...]], np.ndarray] | None = None,
        on_reject: Callable[[Reject], None] | None = None, on_note: Callable[[str, str], None] | None = None,
        shares: int | None = None,
    ):  # fmt: skip
        if batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, found {batch_size}.", code="setting")
        if threads is not None and threads < 1:
            raise UsageError(f"threads must be at least 1, found {threads}.", code="setting")
        if not len(table):
            raise DataError("there are no images to load.", code="empty-table")
        self.table, self.preprocess, self.seed, self.prefetch = table, preprocess, seed, prefetch
        self.policy = None if policy is None or policy.neutral else policy
        self.test_views = test_views
        self.shuffle, self.rank, self.world, self.on_reject = shuffle, rank, world, on_reject
        self._bounds = partial(
            batch_bounds, size=batch_size, drop_last=drop_last, join_single=shuffle, world=shares or world
        )
        self.pick(None)
        self.threads = threads or cores()
        self.rejects: dict[str, Reject] = {}
        self.wait_s = 0.0
        self.cache = cache or NoCache()
        self._ids: list[str] = table.rows["id"].to_list()
        self._targets = table.targets()
        self._weights = None if balance == "none" else row_weights(self._targets, balance, len(table.classes))
        self._fill = tuple(preprocess.background) if preprocess.depth == 3 else (luma(preprocess.background),)
        self._pixels = Pixels(table, preprocess, self.policy, self.cache, cache_side, allow_truncated, on_note)
        self.side = cache_side
        self._empty = empty or (lambda shape: np.empty(shape, np.uint8))
        self._epoch = 0

    def __len__(self) -> int:
        return len(self.bounds)

    def __iter__(self) -> Iterator[Batch]:
        self._epoch += 1
        return self.epoch(self._epoch - 1)

    @property
    def notes(self) -> dict[str, str]:
        """id -> of which image the colour profile is broken and ignored."""
        return self._pixels.notes

    def close(self) -> None:
        """Give back what the cache holds; on disk, finished parts stay."""
        self.cache.close()

    def order(self, epoch: int) -> np.ndarray:
        """int64: the rows of an epoch, in their order; all N, but for those left out (`pick`)."""
        if not self.shuffle:
            rows = np.arange(len(self.table))
        elif self._weights is None:
            rows = epoch_order(len(self.table), self.seed, epoch)
        else:
            rows = weighted_order(self._weights, len(self.table), self.seed, epoch)
        return rows if self.picked is None else rows[self.picked[rows]]

    def pick(self, rows: np.ndarray | None) -> None:
        """Have epochs of these rows only, bool[N], until told otherwise; None: of all."""
        self.picked = rows
        self.bounds = self._bounds(len(self.table) if rows is None else int(rows.sum()))

    @property
    def share(self) -> float:
        """Of all rows, those that an epoch has."""
        return 1.0 if self.picked is None else float(self.picked.mean())

    def epoch(self, epoch: int = 0, start: int = 0) -> Generator[Batch]:
        """The batches of one epoch, from batch `start` on."""
        import cv2

        cv2.setNumThreads(1)  # the threads are ours; OpenCV's own would fight them
        order = self.order(epoch)
        waiting: deque[Pending] = deque()
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="anmok-data")
        try:
            for step in range(start, len(self.bounds) + self.prefetch):
                if step < len(self.bounds):
                    low, high = self.bounds[step]
                    rows = np.array_split(order[low:high], self.world)[self.rank]
                    waiting.append(self._submit(pool, step, rows, epoch))
                if len(waiting) > self.prefetch or (step >= len(self.bounds) and waiting):
                    yield self._collect(epoch, waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self.cache.end_epoch()

    def _submit(self, pool: ThreadPoolExecutor, step: int, rows: np.ndarray, epoch: int) -> Pending:
        shown = self.policy if self.test_views is None else self.test_views
        sizes = shown.sizes if isinstance(shown, Views | ImageViews) else (None,)
        shapes = [(len(rows), size or self.preprocess.image_size) for size in sizes]
        out = [self._empty((n, size, size, self.preprocess.depth)) for n, size in shapes]
        params = self._draw([self._ids[r] for r in rows], epoch)
        chunk = max(1, -(-len(rows) // (2 * self.threads)))
        futures = [
            pool.submit(self._fill_rows, out, rows, params, low, min(low + chunk, len(rows)))
            for low in range(0, len(rows), chunk)
        ]
        return Pending(step, rows, params, out, futures)

    def _draw(self, ids: list[str], epoch: int) -> list[Params | GuestParams] | None:
        if self.policy is None:
            return None
        policies = self.policy.policies if isinstance(self.policy, Views) else (self.policy,)
        drawn = [policy.draw(ids, epoch, self.seed, view) for view, policy in enumerate(policies)]
        for params in drawn:
            if isinstance(params, Params):
                _ = params.programs  # made here, by one thread
        return drawn

    def _fill_rows(
        self, out: list[np.ndarray], rows: np.ndarray, params: list[Params | GuestParams] | None, low: int, high: int
    ) -> list[Reject]:
        rejects = []
        for i in range(low, high):
            row = int(rows[i])
            try:
                self._fill_one(out, row, params, i)
            except ImageError as error:
                reason = f"{error.message} {error.remedy}" if error.remedy else error.message
                rejects.append(Reject(self._ids[row], error.code, reason))
        return rejects

    def _fill_one(
        self, out: list[np.ndarray], row: int, params: list[Params | GuestParams] | None, index: int
    ) -> None:  # fmt: skip
        if self._on_device(row):
            return
        if self.test_views is not None:
            for view, pixels in zip(out, self._pixels.seen(row, self.test_views), strict=True):
                view[index] = pixels
            return
        program = params[0].programs[index] if params and len(params) == 1 and isinstance(params[0], Params) else None
        image = self._pixels.get(row, program)
        if self._on_device(row):  # it has just been put there
            return
        if params is None:
            out[0][index] = image
            return
        for view, drawn in zip(out, params, strict=True):
            augment_into(view[index], image, drawn, index, self._fill)
            if self.preprocess.finishes and not (self.policy and self.policy.mixes):
                view[index] = self.preprocess.finish(view[index])

    def _on_device(self, row: int) -> bool:
        """Whether the device itself will augment this row."""
        return isinstance(self.cache, DeviceCache) and bool(self.cache.holds(np.array([row]))[0])

    def _collect(self, epoch: int, pending: Pending) -> Batch:
        began = time.perf_counter()
        found = [reject for future in pending.futures for reject in future.result()]
        self.wait_s += time.perf_counter() - began
        rows, params, out = pending.rows, pending.params, pending.out
        for reject in found:
            if reject.id not in self.rejects:
                self.rejects[reject.id] = reject
                if self.on_reject:
                    self.on_reject(reject)
        if found:
            bad = {reject.id for reject in found}
            keep = np.flatnonzero([self._ids[r] not in bad for r in rows])
            rows, out = rows[keep], [view[keep] for view in out]
            params = params and [drawn.take(keep) for drawn in params]
        images: Any = self._placed(rows, params, out)
        targets = self._targets[rows]
        if self.policy is not None and self.policy.mixes:
            soft = targets if targets.ndim == 2 else one_hot(targets, len(self.table.classes))
            key = (self.seed, epoch, pending.step * self.world + self.rank)
            targets = mix_batch(images[0], soft, self.policy, key)  # type: ignore[arg-type]
            if self.preprocess.finishes:  # only now: half of one hue and half of another is a third
                images = [self.preprocess.finish(images[0])]
        several = self.test_views is not None or isinstance(self.policy, Views)
        return Batch(tuple(images) if several else images[0], targets, [self._ids[r] for r in rows])

    def _placed(self, rows: np.ndarray, params: Any, out: list[np.ndarray]) -> list[Any]:
        """The views; those whose pixels lie on a device, augmented there."""
        if not isinstance(self.cache, DeviceCache):
            return list(out)
        from anmok.data.device_batch import on_device

        return on_device(self.cache, rows, params, out, self._fill)


def one_hot(targets: np.ndarray, k: int) -> np.ndarray:
    """float32[B, K] of int64[B]; an unlabelled row (-1) is NaN."""
    out = np.zeros((len(targets), k), np.float32)
    out[np.arange(len(targets)), targets] = 1
    out[targets < 0] = np.nan
    return out
