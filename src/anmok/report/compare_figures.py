"""What models of a comparison need and bear: accuracy by share of the data, with shuffled patches, at other sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anmok.report.figures import WIDTH, table
from anmok.report.words import percent

STEP = 34  # pixels of a model


def data_shares(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Accuracy of every model that learned from a share of the training images; None where there is but one share."""
    import altair as alt

    points = [
        {
            "model": row["model"], "share": _share(part["share"]), "of": part["share"], "images": part["images"],
            "accuracy": part["accuracy"]["value"], "text": percent(part["accuracy"]["value"]),
        }
        for row in rows
        for part in row["shares"]
        if (part["accuracy"] or {}).get("value") is not None
    ]  # fmt: skip
    shares = sorted({p["of"] for p in points}, reverse=True)
    if len(shares) < 2:
        return None
    names = [_share(share) for share in shares]
    colour, shape = _keys(names, ["circle", "square", "triangle-right", "diamond"])
    base = alt.Chart(table(points)).encode(x=_accuracy(alt), y=_models(alt, points))
    line = base.mark_line(style="quiet", strokeWidth=1.5).encode(detail="model:N", order="of:Q")
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(
        color=alt.Color("share:N", **colour),
        shape=alt.Shape("share:N", **shape),
        tooltip=[
            "model:N", alt.Tooltip("share:N", title="training images"), alt.Tooltip("images:Q", format=","),
            alt.Tooltip("text:N", title="accuracy"),
        ],
    )  # fmt: skip
    return alt.layer(line, dots).properties(width=WIDTH, height=alt.Step(STEP))


def robustness(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Accuracy as trained (a bar), after patches changed places, and at other sizes; the best guess as a line.

    All on the same test images; None where nothing of it is known.
    """
    import altair as alt

    bars, points = [], []
    for row in rows:
        found = {"patches shuffled": row["shuffled"]} | {f"{p['scale']:g} × size": p["accuracy"] for p in row["sizes"]}
        known = {kind: m for kind, m in found.items() if m and m.get("value") is not None}
        if not known:
            continue
        plain = next(m["plain"] for m in known.values())
        bars.append({"model": row["model"], "kind": "as it is", "accuracy": plain, "text": percent(plain)})
        points += [
            {"model": row["model"], "kind": kind, "accuracy": m["value"], "text": percent(m["value"])}
            for kind, m in known.items()
        ]
    if not bars:
        return None
    scales = sorted({part["scale"] for row in rows for part in row["sizes"]})
    there = {p["kind"] for p in points}
    kinds = ["as it is", *(k for k in ("patches shuffled", *(f"{s:g} × size" for s in scales)) if k in there)]
    colour, shape = _keys(kinds, ["square", "triangle-up", "circle", "diamond"])
    tooltip = ["model:N", alt.Tooltip("kind:N", title="image"), alt.Tooltip("text:N", title="accuracy")]
    x, y = _accuracy(alt, zero=True), _models(alt, bars)
    layers = [
        alt.Chart(table(bars)).mark_bar(opacity=0.3, height={"band": 0.6}).encode(
            x=x, y=y, color=alt.Color("kind:N", **colour), tooltip=tooltip
        ),
        alt.Chart(table(points)).mark_point(filled=True, size=80, opacity=1).encode(
            x=x, y=y, color=alt.Color("kind:N", **colour), shape=alt.Shape("kind:N", **shape), tooltip=tooltip
        ),
    ]  # fmt: skip
    guesses = {row["guess"] for row in rows if row["guess"] is not None}
    if len(guesses) == 1:
        line = alt.Chart(table([{"accuracy": guesses.pop()}]))
        layers.insert(0, line.mark_rule(strokeDash=[3, 3], style="quiet").encode(x=x))
    return alt.layer(*layers).properties(width=WIDTH, height=alt.Step(STEP))


def _share(share: float) -> str:
    return "all" if share == 1 else percent(share).replace(".0", "")


def _accuracy(alt: Any, zero: bool = False) -> Any:
    axis = alt.Axis(labelExpr="format(100 * datum.value, '~r') + ' %'", tickCount=5)
    return alt.X("accuracy:Q", title="accuracy", scale=alt.Scale(zero=zero, nice=True), axis=axis)


def _models(alt: Any, rows: Sequence[Mapping[str, Any]]) -> Any:
    names = list(dict.fromkeys(row["model"] for row in rows))
    axis = alt.Axis(labelOverlap=False, labelLimit=150, grid=False)
    return alt.Y("model:N", title=None, scale=alt.Scale(domain=names), axis=axis)


def _keys(names: Sequence[str], shapes: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Colour and shape of each name, in one legend."""
    import altair as alt

    legend = alt.Legend(symbolOpacity=1)
    colours: dict[str, Any] = {"scale": alt.Scale(domain=list(names), range="category")}
    forms: dict[str, Any] = {
        "scale": alt.Scale(domain=list(names), range=[shapes[i % len(shapes)] for i in range(len(names))])
    }
    return {"title": None, "legend": legend, **colours}, {"title": None, "legend": legend, **forms}
