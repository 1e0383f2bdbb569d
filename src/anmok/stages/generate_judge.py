"""Generated images before a judge: what texts say of them, what they are copies of, how like the real ones they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anmok.core.progress import warn
from anmok.data.made import given
from anmok.data.storage import file_reference
from anmok.data.table import Table
from anmok.expand.generate import Order
from anmok.expand.judged import ACCEPTED, BLANK, UNREADABLE, Scores, Verdict, is_blank, text_scores, verdicts
from anmok.nshot.prompts import PROMPTS, ClassText, class_vectors, known_wordings
from anmok.nshot.zeroshot import logits, probabilities
from anmok.stages.generate_folder import Painted, find, pixels
from anmok.stages.generate_likeness import likeness
from anmok.stages.generate_near import near_known
from anmok.stages.search_reader import Reader, foreign
from anmok.stages.search_vectors import Reading, image_vectors, indexed_vectors


class Bounds(NamedTuple):
    """margin: least difference between the probability of the class and of the best other one; copy: the cosine from
    which an image is a copy of a real one by vectors alone, None: as alike as real images are.
    """

    margin: float = 0.0
    copy: float | None = None


@dataclass(frozen=True, eq=False)
class Judgement:
    """Of N generated images, in the order of their orders; likeness: by class, see `generate_likeness.likeness`; copy:
    the cosine that was the bound.
    """

    verdicts: list[Verdict]
    scores: Scores
    likeness: dict[str, dict[str, Any]]
    copy: float

    @property
    def taken(self) -> list[bool]:
        """Whether each image may be trained on."""
        return [one.reason == ACCEPTED for one in self.verdicts]


def judge(
    table: Table, orders: Sequence[Order], painted: Sequence[Painted], beside: Path, reader: Reader,
    words: Sequence[ClassText], bounds: Bounds, how: Reading, seed: int,
) -> Judgement:  # fmt: skip
    """Every generated image before the dual encoder, and beside all images of train, val and test."""
    made = as_table(table, painted, beside)
    faults = [one.fault or _looks(pixels(beside, one.file)) for one in painted]
    vectors = image_vectors(reader, made, how).values
    known = indexed_vectors(reader, table, how).values
    if vectors.shape[1] != known.shape[1]:  # not one of them could be read
        vectors = np.full((len(made), known.shape[1]), np.nan, np.float32)
    texts, said = known_wordings(words, lambda text: foreign(reader, text))
    for line in said:
        warn(line)
    named = class_vectors(reader.dual.encode_texts, texts, PROMPTS)
    probs = probabilities(logits(vectors, named, reader.dual.scale, reader.dual.bias))
    intended = np.array([order.label for order in orders], np.int64)
    scores = text_scores(probs, intended)
    sound = vectors.copy()
    sound[[bool(fault) for fault in faults]] = np.nan
    near, bound = near_known(table, made, known, sound, bound=bounds.copy, threads=how.threads)
    found = verdicts(faults, near, scores, intended, table.classes, bounds.margin)
    taken = np.array([one.reason == ACCEPTED for one in found])
    alike = {
        table.classes[k]: likeness(*_pair(table, orders, vectors, known, k, taken), seed=seed)
        for k in dict.fromkeys(intended.tolist())
    }
    return Judgement(found, scores, alike, bound)


def as_table(table: Table, painted: Sequence[Painted], beside: Path) -> Table:
    """The generated images as rows without label and split, with the folder beside the new table as their root."""
    import polars as pl

    places = [find(beside, one.file) or beside / one.file for one in painted]
    rows = pl.DataFrame({
        "id": [one.file for one in painted],
        "image": [file_reference(place.relative_to(beside).as_posix()) for place in places],
        **{name: pl.Series([None] * len(painted), dtype=pl.String) for name in ("label", "split", "group", "hash")},
    })  # fmt: skip
    return Table(rows, beside, table.classes, table.task)


def _looks(image: np.ndarray | None) -> str:
    return UNREADABLE if image is None else BLANK if is_blank(image) else ""


def _pair(
    table: Table, orders: Sequence[Order], vectors: np.ndarray, known: np.ndarray, label: int, taken: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """(vectors of the taken images of a class, of its real training images, what each began with, ids of the real)."""
    import polars as pl

    mine = np.flatnonzero(taken & np.array([order.label == label for order in orders]))
    keep = (pl.col("split") == "train") & (pl.col("label") == table.classes[label]) & given(table)
    rows = table.rows.with_row_index("_row").filter(keep)
    real = rows["_row"].to_numpy()
    good = np.isfinite(known[real]).all(axis=1)
    ids = [name for name, yes in zip(rows["id"].to_list(), good, strict=True) if yes]
    begun = [orders[n].start.id if orders[n].start else f"{n}" for n in mine.tolist()]  # type: ignore[union-attr]
    return vectors[mine], known[real[good]], begun, ids
