"""What a model says of images in several views: as they are and, if asked, mirrored; each image is decoded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from anmok.core.progress import bar
from anmok.data.batches import Loader
from anmok.data.table import Table

View = Callable[[np.ndarray], np.ndarray]  # uint8[B, S, S, C] to the same
VIEWS: dict[str, tuple[View, ...]] = {
    "none": (lambda images: images,),
    "flips": (lambda images: images, lambda images: images[:, :, ::-1]),
}


class Seen(NamedTuple):
    """probs: of each view float32[N, K], NaN in rows not looked at or not readable; errors: id -> why not readable."""

    probs: list[np.ndarray]
    errors: dict[str, str]


def predict_views(
    model: Any, table: Table, views: str = "flips", *, skip: set[str] | None = None, batch_size: int = 64,
    threads: int | None = None, allow_truncated: bool = False,
) -> Seen:  # fmt: skip
    """The model's probabilities of every row in each of VIEWS[views]; rows whose id is in `skip` are not looked at."""
    ids: list[str] = table.rows["id"].to_list()
    chosen, left_out = VIEWS[views], skip or set()
    probs = [np.full((len(ids), len(model.classes)), np.nan, np.float32) for _ in chosen]
    rows = [i for i, name in enumerate(ids) if name not in left_out]
    if not rows:
        return Seen(probs, {})
    place = {ids[i]: i for i in rows}
    loader = Loader(
        table.take(rows), preprocess=model.preprocess, batch_size=batch_size, threads=threads,
        allow_truncated=allow_truncated,
    )  # fmt: skip
    with bar("predict", len(rows)) as progress:
        for batch in loader.epoch():
            if len(batch):
                at = [place[name] for name in batch.ids]
                for out, view in zip(probs, chosen, strict=True):
                    out[at] = model.probabilities(np.ascontiguousarray(view(batch.images)))
            progress.advance(len(batch))
    return Seen(probs, {r.id: f"{r.kind}: {r.reason}" for r in loader.rejects.values()})
