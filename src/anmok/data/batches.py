"""From a Table to uint8 batches: threads decode and augment straight into an array made for the batch.

There are no worker processes and nothing is pickled. The order is a pure function of (seed, epoch), so a run resumes at
any batch without reading what came before.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from anmok.augment.config import AugmentConfig
from anmok.augment.host import augment_into
from anmok.augment.mix import mix_batch
from anmok.augment.policy import Params, Policy, build_policy
from anmok.augment.preprocess import MARGIN, Preprocess
from anmok.core.errors import DataError, ImageError, UsageError, did_you_mean
from anmok.core.machine import cores, free_memory_bytes
from anmok.core.pixels import luma
from anmok.core.types import Batch, Reject
from anmok.data.decode import decode
from anmok.data.table import Table

CACHES = ("none", "ram", "auto")


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


class Loader:
    """Batches of a Table. `epoch(e, start)` yields those of epoch e from batch `start` on; iterating counts epochs.

    Images are uint8[B, S, S, C]; targets int64[B], or float32[B, K] for multi-label and mixed batches. An image that
    cannot be decoded is left out of its batch and kept in `rejects`; nothing replaces it (a batch may end up empty).
    `notes` says of which image the colour profile is broken and ignored. `wait_s` sums the seconds the consumer waited
    for data.

    policy: what training draws, None for the deterministic preprocessing. rank, world: this process takes its share of
    every global batch. on_reject is called once for each rejected image; on_note(id, text) for each note, from the
    thread that reads the image.
    """

    def __init__(
        self, table: Table, *, preprocess: Preprocess, batch_size: int, policy: Policy | None = None,
        shuffle: bool = False, drop_last: bool = False, seed: int = 0, threads: int | None = None, cache: str = "none",
        allow_truncated: bool = False, rank: int = 0, world: int = 1, prefetch: int = 3,
        on_reject: Callable[[Reject], None] | None = None, on_note: Callable[[str, str], None] | None = None,
    ):  # fmt: skip
        if batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, found {batch_size}.", code="setting")
        if threads is not None and threads < 1:
            raise UsageError(f"threads must be at least 1, found {threads}.", code="setting")
        if cache not in CACHES:
            raise UsageError(f"no such cache: {cache}. {did_you_mean(cache, CACHES)}".strip(), code="setting")
        if not len(table):
            raise DataError("there are no images to load.", code="empty-table")
        self.table, self.preprocess, self.seed, self.prefetch = table, preprocess, seed, prefetch
        self.policy = None if policy is None or policy.neutral else policy
        self.shuffle, self.rank, self.world, self.on_reject, self.on_note = shuffle, rank, world, on_reject, on_note
        self.bounds = batch_bounds(len(table), batch_size, drop_last, join_single=shuffle, world=world)
        self.threads = threads or cores()
        self.rejects: dict[str, Reject] = {}
        self.notes: dict[str, str] = {}
        self.wait_s = 0.0
        self._ids: list[str] = table.rows["id"].to_list()
        self._images: list[str] = table.rows["image"].to_list()
        self._targets = table.targets()
        self._fill = tuple(preprocess.background) if preprocess.depth == 3 else (luma(preprocess.background),)
        # A training image is decoded to at least MARGIN times the model's side, so that crops stay sharp.
        min_side = None if self.policy is None else round(preprocess.image_size * MARGIN)
        self._decode = partial(
            decode, channels=preprocess.channels, background=preprocess.background, allow_truncated=allow_truncated,
            min_side=min_side,
        )  # fmt: skip
        self._cache: dict[int, np.ndarray] = {}
        self._cache_left = 0 if cache == "none" else free_memory_bytes() // 4
        self._cache_lock = threading.Lock()
        self._frame = None if self.policy is None else training_frame(preprocess, self.policy)
        self._epoch = 0

    def __len__(self) -> int:
        return len(self.bounds)

    def __iter__(self) -> Iterator[Batch]:
        self._epoch += 1
        return self.epoch(self._epoch - 1)

    def epoch(self, epoch: int = 0, start: int = 0) -> Generator[Batch]:
        """The batches of one epoch, from batch `start` on."""
        import cv2

        cv2.setNumThreads(1)  # the threads are ours; OpenCV's own would fight them
        order = epoch_order(len(self.table), self.seed, epoch) if self.shuffle else np.arange(len(self.table))
        waiting: deque[tuple[int, np.ndarray, Params | None, np.ndarray, list[Future[list[Reject]]]]] = deque()
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="anmok-data")
        try:
            for step in range(start, len(self.bounds) + self.prefetch):
                if step < len(self.bounds):
                    low, high = self.bounds[step]
                    rows = np.array_split(order[low:high], self.world)[self.rank]
                    waiting.append((step, *self._submit(pool, rows, epoch)))
                if len(waiting) > self.prefetch or (step >= len(self.bounds) and waiting):
                    yield self._collect(epoch, *waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _submit(
        self, pool: ThreadPoolExecutor, rows: np.ndarray, epoch: int
    ) -> tuple[np.ndarray, Params | None, np.ndarray, list[Future[list[Reject]]]]:
        size = self.preprocess.image_size
        out = np.empty((len(rows), size, size, self.preprocess.depth), np.uint8)
        params = None if self.policy is None else self.policy.draw([self._ids[r] for r in rows], epoch, self.seed)
        chunk = max(1, -(-len(rows) // (2 * self.threads)))
        futures = [
            pool.submit(self._fill_rows, out, rows, params, low, min(low + chunk, len(rows)))
            for low in range(0, len(rows), chunk)
        ]
        return rows, params, out, futures

    def _fill_rows(self, out: np.ndarray, rows: np.ndarray, params: Params | None, low: int, high: int) -> list[Reject]:
        rejects = []
        for i in range(low, high):
            row = int(rows[i])
            try:
                self._fill_one(out[i], row, params, i)
            except ImageError as error:
                reason = f"{error.message} {error.remedy}" if error.remedy else error.message
                rejects.append(Reject(self._ids[row], error.code, reason))
        return rejects

    def _fill_one(self, out: np.ndarray, row: int, params: Params | None, index: int) -> None:
        image = self._cache.get(row)
        if image is None:
            image = self._decode(self.table.storage.read(self._images[row]), on_note=partial(self._note, row))
            image = self.preprocess.apply(image) if self.policy is None else self._prepare(image)
            with self._cache_lock:
                if self._cache_left > image.nbytes:
                    self._cache_left -= image.nbytes
                    self._cache[row] = image
        if params is None:
            out[:] = image
        else:
            augment_into(out, image, params, self._fill, index)
            if self.preprocess.finishes and not (self.policy and self.policy.mixes):
                out[:] = self.preprocess.finish(out)

    def _prepare(self, image: np.ndarray) -> np.ndarray:
        """What stands before the augmentation."""
        image = self.preprocess.prepare(image)
        return image if self._frame is None else self.preprocess.square(image, self._frame)

    def _note(self, row: int, text: str) -> None:
        """Keep what a reader of the picture should know: a broken colour profile; the rest is for the audit."""
        identity = self._ids[row]
        if text.startswith("bad-profile") and identity not in self.notes:
            self.notes[identity] = text
            if self.on_note:
                self.on_note(identity, text)

    def _collect(
        self, epoch: int, step: int, rows: np.ndarray, params: Params | None, out: np.ndarray,
        futures: list[Future[list[Reject]]],
    ) -> Batch:  # fmt: skip
        began = time.perf_counter()
        found = [reject for future in futures for reject in future.result()]
        self.wait_s += time.perf_counter() - began
        for reject in found:
            if reject.id not in self.rejects:
                self.rejects[reject.id] = reject
                if self.on_reject:
                    self.on_reject(reject)
        if found:
            bad = {reject.id for reject in found}
            keep = np.array([self._ids[r] not in bad for r in rows])
            rows, out = rows[keep], out[keep]
        targets = self._targets[rows]
        if self.policy is not None and self.policy.mixes:
            soft = targets if targets.ndim == 2 else one_hot(targets, len(self.table.classes))
            targets = mix_batch(out, soft, self.policy, (self.seed, epoch, step * self.world + self.rank))
            if self.preprocess.finishes:  # only now: half of one hue and half of another is a third
                out = self.preprocess.finish(out)
        return Batch(out, targets, [self._ids[r] for r in rows])


def training_frame(preprocess: Preprocess, policy: Policy) -> int | None:
    """Side of the square that a training image becomes before it is augmented; None where the policy's crop does it.

    Without it a model that is to see padded or cropped squares would learn from squashed ones.
    """
    if preprocess.fit == "squash" or (preprocess.fit == "crop" and policy.ratio is not None):
        return None
    return round(preprocess.image_size * MARGIN)


def one_hot(targets: np.ndarray, k: int) -> np.ndarray:
    """float32[B, K] of int64[B]; an unlabelled row (-1) is NaN."""
    out = np.zeros((len(targets), k), np.float32)
    out[np.arange(len(targets)), targets] = 1
    out[targets < 0] = np.nan
    return out


class Normalized:
    """Batches as a training loop of one's own wants them: float32[B, C, H, W] normalised torch tensors."""

    def __init__(self, loader: Loader):
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        from anmok.core.optional import need

        torch = need("torch", "train")
        pre = self.loader.preprocess
        mean, std = (torch.tensor(v).mul(255).view(1, -1, 1, 1) for v in (pre.mean, pre.std))
        for batch in self.loader:
            images = torch.from_numpy(batch.images).permute(0, 3, 1, 2).float().sub_(mean).div_(std)
            yield Batch(images, torch.from_numpy(batch.targets), batch.ids)


