"""How a run learned, epoch by epoch: figures over the events of its history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anmok.report.figures import WIDTH, table
from anmok.report.language import ENGLISH, Language


def curve(
    history: Sequence[Mapping[str, Any]],
    series: Mapping[str, str],
    title: str,
    *,
    number: str = "~g",
    zero: bool = True,
    best_epoch: int | None = None,
    language: Language = ENGLISH,
) -> Any | None:
    """Values of the epoch events over epochs; None where there are none.

    series: {name shown: path in the event, 'loss' or 'val.accuracy'}; best_epoch: whose weights were kept, marked.
    """
    import altair as alt

    t = language.labels
    rows = [
        {"epoch": event["epoch"], "series": name, "value": value}
        for name, path in series.items()
        for event in history
        if isinstance(value := _at(event, path), int | float) and abs(value) < float("inf")
    ]
    if not rows:
        return None
    names = [name for name in series if any(row["series"] == name for row in rows)]
    epochs = {row["epoch"] for row in rows}
    x = alt.X(
        "epoch:Q",
        title=t["epoch"],
        scale=alt.Scale(nice=False, zero=False, padding=6),
        axis=alt.Axis(values=whole_ticks(min(epochs), max(epochs)), format="d", grid=False),
    )
    legend = alt.Legend(symbolType="stroke", symbolStrokeWidth=2, symbolSize=240) if len(names) > 1 else None
    colour = alt.Color(
        "series:N",
        title=None,
        scale=alt.Scale(domain=names, range="category"),
        legend=legend,
    )
    lines = (
        alt.Chart(table(rows))
        .mark_line(point={"size": 34, "filled": True} if len(epochs) <= 40 else False)
        .encode(
            x=x,
            y=alt.Y(
                "value:Q", title=title, scale=alt.Scale(zero=zero), axis=alt.Axis(format=number, tickCount=5)
            ),
            color=colour,
            strokeDash=alt.StrokeDash(
                "series:N",
                title=None,
                scale=alt.Scale(domain=names, range=[[1, 0], [6, 3], [2, 2]]),
                legend=legend,
            ),
            tooltip=[
                alt.Tooltip("epoch:Q", title=t["epoch"]), alt.Tooltip("series:N", title=title),
                alt.Tooltip("value:Q", format=".4~g"),
            ],
        )
    )  # fmt: skip
    layers = [lines]
    if best_epoch is not None and best_epoch in epochs:
        best = alt.Chart(table([{"epoch": best_epoch, "text": t["kept"]}])).encode(x=x)
        layers.insert(0, best.mark_rule(strokeDash=[3, 3], style="quiet"))
        late = 2 * best_epoch > min(epochs) + max(epochs)  # inside, where the legend above is not in its way
        beside: dict[str, Any] = {"align": "right", "dx": -4} if late else {"align": "left", "dx": 4}
        label = best.mark_text(dy=3, fontSize=11, baseline="top", style="quiet", **beside)
        layers.append(label.encode(y=alt.value(0), text="text:N"))
    return alt.layer(*layers).properties(width=WIDTH // 2, height=190)


def whole_ticks(low: int, high: int, most: int = 7) -> list[int]:
    """Up to `most` whole numbers from low on, evenly apart: an axis of epochs has no halves."""
    return list(range(low, high + 1, max(1, -(-(high - low) // (most - 1)))))


def _at(event: Mapping[str, Any], path: str) -> Any:
    head, _, rest = path.partition(".")
    return (event.get(head) or {}).get(rest) if rest else event.get(head)


def training_curves(
    history: Sequence[Mapping[str, Any]], best_epoch: int | None = None, language: Language = ENGLISH
) -> dict[str, Any]:
    """{title: figure} of loss, validation scores, learning rate and speed; only those the history has.

    Titles are in English in every language: `curve_TITLE` is the label that is shown.
    """
    t, named = language.labels, language.words.metric_name
    measured = [
        m for m in ("accuracy", "macro_f1", "balanced_accuracy") if any(m in (e.get("val") or {}) for e in history)
    ]
    losses = {t["series_training"]: "loss", t["series_validation"]: "val.loss"}
    if not any("loss" in (e.get("val") or {}) for e in history):
        losses[t["series_validation"]] = "val.log_loss"
    scores = {named(m)[0].lower(): f"val.{m}" for m in measured}
    told: dict[str, Any] = {"best_epoch": best_epoch, "language": language}
    plain: dict[str, Any] = {"language": language}
    figures = {
        "Loss": curve(history, losses, t["loss"], **told),
        "Validation scores": curve(history, scores, t["score"], number=".2f", zero=False, **told),
        "Learning rate": curve(history, {t["learning_rate"]: "lr"}, t["learning_rate"], number="~g", **plain),
        "Speed": curve(history, {t["speed"]: "images_per_s"}, t["images_per_second"], number="~s", **plain),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}
