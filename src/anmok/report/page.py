"""One HTML file that says everything about a run: no network, no other file, nothing recomputed.

Every text goes through Jinja2's escaping; figures travel as JSON in script blocks that no text can close; a content
security policy allows the page's own two scripts by their hash, and nothing from anywhere else.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anmok.core.files import write_atomic
from anmok.report import words
from anmok.report.content import Mistake, ReportContent
from anmok.report.curves import training_curves
from anmok.report.figures import (
    MOST_CLASSES,
    cell_step,
    class_scores,
    comparison,
    confusion_matrix,
    label_outcomes,
    shown_classes,
)
from anmok.report.shell import asset, block, picture_address, script_hash, style, template
from anmok.report.theme import vega_config

THUMBNAIL_BYTES = 1_500_000  # of all pictures together; later mistakes are shown without one
MOST_MISTAKES = 60


def write_report(path: Path | str, content: ReportContent) -> Path:
    """Write the page atomically and return its path."""
    return write_atomic(path, render(content))


def render(content: ReportContent) -> str:
    """The page as text."""
    filters = {"percent": words.percent, "number": words.number, "interval": words.interval}
    evaluation = content.evaluation.data
    drawn = figures_of(content)
    bundle, script = vega_bundle(), asset("report.js")
    return template("report.html.j2", filters).render(
        content=content,
        evaluation=evaluation,
        headline=words.headline(evaluation),
        remarks=words.remarks(evaluation),
        metrics=_metric_rows(evaluation),
        averages=_average_rows(evaluation["metrics"]),
        baselines={words.baseline_name(name): m for name, m in evaluation.get("baselines", {}).items()},
        pairs=_confused_pairs(evaluation),
        hidden=max(0, len(evaluation["confusion"]["classes"]) - MOST_CLASSES),
        mistakes=_gallery(content.mistakes),
        counts=_count_rows(content.counts),
        curves=[name for name in drawn if name.startswith("curve-")],
        captions=_captions(content),
        figures={name: block(figure) for name, figure in drawn.items()},
        least=_least_widths(evaluation),
        themes=block({"light": vega_config(), "dark": vega_config(dark=True)}),
        style=style("report.css"),
        bundle=bundle,
        script=script,
        hashes=[script_hash(bundle), script_hash(script)],
    )


def figures_of(content: ReportContent) -> dict[str, dict[str, Any]]:
    """{name: Vega-Lite specification} of every figure on the page, as wide as their place."""
    evaluation = content.evaluation.data
    figures = {"comparison": comparison(evaluation)}
    if evaluation["task"] == "multilabel":
        figures["outcomes"] = label_outcomes(evaluation["per_class"])
    else:
        figures["confusion"] = confusion_matrix(evaluation["confusion"])
    figures["classes"] = class_scores(evaluation["per_class"])
    for name, figure in training_curves(content.history, content.best_epoch).items():
        figures[f"curve-{name}"] = figure
    return {name: fluid(figure) for name, figure in figures.items()}


def fluid(figure: Any) -> dict[str, Any]:
    """A figure's specification that takes its width from the page and its colours from the theme."""
    spec: dict[str, Any] = figure.to_dict()
    spec.pop("config", None)
    if not isinstance(spec.get("width"), dict):
        spec["width"] = "container"
    return spec


@functools.cache
def vega_bundle() -> Any:
    import vl_convert
    from markupsafe import Markup

    return Markup(
        "\n" + vl_convert.javascript_bundle("window.vegaEmbed=vegaEmbed;").replace("</script", "<\\/script") + "\n"
    )


