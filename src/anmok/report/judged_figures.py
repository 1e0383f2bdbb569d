"""Figures over thresholds: precision and recall, ROC, reliability, risk against coverage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anmok.report.figures import WIDTH, table
from anmok.report.language import ENGLISH, Language

MOST = 6  # curves in one figure; more classes show those with the smallest area
HEIGHT = 260
DASHES = [[1, 0], [7, 3], [2, 2]]
PERCENT = "format(100 * datum.value, 'd') + ' %'"


def shown_curves(
    per_class: Mapping[str, Mapping[str, Any]], labels: Sequence[str], area: str, most: int = MOST
) -> list[str]:
    """The labels that a figure draws, in order: all, or the `most` with the smallest area."""
    known = [c for c in labels if per_class[c].get(area, {}).get("value") is not None]
    kept = set(sorted(known, key=lambda c: per_class[c][area]["value"])[:most])
    return [c for c in known if c in kept]


def curve_figure(
    curves: Mapping[str, Mapping[str, Sequence[float]]], per_class: Mapping[str, Mapping[str, Any]], area: str,
    language: Language = ENGLISH,
) -> Any | None:  # fmt: skip
    """Precision over recall (area 'average_precision') or recall over false alarms ('roc_auc') of each class."""
    import altair as alt

    roc = area == "roc_auc"
    x, y = ("false_alarms", "recall") if roc else ("recall", "precision")
    rows, names = [], []
    for label in shown_curves(per_class, list(curves), area):
        names.append(f"{label} ({per_class[label][area]['value']:.3f})")
        points = zip(curves[label][x], curves[label][y], strict=True)
        start = [(0.0, 0.0)] if roc else [(0.0, curves[label][y][0])]
        rows += [
            {"class": names[-1], "x": a, "y": b, "order": n} for n, (a, b) in enumerate([*start, *points])
        ]  # fmt: skip
    if not rows:
        return None
    t = language.labels
    legend = alt.Legend(symbolType="stroke", symbolStrokeWidth=2, symbolSize=240, columns=2)
    one = alt.Scale(domain=[0, 1], nice=False)
    lines = alt.Chart(table(rows)).mark_line(interpolate="linear" if roc else "step-before", clip=True).encode(
        x=alt.X("x:Q", title=t["axis_fpr" if roc else "axis_recall"], scale=one, axis=_shares()),
        y=alt.Y("y:Q", title=t["axis_tpr" if roc else "axis_precision"], scale=one, axis=_shares()),
        order="order:Q",
        color=alt.Color("class:N", title=None, sort=names, scale=alt.Scale(domain=names, range="category"),
                        legend=legend),
        strokeDash=alt.StrokeDash("class:N", title=None, sort=names, legend=legend,
                                  scale=alt.Scale(domain=names, range=[DASHES[i // 4 % 3] for i in range(len(names))])),
        tooltip=[alt.Tooltip("class:N", title=t["class"]), alt.Tooltip("x:Q", format=".3f"),
                 alt.Tooltip("y:Q", format=".3f")],
    )  # fmt: skip
    layers = [_diagonal(), lines] if roc else [lines]
    return alt.layer(*layers).properties(width=WIDTH // 2, height=HEIGHT)


def reliability_figure(bins: Mapping[str, Sequence[Mapping[str, Any]]], language: Language = ENGLISH) -> Any:
    """Share that was right over the probability given, bins of equal width and of equal mass, with intervals."""
    import altair as alt

    t = language.labels
    names = {"width": t["bins_width"], "mass": t["bins_mass"]}
    rows = [
        {"bins": names[kind], "said": b["confidence"], "n": b["n"], **b["accuracy"]}
        for kind, of in bins.items()
        for b in of
    ]
    scale = alt.Scale(domain=list(names.values()), range="category")
    shapes = alt.Scale(domain=list(names.values()), range=["circle", "triangle-up"])
    one = alt.Scale(domain=[0, 1], nice=False)
    base = alt.Chart(table(rows)).encode(
        x=alt.X("said:Q", title=t["axis_confidence"], scale=one, axis=_shares()),
        color=alt.Color("bins:N", title=None, scale=scale, legend=alt.Legend(symbolOpacity=1)),
        tooltip=[
            alt.Tooltip("bins:N", title=t["curve_reliability"]), alt.Tooltip("n:Q", title=t["tip_images"], format=","),
            alt.Tooltip("said:Q", title=t["axis_confidence"], format=".3f"),
            alt.Tooltip("value:Q", title=t["axis_right"], format=".3f"),
            alt.Tooltip("low:Q", format=".3f"), alt.Tooltip("high:Q", format=".3f"),
        ],
    )  # fmt: skip
    y = {"title": t["axis_right"], "scale": one, "axis": _shares()}
    rules = base.mark_rule(opacity=0.5, strokeWidth=1.5).encode(y=alt.Y("low:Q", **y), y2="high:Q")
    points = base.mark_point(filled=True, opacity=1, size=55).encode(
        y=alt.Y("value:Q", **y), shape=alt.Shape("bins:N", title=None, scale=shapes)
    )
    return alt.layer(_diagonal(), rules, points).properties(width=WIDTH // 2, height=HEIGHT)


def risk_figure(risk: Mapping[str, Any], language: Language = ENGLISH) -> Any:
    """Mistakes among the answered images over the share that is answered, with its interval; the decision marked."""
    import altair as alt

    t = language.labels
    x = alt.X("coverage:Q", title=t["axis_coverage"], scale=alt.Scale(domain=[0, 1], nice=False), axis=_shares())
    top = min(1.0, max(0.02, max(p["risk"] for p in risk["points"]) * 1.3, risk["points"][-1]["high"] * 1.1))
    y = {"title": t["axis_risk"], "scale": alt.Scale(domain=[0, top], clamp=True, nice=False), "axis": _shares()}
    base = alt.Chart(table(risk["points"])).encode(x=x)
    band = base.mark_area(opacity=0.18, style="main", clip=True, interpolate="step-after").encode(
        y=alt.Y("low:Q", **y), y2="high:Q"
    )
    line = base.mark_line(style="main", clip=True, interpolate="step-after").encode(
        y=alt.Y("risk:Q", **y),
        tooltip=[
            alt.Tooltip("coverage:Q", title=t["axis_coverage"], format=".1%"),
            alt.Tooltip("risk:Q", title=t["axis_risk"], format=".1%"),
            alt.Tooltip("low:Q", format=".1%"), alt.Tooltip("high:Q", format=".1%"),
        ],
    )  # fmt: skip
    layers = [band, line]
    if risk.get("asks"):
        here = alt.Chart(table([{**risk["asks"], "text": t["decided_here"]}])).encode(x=x)
        layers.append(here.mark_rule(strokeDash=[3, 3], style="quiet"))
        layers.append(
            here.mark_text(dy=-6, fontSize=11, baseline="bottom", style="quiet").encode(y=alt.value(0), text="text:N")
        )
    return alt.layer(*layers).properties(width=WIDTH // 2, height=HEIGHT)


def _shares() -> Any:
    import altair as alt

    return alt.Axis(labelExpr=PERCENT, tickCount=5)


def _diagonal() -> Any:
    import altair as alt

    ends = table([{"x": 0, "y": 0}, {"x": 1, "y": 1}])
    return alt.Chart(ends).mark_line(strokeDash=[4, 4], strokeWidth=1, style="quiet").encode(x="x:Q", y="y:Q")
