"""Accuracy against latency: every model with its interval, the front drawn, names beside their points."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from anmok.report.audit_figures import ticks
from anmok.report.figures import WIDTH, table
from anmok.report.words import percent

HEIGHT = 320
PLOTS = (260, 430, 560)  # widths of the plot for which names are placed: on a phone, beside a text, as a picture
LETTER, LINE = 6.6, 14  # pixels of a letter of 12 pixels, and of its line
POINT = 7  # radius kept free around a point
# Where a name may stand: to the right, pixels; down, pixels; which part of it is there.
End = Literal["left", "right", "center"]
PLACES: tuple[tuple[int, int, End], ...] = (
    (10, 0, "left"), (-10, 0, "right"), (8, -13, "left"), (8, 14, "left"), (-8, -13, "right"), (-8, 14, "right"),
    (8, -27, "left"), (8, 28, "left"), (-8, -27, "right"), (-8, 28, "right"), (8, -41, "left"), (-8, 42, "right"),
)  # fmt: skip

Box = tuple[float, float, float, float]  # left, top, right, bottom


class Spot(NamedTuple):
    """A point with its name: shares of the plot from the left and the top, those of its interval's ends."""

    name: str
    x: float
    y: float
    top: float
    bottom: float


def places(
    spots: Sequence[Spot], widths: Sequence[float] = PLOTS, height: float = HEIGHT, front: Sequence[int] = ()
) -> list[tuple[int, int, End]]:
    """Where each name stands: so that names cover neither each other, nor points, nor intervals, nor the front's line.

    Of PLACES, and over and under its interval; taken one after the other, from the left, the right, the top and the
    bottom, each where it covers least in plots of all the widths; of these four the one that covers least in all.
    front: of the spots, those that the line joins, from the left.
    """

    def cost(i: int, place: tuple[int, int, End], others: Mapping[int, tuple[int, int, End]]) -> float:
        total = 0.0
        for width in widths:
            mine = _box(spots[i], place, width, height)
            total += 4 * _outside(mine, width, height)
            total += sum(_overlap(mine, _box(spots[j], at, width, height)) for j, at in others.items())
            total += sum(_overlap(mine, part) for part in _line([spots[j] for j in front], width, height))
            for j, spot in enumerate(spots):
                total += sum(_overlap(mine, part) for part in _drawn(spot, width, height, own=j == i))
        return round(total, 3)

    def one_by_one(order: Sequence[int]) -> tuple[float, dict[int, tuple[int, int, End]]]:
        taken: dict[int, tuple[int, int, End]] = {}
        total = 0.0
        for i in order:
            known = [(cost(i, place, taken), n, place) for n, place in enumerate(_near(spots[i], height))]
            least, _, taken[i] = min(known)
            total += least
        return total, taken

    from_left = sorted(range(len(spots)), key=lambda i: (spots[i].x, spots[i].y))
    from_top = sorted(range(len(spots)), key=lambda i: (spots[i].y, spots[i].x))
    found = [one_by_one(order) for order in (from_left, from_left[::-1], from_top, from_top[::-1])]
    taken = min(found, key=lambda one: one[0])[1]
    return [taken[i] for i in range(len(spots))]


def _near(spot: Spot, height: float) -> list[tuple[int, int, End]]:
    """The places around a point, then those under and over its interval."""
    ends = ((spot.bottom - spot.y) * height + 11, (spot.top - spot.y) * height - 11)
    aligned: tuple[tuple[int, End], ...] = ((0, "center"), (6, "right"), (-6, "left"))
    return [*PLACES, *((dx, round(end), part) for end in ends for dx, part in aligned)]


def _box(spot: Spot, place: tuple[int, int, End], width: float, height: float) -> Box:
    """What a name covers, pixels."""
    dx, dy, end = place
    long = LETTER * len(spot.name)
    left = spot.x * width + dx - {"left": 0.0, "center": long / 2, "right": long}[end]
    middle = spot.y * height + dy
    return left, middle - LINE / 2, left + long, middle + LINE / 2


def _drawn(spot: Spot, width: float, height: float, own: bool) -> list[Box]:
    """The point of a model and the line of its interval."""
    x, y = spot.x * width, spot.y * height
    line = (x - 3, spot.top * height, x + 3, spot.bottom * height)
    return [line] if own else [line, (x - POINT, y - POINT, x + POINT, y + POINT)]


