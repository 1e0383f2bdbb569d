"""The map of a run's validation images: their vectors as a figure, with what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anmok.core.errors import AnmokError
from anmok.core.text import visible
from anmok.report.embedding_map import MOST_COLORS, embedding_map
from anmok.report.shell import picture_address
from anmok.report.words import count
from anmok.stages.inspect_errors import is_wrong
from anmok.stages.inspect_settings import InspectConfig
from anmok.stages.inspect_vectors import Plane, Vectors, embed, on_plane, same_neighbours
from anmok.stages.pick import candidates, class_of, label_text

if TYPE_CHECKING:
    from anmok.models.encoder import Encoder
    from anmok.stages.inspect_subject import Subject

FEWEST = 3  # images of which there is a map


class Mapped(NamedTuple):
    """The figure (None: there is none) and what it shows, the numbers, and inputs uint8[n, S, S, C] for other uses.

    same: the share of images whose nearest neighbour has their label, None where that has no meaning; n: of how many.
    """

    figure: Any
    text: str
    data: dict[str, Any] | None
    prepared: np.ndarray
    same: float | None = None
    n: int = 0


def map_of(
    subject: Subject, encoder: Encoder | None, why: str, options: InspectConfig, threads: int | None
) -> Mapped:  # fmt: skip
    """The map of up to `options.points` validation images."""
    none = np.zeros((0, 1, 1, 1), np.uint8)
    table, p = subject.table, subject.predictions
    if encoder is None:
        return Mapped(None, f"There is no map: {why}", None, none)
    if table is None or p is None:
        return Mapped(None, "There is no map: it is of a run's validation images, and there are none.", None, none)
    order = candidates(table.rows["id"].to_list(), class_of(table), options.points, options.seed)
    some = table.take(list(order)[: options.points])
    try:
        v = embed(subject.model, encoder, some, options.field_images, threads, subject.allow_truncated)
    except AnmokError as error:
        return Mapped(None, f"There is no map: {error}", None, none)
    if len(v.ids) < FEWEST:
        return Mapped(None, f"There is no map of {count(len(v.ids), 'image')}.", None, v.prepared)
    plane = on_plane(v.values, options.map, options.seed)
    points = _points(subject, v, plane)
    targets = np.array([place.get(i, -1) for i in v.ids]) if (place := _single(subject)) else None
    same = None if targets is None else same_neighbours(v.values, targets)
    wrong = sum(point["wrong"] for point in points)
    colour = "by label" if len(subject.model.classes) <= MOST_COLORS else "by whether the answer is right"
    text = (
        f"{count(len(points), 'validation image')}, as the head sees them ({v.values.shape[1]} numbers each), "
        f"{plane.how}; coloured {colour}. Crosses are those predicted wrong ({wrong:,}). "
        "Point at one to see it, click a label to see it alone."
    )
    data = {
        "kind": options.map, "width": int(v.values.shape[1]), "axes": list(plane.axes), "same_neighbours": same,
        "points": [{k: point[k] for k in ("id", "x", "y", "label", "predicted", "wrong")} for point in points],
    }  # fmt: skip
    return Mapped(embedding_map(points, subject.model.classes, plane.axes), text, data, v.prepared, same, len(points))


def _single(subject: Subject) -> dict[str, int] | None:
    """{id: class} of a task in which an image has one label."""
    p = subject.predictions
    if p is None or p.targets is None or p.task == "multilabel":
        return None
    return dict(zip(p.ids, p.targets.tolist(), strict=True))


def _points(subject: Subject, v: Vectors, plane: Plane) -> list[dict[str, Any]]:
    table, p = subject.table, subject.predictions
    assert table is not None
    assert p is not None
    labels = dict(table.rows.select("id", "label").iter_rows())
    said = {i: label_text(label or None) for i, label in zip(p.ids, p.labels, strict=True)}
    wrong = dict(zip(p.ids, is_wrong(p).tolist(), strict=True))
    return [
        {
            "id": visible(i), "x": round(float(x), 4), "y": round(float(y), 4), "label": label_text(labels[i]),
            "predicted": said.get(i, ""), "wrong": wrong.get(i, False), "image": picture_address(picture),
        }
        for i, (x, y), picture in zip(v.ids, plane.points, v.pictures, strict=True)
    ]  # fmt: skip
