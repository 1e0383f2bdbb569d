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
from anmok.report.judged_content import Judged
from anmok.report.judged_page import (
    cell_data,
    judged_captions,
    judged_figures,
    slice_tables,
    slider_data,
    spoken,
)
from anmok.report.language import Language, language_of
from anmok.report.plain import plain_lines
from anmok.report.shell import asset, block, picture_address, script_hash, style, template
from anmok.report.theme import vega_config

THUMBNAIL_BYTES = 1_500_000  # of all pictures together; later mistakes are shown without one
MOST_MISTAKES = 60
CLASS_SCORES = ("precision", "recall", "f1", "specificity", "roc_auc", "average_precision")


def write_report(path: Path | str, content: ReportContent) -> Path:
    """Write the page atomically and return its path."""
    return write_atomic(path, render(content))


def render(content: ReportContent) -> str:
    """The page as text.  UsageError: a language that is none of ours."""
    language = language_of(content.language)
    said, judged = language.words, content.judged or Judged()
    filters = {
        "percent": said.percent, "number": said.number, "interval": said.interval, "reason": said.reason,
        "note": said.note,
    }  # fmt: skip
    evaluation = content.evaluation.data
    drawn = figures_of(content)
    bundle, script = vega_bundle(), asset("report.js") + asset("explore.js")
    per_class = evaluation["per_class"]
    return template("report.html.j2", filters).render(
        content=content,
        judged=judged,
        evaluation=evaluation,
        t=language.labels,
        say=language.say,
        row_name=language.row,
        language=language.code,
        headline=said.headline(evaluation),
        remarks=said.remarks(evaluation),
        plain=plain_lines(evaluation, language),
        metrics=_metric_rows(evaluation, language),
        averages=_average_rows(evaluation["metrics"], language),
        baselines={said.baseline_name(name): m for name, m in evaluation.get("baselines", {}).items()},
        pairs=_confused_pairs(evaluation),
        hidden=max(0, len(evaluation["confusion"]["classes"]) - MOST_CLASSES),
        most_classes=MOST_CLASSES,
        class_scores=[s for s in CLASS_SCORES if all(s in row for row in per_class.values())],
        slices=slice_tables(evaluation.get("slices") or {}, language),
        mistakes=_gallery(content.mistakes),
        counts=_count_rows(content.counts),
        curves=[name for name in drawn if name.startswith("curve-")],
        threshold_curves=[name for name in ("pr", "roc", "reliability", "risk") if name in drawn],
        captions=_captions(content, language),
        figures={name: block(figure) for name, figure in drawn.items()},
        least=_least_widths(evaluation),
        decision=decision_rows(evaluation.get("decision") or {}),
        sliders=block(slider_data(judged)),
        cells=block(cell_data(judged.cells)),
        texts=block(spoken(language)),
        themes=block({"light": vega_config(), "dark": vega_config(dark=True)}),
        style=style("report.css", "explore.css"),
        bundle=bundle,
        script=script,
        hashes=[script_hash(bundle), script_hash(script)],
    )


def figures_of(content: ReportContent) -> dict[str, dict[str, Any]]:
    """{name: Vega-Lite specification} of every figure on the page, as wide as their place."""
    evaluation, language = content.evaluation.data, language_of(content.language)
    figures = {"comparison": comparison(evaluation, language=language)}
    if evaluation["task"] == "multilabel":
        figures["outcomes"] = label_outcomes(evaluation["per_class"], language)
    else:
        figures["confusion"] = confusion_matrix(evaluation["confusion"], language)
    figures["classes"] = class_scores(evaluation["per_class"], language=language)
    if content.judged is not None:
        figures |= judged_figures(content.judged, evaluation, language)
    for name, figure in training_curves(content.history, content.best_epoch, language).items():
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


def _metric_rows(evaluation: Mapping[str, Any], language: Language) -> list[dict[str, Any]]:
    """The main metrics: name, explanation, value, and where they lie on a scale of 0 to 100."""
    metrics = evaluation["metrics"]
    rest = [n for n in metrics if n not in words.MAIN and n.partition("_")[0] not in words.AVERAGES]
    rows = []
    for name in [n for n in words.MAIN if n in metrics] + rest:
        m, (shown, meaning) = metrics[name], language.words.metric_name(name)
        track = None
        if m["value"] is not None and name not in words.UNBOUNDED:
            low, high = m.get("low", m["value"]), m.get("high", m["value"])
            track = {"at": 100 * m["value"], "from": 100 * low, "width": 100 * (high - low)}
        hard = name in words.OF_PROBABILITIES
        others = [None if hard else b.get(name) for b in evaluation.get("baselines", {}).values()]
        rows.append({"name": shown, "meaning": meaning, "metric": m, "track": track, "others": others})
    return rows


def _average_rows(metrics: Mapping[str, Any], language: Language) -> list[tuple[str, list[dict[str, Any]]]]:
    """Precision, recall and F1 as macro, micro and weighted means."""
    return [
        (language.labels[score], [metrics[f"{a}_{score}"] for a in words.AVERAGES])
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


def decision_rows(decision: Mapping[str, Any]) -> dict[str, str]:
    """What an answer follows from, as text; what it does (its outcome) is told elsewhere."""
    out = {}
    for name, value in decision.items():
        if name in ("outcome", "text", "unknown", "promises"):
            continue
        if name == "costs":
            out[name] = f"{len(value)} × {len(value)}"
        elif isinstance(value, Mapping):
            out[name] = ", ".join(f"{key} {_short(one)}" for key, one in list(value.items())[:8])
        else:
            out[name] = _short(value)
    return out


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_short(one)}" for key, one in list(value.items())[:4])
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"({len(value)})" if isinstance(value, list | tuple) else str(value)


def _captions(content: ReportContent, language: Language) -> dict[str, str]:
    """What a figure shows, in words, for those who do not see it and for those who do."""
    data, say, count = content.evaluation.data, language.say, language.words.count
    k, n = len(data["confusion"]["classes"]), count(data["n"], f"{data['split']} image".strip())
    worst = say("caption_worst", most=MOST_CLASSES, k=k) if k > MOST_CLASSES else ""
    out = {
        "comparison": say("caption_comparison"),
        "confusion": say("caption_confusion", images=n, classes=count(k, "class", "classes")),
        "outcomes": say("caption_outcomes", images=n),
        "classes": say("caption_classes", worst=worst),
    }
    return out if content.judged is None else out | judged_captions(content.judged, data, language)
