"""A batch of which the device augments what it holds, and the host has augmented the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from anmok.augment.params import Params
from anmok.core.optional import need
from anmok.data.device_cache import DeviceCache


def on_device(
    cache: DeviceCache, rows: np.ndarray, params: Sequence[Params] | None, views: Sequence[np.ndarray],
    erased: tuple[float, ...],
) -> list[Any]:  # fmt: skip
    """The views as tensors uint8[B, S, S, C] on the cache's device.

    views: what the host has written for the rows that the cache does not hold; params: of each view, None without an
    augmentation: what is held are then the finished squares. erased: the colour of what is erased, one value a channel.
    """
    from anmok.augment.device import augment_batch

    torch = need("torch", "train")
    held = np.flatnonzero(cache.holds(rows))
    flat, offsets, sizes = cache.rows(rows[held])
    color = tuple(int(v) for v in (erased * 3)[:3]) if len(erased) == 1 else tuple(int(v) for v in erased)
    out = []
    for k, view in enumerate(views):
        images = torch.empty(view.shape, dtype=torch.uint8, device=flat.device)
        if len(held) < len(rows):
            images.copy_(torch.from_numpy(view), non_blocking=True)
        if len(held):
            size, depth = view.shape[1], view.shape[3]
            if params is None:
                places = torch.from_numpy(offsets).to(flat.device)[:, None] + torch.arange(
                    size * size * depth, device=flat.device
                )
                made = flat[places].view(-1, size, size, depth)
            else:
                drawn = replace(params[k].take(held), erased=color)  # type: ignore[arg-type]
                made = augment_batch(flat, offsets, sizes, depth, drawn, size)
            images[torch.from_numpy(held).to(flat.device)] = made
        out.append(images)
    return out
