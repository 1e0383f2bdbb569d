"""Images as points: near one another where the network sees them alike, coloured by their label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anmok.report.figures import table

WIDTH, HEIGHT = 620, 440
MOST_COLORS = 20  # more labels than this cannot be told apart by colour


def embedding_map(points: Sequence[Mapping[str, Any]], classes: Sequence[str], axes: Sequence[str]) -> Any:
    """A point for each image; those that were predicted wrong are crosses with a rim.

    points: id, x, y, label, predicted, wrong, and image (an address, '' for none) of each; axes: what x and y are.
    With more than MOST_COLORS classes the colour says only who is wrong. A label in the legend can be clicked.
    """
    import altair as alt

    many = len(classes) > MOST_COLORS
    shown = any(point.get("image") for point in points)
    tip = [
        *([alt.Tooltip("image:N", title="image")] if shown else []), alt.Tooltip("label:N", title="true"),
        alt.Tooltip("predicted:N", title="predicted"), alt.Tooltip("id:N", title="id"),
    ]  # fmt: skip
    axis = alt.Axis(labels=False, grid=True, tickCount=6)
    scheme: Any = "tableau10" if len(classes) <= 10 else "tableau20"
    picked = alt.selection_point(fields=["label"], bind="legend", name="picked")
    if many:
        names = ["right", "wrong"]
        colour = alt.Color("outcome:N", title=None, scale=alt.Scale(domain=names, range="category"))
    else:
        colour = alt.Color(
            "label:N", title=None, scale=alt.Scale(domain=list(classes), scheme=scheme),
            legend=alt.Legend(columns=6, symbolType="circle", symbolOpacity=1),
        )  # fmt: skip
    rows = [{**point, "outcome": "wrong" if point["wrong"] else "right"} for point in points]
    base = alt.Chart(table(rows)).encode(
        x=alt.X("x:Q", title=axes[0], scale=alt.Scale(zero=False, nice=False, padding=12), axis=axis),
        y=alt.Y("y:Q", title=axes[1], scale=alt.Scale(zero=False, nice=False, padding=12), axis=axis),
        color=colour,
        tooltip=tip,
    )
    size = 46 if len(rows) <= 600 else 26
    faded = {} if many else {"opacity": alt.condition(picked, alt.value(0.8), alt.value(0.08))}
    right = base.transform_filter("!datum.wrong").mark_point(filled=True, shape="circle", size=size).encode(**faded)
    wrong = base.transform_filter("datum.wrong").mark_point(
        filled=True, shape="cross", size=size * 2.4, stroke="#14181c", strokeWidth=0.9
    ).encode(**faded)  # fmt: skip
    chart = alt.layer(right, wrong) if many else alt.layer(right.add_params(picked), wrong)
    return chart.properties(width=WIDTH, height=HEIGHT)
