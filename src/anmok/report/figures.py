"""Every figure of a report as one Altair definition; page, PNG and studio render the same ones.

A figure names roles (styles and colour ranges of `theme.vega_config`), not colours, so that it serves light and dark.
Labels are data, never part of an expression.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from anmok.core.files import write_atomic
from anmok.report.language import ENGLISH, Language
from anmok.report.theme import DARK, LIGHT, vega_config

WIDTH = 560
MOST_CLASSES = 100  # a larger matrix shows the classes with the most mistakes


def table(rows: Iterable[Mapping[str, Any]]) -> Any:
    """Rows as the data of a figure, kept inside it."""
    import altair as alt

    return alt.Data(values=[dict(row) for row in rows])


def shown_classes(counts: Sequence[Sequence[int]], most: int = MOST_CLASSES) -> list[int]:
    """Indices of the classes that a matrix shows, in order: all, or those with the most misses and false alarms."""
    import numpy as np

    matrix = np.asarray(counts)
    if len(matrix) <= most:
        return list(range(len(matrix)))
    wrong = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * np.diag(matrix)
    return sorted(np.argsort(-wrong, kind="stable")[:most].tolist())


def cell_step(k: int) -> int:
    """Height and least width of a cell in pixels, for k classes."""
    return next((step for most, step in ((4, 58), (8, 46), (12, 36), (25, 24), (50, 16)) if k <= most), 11)


def confusion_matrix(confusion: Mapping[str, Any], language: Language = ENGLISH) -> Any:
    """Counts of a single-label task, coloured by the share of the true class: blue where right, orange where wrong."""
    import altair as alt

    t, index = language.labels, shown_classes(confusion["counts"])
    names = [confusion["classes"][i] for i in index]
    step, rows = cell_step(len(names)), []
    dense, small = step < 24, step < 16  # dense: no number and no empty cell is drawn
    for i in index:
        support = sum(confusion["counts"][i])
        for j in index:
            count = confusion["counts"][i][j]
            if count or not dense:
                rows.append({
                    "truth": confusion["classes"][i], "predicted": confusion["classes"][j], "images": count,
                    "share": count / support if support else 0, "right": i == j,
                })  # fmt: skip
    flat = len(names) * max(map(len, names)) <= 24
    size, limit = (9, 90) if small else (12, 120)
    axis: dict[str, Any] = {"labelFontSize": size, "labelLimit": limit, "labelOverlap": False}
    x = alt.X(
        "predicted:N",
        title=t["predicted_label"],
        scale=alt.Scale(domain=names, paddingInner=0.04, paddingOuter=0),
        axis=alt.Axis(orient="top", labelAngle=-90 if small else 0 if flat else -40, **axis),
    )
    y = alt.Y(
        "truth:N",
        title=t["true_label"],
        scale=alt.Scale(domain=names, paddingInner=0.04, paddingOuter=0),
        axis=alt.Axis(**axis),
    )
    tip = [
        alt.Tooltip("truth:N", title=t["tip_true"]), alt.Tooltip("predicted:N", title=t["tip_predicted"]),
        alt.Tooltip("images:Q", title=t["tip_images"], format=","),
        alt.Tooltip("share:Q", title=t["tip_share"], format=".1%"),
    ]  # fmt: skip
    base = alt.Chart(table(rows)).encode(x=x, y=y, tooltip=tip)
    scale: dict[str, Any] = {"type": "sqrt", "domain": [0, 1], "interpolate": "lab"}
    right = base.transform_filter("datum.right").mark_rect(cornerRadius=0 if small else 3)
    wrong = base.transform_filter("!datum.right").mark_rect(cornerRadius=0 if small else 3)
    layers = [
        right.encode(color=alt.Color("share:Q", scale=alt.Scale(range="heatmap", **scale), legend=None)),
        wrong.encode(color=alt.Color("share:Q", scale=alt.Scale(range="ramp", **scale), legend=None)),
    ]
    if not dense:
        text = base.transform_filter("datum.images > 0").encode(text=alt.Text("images:Q", format=","))
        for style, shares in (("on-empty", "[0, 0.3]"), ("on-half", "[0.3, 0.65]"), ("on-full", "[0.65, 2]")):
            inside = text.transform_filter(f"datum.share >= {shares}[0] && datum.share < {shares}[1]")
            layers.append(inside.mark_text(fontSize=13 if step > 30 else 10, style=style))
    chart = alt.layer(*layers).resolve_scale(color="independent")
    width = WIDTH if step >= 36 else alt.Step(step)
    return chart.properties(width=width, height=alt.Step(step))


def label_outcomes(per_class: Mapping[str, Mapping[str, Any]], language: Language = ENGLISH) -> Any:
    """For each label of a multi-label task: images found, missed and wrongly given it."""
    import altair as alt

    t = language.labels
    kinds = {key: t[f"outcome_{key}"] for key in ("tp", "fn", "fp")}
    rows = [
        {"truth": label, "predicted": key, "outcome": kind, "images": row[key], "order": order}
        for label, row in per_class.items()
        for order, (key, kind) in enumerate(kinds.items())
    ]
    return (
        alt.Chart(table(rows))
        .mark_bar(height={"band": 0.7})
        .encode(
            x=alt.X("images:Q", title=t["tip_images"], axis=alt.Axis(tickMinStep=1, format="~s")),
            y=alt.Y("truth:N", title=None, scale=alt.Scale(domain=list(per_class)), axis=alt.Axis(labelOverlap=False)),
            color=alt.Color(
                "outcome:N",
                title=None,
                scale=alt.Scale(domain=[kinds["tp"], kinds["fp"], kinds["fn"]], range="category"),
                sort=None,
            ),
            order=alt.Order("order:Q"),
            tooltip=[
                alt.Tooltip("truth:N", title=t["class"]),
                alt.Tooltip("outcome:N", title=t["tip_predicted"]),
                alt.Tooltip("images:Q", title=t["tip_images"], format=","),
            ],
        )
        .properties(width=WIDTH, height=alt.Step(24 if len(per_class) <= 30 else 15))
    )


def class_scores(
    per_class: Mapping[str, Mapping[str, Any]], most: int = MOST_CLASSES, language: Language = ENGLISH
) -> Any:
    """F1 with its interval, precision and recall of the `most` worst classes, worst first; their images in brackets."""
    import altair as alt

    def by_f1(item: tuple[str, Mapping[str, Any]]) -> float:
        value = item[1]["f1"]["value"]
        return 2.0 if value is None else value

    t, rows, names = language.labels, [], []
    scores = {score: t[f"score_{score}"] for score in ("f1", "precision", "recall")}
    for label, row in sorted(per_class.items(), key=by_f1)[:most]:
        names.append(f"{label} ({row['support']:,})")
        for score, shown in scores.items():
            m = row[score]
            if m["value"] is not None:
                interval = {"low": m.get("low", m["value"]), "high": m.get("high", m["value"])}
                rows.append({"label": names[-1], "kind": score, "score": shown, "value": m["value"], **interval})
    legend = alt.Legend(symbolOpacity=1)
    colour = alt.Color("score:N", title=None, scale=alt.Scale(domain=list(scores.values()), range="category"),
                       legend=legend)  # fmt: skip
    shapes = alt.Scale(domain=list(scores.values()), range=["square", "triangle-right", "circle"])
    shape = alt.Shape("score:N", title=None, scale=shapes, legend=legend)
    base = alt.Chart(table(rows)).encode(
        x=alt.X("value:Q", title=t["score"], scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".1f", tickCount=5)),
        y=alt.Y(
            "label:N", title=None, scale=alt.Scale(domain=names), axis=alt.Axis(labelOverlap=False, labelLimit=170)
        ),
        tooltip=[
            alt.Tooltip("label:N", title=t["class"]), alt.Tooltip("score:N", title=t["metric"]),
            alt.Tooltip("value:Q", title=t["value"], format=".3f"),
            alt.Tooltip("low:Q", format=".3f"), alt.Tooltip("high:Q", format=".3f"),
        ],
    )  # fmt: skip
    f1 = base.transform_filter("datum.kind == 'f1'")
    bars = f1.mark_bar(opacity=0.3, height={"band": 0.62}).encode(color=colour)
    rules = f1.mark_rule(strokeWidth=1.5, style="quiet").encode(x=alt.X("low:Q", title=t["score"]), x2="high:Q")
    points = base.transform_filter("datum.kind != 'f1'").mark_point(filled=True, size=64, opacity=1)
    step = 32 if len(names) <= 12 else 22 if len(names) <= 30 else 15
    return alt.layer(bars, rules, points.encode(color=colour, shape=shape)).properties(
        width=WIDTH, height=alt.Step(step)
    )


def comparison(evaluation: Mapping[str, Any], metric: str = "accuracy", language: Language = ENGLISH) -> Any:
    """The model's score with its interval above those of the baselines."""
    import altair as alt

    t, words = language.labels, language.words
    models = {t["this_model"]: evaluation["metrics"]}
    if evaluation.get("leaked"):
        models[t["without_leaked"]] = evaluation["leaked"]["metrics"]
    models |= {words.baseline_name(name): metrics for name, metrics in evaluation.get("baselines", {}).items()}
    rows = []
    for name, metrics in models.items():
        m = metrics.get(metric, {"value": None})
        if m["value"] is not None:
            low, high = m.get("low", m["value"]), m.get("high", m["value"])
            row = {"of": name, "value": m["value"], "low": low, "high": high, "text": f"{100 * m['value']:.1f} %"}
            rows.append(row | {"model": name == t["this_model"]})
    base = alt.Chart(table(rows)).encode(
        y=alt.Y(
            "of:N",
            title=None,
            scale=alt.Scale(domain=[row["of"] for row in rows]),
            axis=alt.Axis(labelLimit=200, labelOverlap=False),
        ),
        tooltip=[
            alt.Tooltip("of:N", title=t["model"]), alt.Tooltip("value:Q", title=t["value"], format=".3f"),
            alt.Tooltip("low:Q", format=".3f"), alt.Tooltip("high:Q", format=".3f"),
        ],
    )  # fmt: skip
    title = f"{words.metric_name(metric)[0].lower()}, {t['interval_95']}"
    axis = alt.Axis(labelExpr="format(100 * datum.value, 'd') + ' %'", tickCount=5)
    x = alt.X("value:Q", title=title, scale=alt.Scale(domain=[0, 1]), axis=axis)
    low = alt.X("low:Q", title=title, scale=alt.Scale(domain=[0, 1]), axis=axis)
    layers = []
    for of_model, style in (("datum.model", "main"), ("!datum.model", "quiet")):
        part = base.transform_filter(of_model)
        layers.append(
            part.mark_rule(strokeWidth=5, opacity=0.35, style=style, strokeCap="round").encode(x=low, x2="high:Q")
        )
        layers.append(part.mark_point(filled=True, size=110, opacity=1, style=style).encode(x=x))
        text = part.mark_text(dy=-14, fontSize=12, style="value")
        layers.append(text.encode(x=x, text="text:N"))
    return alt.layer(*layers).properties(width=WIDTH, height=alt.Step(42))


def save_png(figure: Any, path: Path | str, *, dark: bool = False, scale: float = 2.0) -> Path:
    """Write a figure as PNG, rendered without a browser or a network; `scale` pixels for each point."""
    return write_atomic(path, png(figure, dark=dark, scale=scale))


def png(figure: Any, *, dark: bool = False, scale: float = 2.0) -> bytes:
    """A figure as PNG bytes."""
    import vl_convert

    background = (DARK if dark else LIGHT)["card"]
    config = vega_config(dark) | {"background": background, "padding": 16}
    return vl_convert.vegalite_to_png(figure.to_dict(), config=config, scale=scale, allowed_base_urls=[])
