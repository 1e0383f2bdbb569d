"""How well a dual encoder finds the caption of an image among all captions, and the image of a caption."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from anmok.core.events import read_events
from anmok.core.progress import bar
from anmok.data.batches import Loader
from anmok.data.captions import captions_of
from anmok.data.table import Table
from anmok.engine.runtime import Runtime
from anmok.evaluate.intervals import wilson
from anmok.models.classifier import evaluating
from anmok.models.text_tokens import words_of
from anmok.stages.job import Job
from anmok.stages.probe import validation_loss

KS = (1, 5, 10)
BLOCK = 512  # queries at a time
WATCHED = 2000  # validation images, at most, that an epoch's recall looks at


class Recall(NamedTuple):
    """Shares that find at least one of theirs among the first k, with 95 % intervals.

    images, captions: how many of each there are to find; captions of the same words are one. both:
    {'image_to_text': {'1': {value, low, high}, …}, 'text_to_image': …}; chance: of the first place, either way.
    """

    images: int
    captions: int
    both: dict[str, dict[str, dict[str, float]]]
    chance: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for retrieval.json."""
        return {"images": self.images, "captions": self.captions, "recall": self.both, "chance": self.chance}


class RecallMonitor:
    """`monitor(job)` gives an epoch's validation figures: loss, and recall@1 both ways on up to WATCHED images.

    lowest: keep the weights of the lowest loss, not those of the best mean recall.
    """

    def __init__(self, watched: Loader | None, lowest: bool):
        self.watched, self.lowest = watched, lowest

    def __call__(self, job: Job) -> dict[str, float]:
        """Scores of the judged weights; without validation pairs the last weights are kept."""
        if job.val is None or self.watched is None:
            return {"select": float(sum(1 for _ in read_events(job.folder / "events.jsonl", "epoch")))}
        loss = validation_loss(job.judged, job.val, job.runtime)
        found = recall_of(job.judged.towers, self.watched, job.runtime)
        i2t, t2i = (found.both[way]["1"]["value"] for way in ("image_to_text", "text_to_image"))
        out = {"loss": loss, "image_to_text_r1": i2t, "text_to_image_r1": t2i}
        return out | {"select": -loss if self.lowest else (i2t + t2i) / 2}


def watched_rows(val: Table, seed: int) -> Table:
    """At most WATCHED of the validation rows, drawn by the seed and in their order."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(val))[:WATCHED])
    return val.take(rows)


def recall_of(towers: Any, images: Loader, runtime: Runtime | None = None, title: str = "") -> Recall:
    """The recall of a dual encoder over a loader whose table has captions; unreadable images take no part."""
    vectors, ids = image_vectors(towers, images, runtime, title)
    own = captions_of(images.table)
    numbers: dict[tuple[str, ...], int] = {}
    texts: list[str] = []
    pairs: set[tuple[int, int]] = set()
    for row, identity in enumerate(ids):
        for text in own[identity]:
            number = numbers.setdefault(tuple(words_of(text)), len(numbers))
            if number == len(texts):
                texts.append(text)
            pairs.add((row, number))
    return recall(vectors, towers.encode_texts(texts), np.array(sorted(pairs), np.int64).reshape(-1, 2))


def image_vectors(
    towers: Any, images: Loader, runtime: Runtime | None = None, title: str = ""
) -> tuple[np.ndarray, list[str]]:
    """(unit vectors float32[N, D], ids) of a loader's images."""
    runtime = runtime or Runtime(torch.device("cpu"))
    vectors, ids = [np.zeros((0, towers.dim), np.float32)], []
    with bar(title or "validate", len(images.table)) as progress, evaluating(towers), runtime.autocast():
        for batch in images.epoch(0):
            if len(batch):
                vectors.append(towers.image_vectors(runtime.to_device(batch).images).cpu().numpy())
                ids += batch.ids
            progress.advance(len(batch))
    return np.concatenate(vectors), ids


def recall(images: np.ndarray, texts: np.ndarray, pairs: np.ndarray) -> Recall:
    """From unit vectors float32[N, D] and [M, D], and pairs int[P, 2]: which image and which text belong together.

    An image may have several texts and a text several images. A query counts as found at k where one of its own is
    among the k most similar; of equally similar ones those that are not its own stand first, so that an encoder that
    maps all to one place finds nothing.
    """
    both, chance = {}, {}
    ways = (("image_to_text", images, texts, pairs), ("text_to_image", texts, images, pairs[:, ::-1]))
    for way, queries, items, own in ways:
        ahead, share = ahead_of(queries, items, own)
        hits = {k: int((ahead < k).sum()) for k in KS}
        bounds = {k: wilson(h, len(ahead)) for k, h in hits.items()}
        n = max(1, len(ahead))
        both[way] = {str(k): {"value": hits[k] / n, "low": bounds[k][0], "high": bounds[k][1]} for k in KS}
        chance[way] = share
    return Recall(len(images), len(texts), both, chance)


def ahead_of(queries: np.ndarray, items: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, float]:
    """(int64[Q], how many items stand before the first of its own of each query that has one; the mean share of own).

    queries float[Q, D], items float[N, D]; pairs int[P, 2] of a query and an item.
    """
    order = pairs[np.argsort(pairs[:, 0], kind="stable")]
    asked, starts = np.unique(order[:, 0], return_index=True)
    own = np.split(order[:, 1], starts[1:]) if len(asked) else []
    ahead = np.zeros(len(asked), np.int64)
    for start in range(0, len(asked), BLOCK):
        alike = queries[asked[start : start + BLOCK]] @ items.T
        for row, scores in enumerate(alike, start):
            mine = scores[own[row]]
            ahead[row] = (scores >= mine.max()).sum() - (mine >= mine.max()).sum()
    return ahead, float(np.mean([len(o) / len(items) for o in own])) if own else 0.0
