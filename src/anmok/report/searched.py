"""A search over settings as one figure: the score of every candidate in the first rung against each setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anmok.report.audit_figures import ticks
from anmok.report.figures import table
from anmok.report.words import NAMES

WIDTH, HEIGHT = 330, 230  # of a panel
TITLES = {"lr": "learning rate", "weight_decay": "weight decay", "augment": "augmentation", "model": "network"}
OTHERS = "others"
COLOURS = 4
FLAT = 36  # letters of all names, up to which they are written level
ALL_ALIKE = ""
DRAWN = "format(datum.value, datum.value < 0.001 ? '~e' : '~g')"  # 1e-5, 0.01


def searched(rows: Sequence[Mapping[str, Any]], settings: Sequence[str], metric: str) -> Any:
    """A panel for each searched setting; candidates coloured by network, or by policy where that is what differs.

    rows: candidate, score, low, high (in the first rung), the settings' values, `on` (went on to the next rung), `mark`
    ('chosen', 'default' or ''). None where no candidate has a score.
    """
    import altair as alt

    points = [dict(row) for row in rows if row["score"] is not None]
    if not points:
        return None
    for row in points:
        row["low"] = row["score"] if row["low"] is None else row["low"]
        row["high"] = row["score"] if row["high"] is None else row["high"]
    by = next((name for name in ("model", "augment") if name in settings), "")
    groups = _groups(points, by, metric)
    low, high = min(row["low"] for row in points), max(row["high"] for row in points)
    edge = 0.06 * max(high - low, 0.02)
    y: dict[str, Any] = {
        "scale": alt.Scale(domain=[low - edge, high + edge], nice=False),
        "axis": alt.Axis(tickCount=5, format="~r"),
    }
    shown = NAMES[metric][0].lower() if metric in NAMES else metric
    legend = alt.Legend(title=TITLES[by], columns=2, symbolOpacity=1) if by and len(groups) > 1 else None
    colour = alt.Color("group:N", scale=alt.Scale(domain=groups, range="category"), legend=legend)
    panels = []
    for name in settings:
        where = _axis(alt, points, name)
        data = [row | {"x": row[f"{name}_at"], "aside": row.get(f"{name}_aside", 0)} for row in points]
        layers = []
        for part, filled in (("datum.on", True), ("!datum.on", False)):
            base = alt.Chart(table(data)).transform_filter(part).encode(**where)
            rule = base.mark_rule(strokeWidth=1.5, opacity=0.35 if filled else 0.2)
            layers.append(rule.encode(y=alt.Y("low:Q", title=shown, **y), y2="high:Q", color=colour))
            dots = base.mark_point(filled=filled, size=80, opacity=1, strokeWidth=1.8)
            layers.append(dots.encode(y=alt.Y("score:Q", title=shown, **y), color=colour))
        layers += _named(alt, [row for row in data if row["mark"]], where, y, shown)
        panels.append(alt.layer(*layers).properties(width=WIDTH, height=HEIGHT))
    said = alt.TitleParams(
        f"{shown} in the first rung, 95 % interval; filled: went on to the next", fontSize=12, fontWeight="normal",
        anchor="start",
    )  # fmt: skip
    return alt.concat(*panels, columns=2, spacing=24, title=said)


def _groups(rows: list[dict[str, Any]], by: str, metric: str) -> list[str]:
    """Give every row its `group`, and return the groups, best first: each value, or the best ones and OTHERS."""
    if not by:
        for row in rows:
            row["group"] = ALL_ALIKE
        return [ALL_ALIKE]
    ordered = sorted(rows, key=lambda row: row["score"], reverse=metric != "log_loss")
    names = list(dict.fromkeys(row[by] for row in ordered))
    kept = names if len(names) <= COLOURS else names[: COLOURS - 1]
    for row in rows:
        row["group"] = row[by] if row[by] in kept else OTHERS
    return kept if len(names) <= COLOURS else [*kept, OTHERS]


def _axis(alt: Any, rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The horizontal channels of a setting, whose places are added to the rows: a log axis for numbers, 0 at its left
    end; a band for each of several names, in which the points stand beside each other.
    """
    if isinstance(rows[0][name], str):
        ordered = sorted(rows, key=lambda row: -row["score"])
        names = list(dict.fromkeys(row[name] for row in ordered))
        for value in names:
            inside = [row for row in ordered if row[name] == value]
            for place, row in enumerate(inside):
                row |= {f"{name}_at": value, f"{name}_aside": place - (len(inside) - 1) / 2}
        flat = sum(map(len, names)) <= FLAT
        labels = alt.Axis(labelAngle=0 if flat else -30, labelLimit=130, labelOverlap=False, grid=False)
        most = max(1.5, *(abs(row[f"{name}_aside"]) + 0.5 for row in rows))
        return {
            "x": alt.X("x:N", title=TITLES[name], scale=alt.Scale(domain=names, type="band"), axis=labels),
            "xOffset": alt.XOffset("aside:Q", scale=alt.Scale(domain=[-most, most])),
        }
    above = [row[name] for row in rows if row[name] > 0]
    none = min(above, default=1.0) / 4
    for row in rows:
        row[f"{name}_at"] = row[name] or none
    first, last = min(row[f"{name}_at"] for row in rows), max(above, default=1.0)
    scale = alt.Scale(type="log", domain=[first / 1.5, last * 1.5], nice=False)
    marks, label = ticks(min(above, default=1.0), last, logarithmic=True), DRAWN
    if len(above) < len(rows):
        marks, label = [none, *marks], f"datum.value < {none * 1.01:.6g} ? '0' : {DRAWN}"
    axis = alt.Axis(values=marks, labelExpr=label, grid=False)
    return {"x": alt.X("x:Q", title=TITLES[name], scale=scale, axis=axis)}


def _named(alt: Any, marked: list[dict[str, Any]], where: dict[str, Any], y: dict[str, Any], shown: str) -> list[Any]:
    """A ring and its word around the chosen candidate and the default."""
    if not marked:
        return []
    base = alt.Chart(table(marked)).encode(**where, y=alt.Y("score:Q", title=shown, **y))
    ring = base.mark_point(filled=False, size=240, opacity=1, strokeWidth=1.5, style="value")
    text = base.mark_text(dy=-17, fontSize=12, style="value")
    return [ring, text.encode(text="mark:N")]
