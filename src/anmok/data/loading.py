"""`anmok.data.loader`: batches of a Table for a training loop of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from anmok.augment.accept import as_policy
from anmok.augment.preprocess import Preprocess
from anmok.augment.views import Views
from anmok.core.errors import DataError
from anmok.core.optional import need
from anmok.core.types import Batch
from anmok.data.batches import Loader
from anmok.data.normalize import Spare, normalized
from anmok.data.pixels import KEPT, open_cache
from anmok.data.table import Table

EPOCHS = 10  # that a training loop of one's own is taken to read


class Normalized:
    """Batches as a training loop of one's own wants them: float32[B, C, H, W] normalised torch tensors.

    Their memory is channels last, as the pixels are; `.contiguous()` makes it the other.
    """

    def __init__(self, loader: Loader):
        self.loader, self._spare = loader, Spare()

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        torch = need("torch", "train")
        for batch in self.loader:
            images = batch.images
            shown = tuple(map(self._normal, images)) if isinstance(images, tuple) else self._normal(images)
            yield Batch(shown, torch.from_numpy(batch.targets), batch.ids)

    def _normal(self, images: Any) -> Any:
        torch, pre = need("torch", "train"), self.loader.preprocess
        if isinstance(images, np.ndarray):
            return torch.from_numpy(normalized(images, pre.mean, pre.std, self._spare)).permute(0, 3, 1, 2)
        from anmok.augment.device import finish

        return finish(images, pre.mean, pre.std)


def loader(
    table: Table, *, split: str | None = None, batch_size: int = 64, image_size: int | None = None,
    augment: Any = None, cache: str = "none", cache_side: int | None = None, balance: str = "none", seed: int = 0,
    normalize: bool = True, shuffle: bool | None = None, drop_last: bool = False, threads: int | None = None,
    preprocess: Preprocess | None = None, allow_truncated: bool = False, prefetch: int = 3, device: str = "cuda",
) -> Any:  # fmt: skip
    """Batches of a Table (or of one split of it), to iterate over: (images, targets, ids).

    normalize=True: torch tensors, images float32[B, C, H, W] normalised, targets int64[B] (multi-label: float32[B, K]);
    normalize=False: numpy arrays, images uint8[B, H, W, C]. shuffle: by default the train split is shuffled, with an
    order of its own each time it is iterated. augment: a policy's name or file, AugmentConfig, Policy, Views (images
    are then a tuple), or a transform of the user's (see `anmok.augment.guest`); None for none.
    cache: 'none', 'ram', 'disk', 'device' or 'auto'; cache_side: short side of what it keeps, by default 8/7 of the
    model's. balance: 'none', 'balanced', 'sqrt' or 'effective'. image_size: by default the preprocess's, else 224.
    """
    rows = table if split is None else table.where(split=split)
    if split is not None and not len(rows):
        found = ", ".join(str(s) for s in table.rows["split"].unique().sort().drop_nulls()) or "no split at all"
        raise DataError(
            f"{split!r} matches 0 of {len(table):,} rows; found {found}.", where="split", code="empty-table"
        )
    pre = preprocess or Preprocess(224)
    pre = replace(pre, image_size=image_size or pre.image_size)
    policy: Any = augment if isinstance(augment, Views) else None
    if augment is not None and policy is None:
        policy = as_policy(augment, pre.fit == "squash", pre.depth)
    policy = None if policy is None or policy.neutral else policy
    side = cache_side or round(pre.image_size * KEPT)
    kept = open_cache(
        cache, rows, pre, policy, side=side, allow_truncated=allow_truncated, share=0.5, epochs=EPOCHS, device=device
    )
    out = Loader(
        rows, preprocess=pre, batch_size=batch_size, policy=policy, drop_last=drop_last, seed=seed, threads=threads,
        shuffle=split == "train" if shuffle is None else shuffle, cache=kept, balance=balance,
        cache_side=None if kept.kind == "none" else side,
        allow_truncated=allow_truncated, prefetch=prefetch,
    )  # fmt: skip
    return Normalized(out) if normalize else out