def loader(
    table: Table, *, split: str | None = None, batch_size: int = 64, image_size: int | None = None,
    augment: str | AugmentConfig | Policy | None = None, cache: str = "none", seed: int = 0, normalize: bool = True,
    shuffle: bool | None = None, drop_last: bool = False, threads: int | None = None,
    preprocess: Preprocess | None = None, allow_truncated: bool = False,
) -> Any:  # fmt: skip
    """Batches of a Table (or of one split of it), to iterate over: (images, targets, ids).

    normalize=True: torch tensors, images float32[B, C, H, W] normalised, targets int64[B] (multi-label: float32[B, K]);
    normalize=False: numpy arrays, images uint8[B, H, W, C]. shuffle: by default the train split is shuffled, with an
    order of its own each time it is iterated. augment: a policy's name, AugmentConfig or Policy; None for none.
    cache: 'none', 'ram' or 'auto'. image_size: by default the preprocess's, else 224.
    """
    rows = table if split is None else table.where(split=split)
    if split is not None and not len(rows):
        found = ", ".join(str(s) for s in table.rows["split"].unique().sort().drop_nulls()) or "no split at all"
        raise DataError(
            f"{split!r} matches 0 of {len(table):,} rows; found {found}.", where="split", code="empty-table"
        )
    if isinstance(augment, str):
        from anmok.core.config import resolve

        augment = resolve(AugmentConfig, {"policy": augment})
    pre = preprocess or Preprocess(224)
    pre = replace(pre, image_size=image_size or pre.image_size)
    policy = build_policy(augment, pre.fit == "squash") if isinstance(augment, AugmentConfig) else augment
    out = Loader(
        rows, preprocess=pre, batch_size=batch_size, policy=policy, drop_last=drop_last, seed=seed, threads=threads,
        shuffle=split == "train" if shuffle is None else shuffle, cache=cache, allow_truncated=allow_truncated,
    )  # fmt: skip
    return Normalized(out) if normalize else out
