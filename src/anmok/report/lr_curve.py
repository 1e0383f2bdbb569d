"""The loss over growing learning rates, with the rates that it suggests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anmok.report.audit_figures import place, ticks
from anmok.report.figures import WIDTH, table

HEIGHT = 300
SHORT = "format(datum.value, datum.value < 0.001 ? '~e' : '~g')"  # 1e-7, 0.01


def lr_curve(rows: Sequence[Mapping[str, float]], steepest: float, minimum: float, recommended: float) -> Any:
    """A point a step, the smoothed line, and the suggested rates as vertical lines, the recommended one drawn strongly.

    rows: lr, loss, smoothed.
    """
    import altair as alt

    top = 1.15 * max(max(row["smoothed"] for row in rows), rows[0]["loss"])
    low = min(min(row["smoothed"], row["loss"]) for row in rows)
    bottom = max(0.0, low - 0.1 * (top - low))
    first, last = rows[0]["lr"], rows[-1]["lr"]
    scale = alt.Scale(type="log", domain=[first / 1.3, last * 1.3], nice=False)
    axis = alt.Axis(values=ticks(first, last, logarithmic=True, most=9), labelExpr=SHORT, grid=False)
    x = alt.X("lr:Q", title="learning rate", scale=scale, axis=axis)
    y: dict[str, Any] = {
        "scale": alt.Scale(domain=[bottom, top], nice=False),
        "axis": alt.Axis(tickCount=5, format="~g"),
    }
    base = alt.Chart(table(rows)).encode(x=x)
    points = base.mark_point(filled=True, size=22, opacity=0.45, style="quiet", clip=True)
    line = base.mark_line(strokeWidth=2.5, style="main", clip=True)
    marks: list[dict[str, Any]] = [
        {"lr": steepest, "name": f"steepest descent {steepest:g}", "main": False, "row": 1},
        {"lr": minimum, "name": f"lowest loss {minimum:g}", "main": False, "row": 2},
        {"lr": recommended, "name": f"recommended {recommended:g}", "main": True, "row": 0},
    ]
    layers = [
        points.encode(y=alt.Y("loss:Q", title="loss of a batch, and smoothed", **y)),
        line.encode(y=alt.Y("smoothed:Q", title="loss of a batch, and smoothed", **y)),
    ]
    for mark in marks:
        style = "main" if mark["main"] else "quiet"
        one = alt.Chart(table([mark])).encode(x=x)
        dash: dict[str, Any] = {} if mark["main"] else {"strokeDash": [4, 4]}
        layers.append(one.mark_rule(style=style, strokeWidth=1.5, y=-6 - 17 * mark["row"], **dash).encode())
        early = place(mark["lr"], first, last, logarithmic=True) < 0.35
        end: dict[str, Any] = {"align": "left", "dx": 5} if early else {"align": "right", "dx": -5}
        text = one.mark_text(style=style, fontSize=12, baseline="middle", **end)
        layers.append(text.encode(y=alt.value(-8 - 17 * mark["row"]), text="name:N"))
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