def _line(front: Sequence[Spot], width: float, height: float) -> list[Box]:
    """The steps that join the points of the front: along, then up."""
    out = []
    for a, b in itertools.pairwise(front):
        across, up = b.x * width, a.y * height
        out += [(a.x * width, up - 2, across, up + 2), (across - 2, b.y * height, across + 2, up)]
    return out


def _overlap(a: Box, b: Box) -> float:
    """Square pixels that two boxes share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _outside(a: Box, width: float, height: float) -> float:
    """Square pixels of a box outside the plot."""
    return (a[2] - a[0]) * (a[3] - a[1]) - _overlap(a, (0, 0, width, height))


def pareto(rows: Sequence[Mapping[str, Any]], front: Sequence[str]) -> Any:
    """A point a model, of the rows of a comparison; None where none has both numbers.

    front: names on the line, which no other model beats in both; they are drawn strongly.
    """
    import altair as alt

    points = [
        {
            "model": row["model"], "latency": row["latency_ms"], "accuracy": row["accuracy"]["value"],
            "low": row["accuracy"].get("low", row["accuracy"]["value"]), "on": row["model"] in front,
            "high": row["accuracy"].get("high", row["accuracy"]["value"]), "text": percent(row["accuracy"]["value"]),
        }
        for row in rows
        if not row["error"] and row["latency_ms"] and (row["accuracy"] or {}).get("value") is not None
    ]  # fmt: skip
    if not points:
        return None
    slow, fast = max(p["latency"] for p in points) * 1.6, min(p["latency"] for p in points) / 1.6
    low, high = min(p["low"] for p in points), max(p["high"] for p in points)
    edge = 0.06 * max(high - low, 0.02)
    low, high = max(0.0, low - edge), high + 2 * edge  # above 100 % there is room for a name
    spots = [
        Spot(
            p["model"], math.log(p["latency"] / fast) / math.log(slow / fast),
            *((high - p[name]) / (high - low) for name in ("accuracy", "high", "low")),
        )
        for p in points
    ]  # fmt: skip
    marks = ticks(fast, slow, logarithmic=True)
    x = alt.X(
        "latency:Q",
        title="latency of one image, ms",
        scale=alt.Scale(type="log", domain=[fast, slow], nice=False),
        axis=alt.Axis(values=marks, format="~g", grid=True),
    )
    title = "accuracy, 95 % interval"
    scale = alt.Scale(domain=[low, high], nice=False, zero=False)
    axis = alt.Axis(labelExpr="datum.value > 1 ? '' : format(100 * datum.value, '~r') + ' %'", tickCount=5)
    y = alt.Y("accuracy:Q", title=title, scale=scale, axis=axis)
    ends = {"y": alt.Y("low:Q", title=title, scale=scale, axis=axis), "y2": "high:Q"}
    base = alt.Chart(table(points)).encode(x=x)
    line = [{"latency": p["latency"], "accuracy": p["accuracy"]} for p in points if p["on"]]
    layers = [
        alt.Chart(table(line)).mark_line(interpolate="step-after", strokeDash=[4, 4], style="quiet").encode(x=x, y=y)
    ]
    for part, mark in (("datum.on", "main"), ("!datum.on", "quiet")):
        some = base.transform_filter(part)
        layers.append(some.mark_rule(strokeWidth=4, opacity=0.3, style=mark, strokeCap="round").encode(**ends))
        layers.append(
            some.mark_point(filled=True, size=90, opacity=1, style=mark).encode(
                y=y,
                tooltip=[
                    "model:N", alt.Tooltip("text:N", title="accuracy"),
                    alt.Tooltip("latency:Q", title="latency, ms", format=".3~r"),
                ],
            )
        )  # fmt: skip
    joined = sorted((i for i, p in enumerate(points) if p["on"]), key=lambda i: points[i]["latency"])
    for point, (dx, dy, end) in zip(points, places(spots, front=joined), strict=True):
        text = alt.Chart(table([point])).mark_text(dx=dx, dy=dy, align=end, fontSize=12, style="value", clip=False)
        layers.append(text.encode(x=x, y=y, text="model:N"))
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
