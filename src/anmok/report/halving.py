"""Successive halving as one figure: what every candidate scored in each rung, with its interval, and who went on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anmok.report.figures import table
from anmok.report.words import NAMES, count

WIDTH = 210  # of a rung


def halving(trials: Sequence[Mapping[str, Any]], order: Sequence[str]) -> Any:
    """A column for each rung, a line for each candidate in `order`, best first.

    trials: rung, candidate, images, epochs, metric, score, low, high, as a search logs them; those without a score are
    left out. Who went on to the next rung, and the winner in the last one, is filled.
    """
    import altair as alt

    scored = [trial for trial in trials if trial["score"] is not None]
    rungs = sorted({trial["rung"] for trial in scored})
    on = {(trial["candidate"], trial["rung"] - 1) for trial in scored} | {(order[0], rungs[-1])}
    rows = [
        {
            "candidate": trial["candidate"], "rung": trial["rung"], "score": trial["score"], "epochs": trial["epochs"],
            "low": trial["score"] if trial["low"] is None else trial["low"],
            "high": trial["score"] if trial["high"] is None else trial["high"],
            "on": (trial["candidate"], trial["rung"]) in on,
        }
        for trial in scored
    ]  # fmt: skip
    names = [name for name in order if any(row["candidate"] == name for row in rows)]
    metric = scored[0]["metric"]
    title = f"{NAMES[metric][0].lower() if metric in NAMES else metric}, 95 % interval"
    low, high = min(row["low"] for row in rows), max(row["high"] for row in rows)
    scale = alt.Scale(domain=[low - 0.04 * (high - low), high + 0.04 * (high - low)], nice=False)
    columns = []
    for rung in rungs:
        mine = [row for row in rows if row["rung"] == rung]
        images = next(trial["images"] for trial in scored if trial["rung"] == rung)
        epochs = sorted(row["epochs"] for row in mine)
        each = f"{epochs[0]}" if epochs[0] == epochs[-1] else f"{epochs[0]}–{epochs[-1]}"
        head = [f"rung {rung}", f"{count(images, 'image')}, {each} {'epoch' if epochs[-1] == 1 else 'epochs'}"]
        y = alt.Y(
            "candidate:N",
            title=None,
            scale=alt.Scale(domain=names),
            axis=alt.Axis(labels=rung == rungs[0], labelLimit=300, labelOverlap=False, grid=True, bandPosition=0.5),
        )
        x = alt.X("score:Q", title=title, scale=scale, axis=alt.Axis(tickCount=4, format="~r"))
        layers = []
        for part, style in (("datum.on", "main"), ("!datum.on", "quiet")):
            base = alt.Chart(table(mine)).transform_filter(part).encode(y=y)
            layers.append(
                base.mark_rule(strokeWidth=4, opacity=0.35, style=style, strokeCap="round").encode(
                    x=alt.X("low:Q", title=title, scale=scale), x2="high:Q"
                )
            )
            layers.append(base.mark_point(filled=part == "datum.on", size=70, opacity=1, style=style).encode(x=x))
        columns.append(
            alt.layer(*layers).properties(
                width=WIDTH, height=alt.Step(24), title=alt.TitleParams(head[0], subtitle=head[1], anchor="start")
            )
        )
    said = alt.TitleParams(
        "filled: went on to the next rung, in the last one the winner", fontSize=12, fontWeight="normal", anchor="start"
    )
    return alt.hconcat(*columns, spacing=14, title=said)
