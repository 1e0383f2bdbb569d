"""Accuracy of few-shot answers against the number of images they learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anmok.report.figures import WIDTH, table
from anmok.report.words import percent

SPREAD = 0.07  # of the distance between two numbers of shots, between two methods


def shots_figure(rows: Sequence[Mapping[str, Any]], names: Mapping[str, str], chance: float) -> Any:
    """A line a method, its 95 % intervals as bars; the dashed line is chance.

    rows: method, shots, accuracy {value, low, high}; names: of the methods as shown, in their order.
    """
    import altair as alt

    shots = sorted({row["shots"] for row in rows})
    shown = [name for method, name in names.items() if any(row["method"] == method for row in rows)]
    points = []
    for row in rows:
        a, name = row["accuracy"], names[row["method"]]
        points.append({
            "method": name, "shots": row["shots"], "value": a["value"], "low": a.get("low", a["value"]),
            "at": shots.index(row["shots"]) + SPREAD * (shown.index(name) - (len(shown) - 1) / 2),
            "high": a.get("high", a["value"]), "text": percent(a["value"]),
        })  # fmt: skip
    # words, not numbers, on the axis: places are 0, 1, … with room for the methods side by side
    labels = " : ".join(f"datum.value == {i} ? '{n}'" for i, n in enumerate(shots))
    x = alt.X(
        "at:Q", title="images of each class", scale=alt.Scale(domain=[-0.5, len(shots) - 0.5], nice=False),
        axis=alt.Axis(values=list(range(len(shots))), labelExpr=f"{labels} : ''", grid=False),
    )  # fmt: skip
    axis = alt.Axis(labelExpr="format(100 * datum.value, 'd') + ' %'", tickCount=6)
    y = alt.Y("value:Q", title="accuracy", scale=alt.Scale(zero=False, nice=True), axis=axis)
    palette = alt.Scale(domain=shown, range="category")
    colour = alt.Color("method:N", title=None, scale=palette, legend=alt.Legend(symbolOpacity=1, columns=3))
    forms = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross"]
    shape = alt.Shape("method:N", title=None, scale=alt.Scale(domain=shown, range=forms[: len(shown)]))
    # what every method is measured against is dashed: colours repeat after the fourth
    dashes = [[1, 0] if name != names.get("pixels") else [5, 4] for name in shown]
    dash = alt.StrokeDash("method:N", scale=alt.Scale(domain=shown, range=dashes), legend=None)
    base = alt.Chart(table(points)).encode(x=x, color=colour)
    layers = [
        alt.Chart(table([{"value": chance}])).mark_rule(strokeDash=[3, 3], style="quiet").encode(y=y),
        base.mark_line(strokeWidth=1.5, opacity=0.5).encode(y=y, strokeDash=dash),
        base.mark_rule(strokeWidth=3, opacity=0.45).encode(y=alt.Y("low:Q", title="accuracy"), y2="high:Q"),
        base.mark_point(filled=True, size=80, opacity=1).encode(
            y=y, shape=shape,
            tooltip=[
                "method:N", "shots:O", alt.Tooltip("text:N", title="accuracy"), alt.Tooltip("low:Q", format=".3f"),
                alt.Tooltip("high:Q", format=".3f"),
            ],
        ),
    ]  # fmt: skip
    return alt.layer(*layers).properties(width=WIDTH, height=300)