def _metric_rows(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The main metrics: name, explanation, value, and where they lie on a scale of 0 to 100."""
    metrics = evaluation["metrics"]
    rest = [n for n in metrics if n not in words.MAIN and n.partition("_")[0] not in words.AVERAGES]
    rows = []
    for name in [n for n in words.MAIN if n in metrics] + rest:
        m, (shown, meaning) = metrics[name], words.metric_name(name)
        track = None
        if m["value"] is not None and name not in words.UNBOUNDED:
            low, high = m.get("low", m["value"]), m.get("high", m["value"])
            track = {"at": 100 * m["value"], "from": 100 * low, "width": 100 * (high - low)}
        hard = name in words.OF_PROBABILITIES
        others = [None if hard else b.get(name) for b in evaluation.get("baselines", {}).values()]
        rows.append({"name": shown, "meaning": meaning, "metric": m, "track": track, "others": others})
    return rows


def _average_rows(metrics: Mapping[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Precision, recall and F1 as macro, micro and weighted means."""
    return [
        (
            {"precision": "Precision", "recall": "Recall", "f1": "F1"}[score],
            [metrics[f"{a}_{score}"] for a in words.AVERAGES],
        )
        for score in words.SCORES
        if f"macro_{score}" in metrics
    ]


def _confused_pairs(evaluation: Mapping[str, Any], most: int = 8) -> list[tuple[str, str, int, float]]:
    """(true, predicted, images, share of the true class) of the most frequent confusions."""
    if evaluation["task"] == "multilabel":
        return []
    classes, counts = evaluation["confusion"]["classes"], evaluation["confusion"]["counts"]
    pairs = [
        (classes[i], classes[j], n, n / sum(row))
        for i, row in enumerate(counts)
        for j, n in enumerate(row)
        if n and i != j
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], -pair[3]))[:most]


def _gallery(mistakes: Any) -> list[tuple[Mistake, str]]:
    """Mistakes with their picture as a data address, '' where there is none or the page would grow too heavy."""
    out, spent = [], 0
    for mistake in list(mistakes)[:MOST_MISTAKES]:
        spent += len(mistake.thumbnail)
        shown = mistake.thumbnail and spent <= THUMBNAIL_BYTES
        out.append((mistake, picture_address(mistake.thumbnail) if shown else ""))
    return out


def _count_rows(counts: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Images by label and split, with totals and each label's share of the largest."""
    labels = list(dict.fromkeys(label for of_split in counts.values() for label in of_split))
    rows = [(label, [of_split.get(label, 0) for of_split in counts.values()]) for label in labels]
    most = max((sum(n) for _, n in rows), default=0) or 1
    return {
        "splits": list(counts),
        "rows": [(label, n, sum(n), 100 * sum(n) / most) for label, n in rows],
        "totals": [sum(of_split.values()) for of_split in counts.values()],
    }


def _least_widths(evaluation: Mapping[str, Any]) -> dict[str, int]:
    """Pixels that figures need; a narrower screen scrolls them."""
    if evaluation["task"] == "multilabel":
        return {}
    index = shown_classes(evaluation["confusion"]["counts"])
    longest = max(len(evaluation["confusion"]["classes"][i]) for i in index)
    return {"confusion": 45 + min(120, 7 * longest) + min(34, cell_step(len(index))) * len(index)}


def _captions(content: ReportContent) -> dict[str, str]:
    """What a figure shows, in words, for those who do not see it and for those who do."""
    data = content.evaluation.data
    k, n = len(data["confusion"]["classes"]), words.count(data["n"], f"{data['split']} image".strip())
    worst = f" (the {MOST_CLASSES} worst of {k:,})" if k > MOST_CLASSES else ""
    matrix = (
        f"{n} in {words.count(k, 'class', 'classes')}. A row holds the images of one true class: blue where the "
        "prediction was right, orange where it was wrong; the stronger the colour, the larger its share of the row."
    )
    scores = (
        "The bar is F1 and the line its 95 % interval; precision is the share of alarms that are right, recall the "
        f"share of a class that is found. Worst class first{worst}, its images in brackets."
    )
    return {
        "comparison": "Accuracy of the model and of the baselines, with 95 % intervals.",
        "confusion": matrix,
        "outcomes": f"{n}. For each label: images where it was found, where it was missed, where it was given wrongly.",
        "classes": scores,
    }
