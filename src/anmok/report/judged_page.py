"""The parts of a page that are moved and pressed: the slider's data, the images of a cell, slices as rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from anmok.report.judged_content import Cell, Judged, Share, Slider
from anmok.report.judged_figures import (
    curve_figure,
    reliability_figure,
    risk_figure,
    shown_curves,
)
from anmok.report.language import Language
from anmok.report.shell import picture_address

SCALE = 100_000  # a share travels as a whole number of these; -1 is undefined
# What the script writes; everything else stands in the template.
SPOKEN = (
    "threshold_sentence", "threshold_no_alarm", "threshold_no_image", "threshold_cheapest", "threshold_saved",
    "threshold_saved_decided", "threshold_go", "threshold_half", "threshold_decided", "is_label", "cell_right",
    "cell_wrong", "cell_tp", "cell_fn", "cell_fp", "cell_shown", "cell_all", "cell_none", "cell_sure", "cell_image",
    "cell_image_only", "cell_label",
    "no_picture", "na",
)  # fmt: skip


def spoken(language: Language) -> dict[str, str]:
    """The templates that the page's script fills."""
    return {key: language.labels[key] for key in SPOKEN}


def slider_data(judged: Judged) -> dict[str, Any]:
    """{begin, labels: [...]} for the script: counts as they are, shares as whole numbers of 1 / SCALE."""
    return {"begin": judged.begin, "labels": [_slider(s) for s in judged.sliders]}


def _slider(s: Slider) -> dict[str, Any]:
    return {
        "label": s.label, "n": s.n, "positives": s.positives, "at": list(s.thresholds), "tp": list(s.tp),
        "fp": list(s.fp), "marks": dict(s.marks), "costs": [s.fp_cost, s.fn_cost],
        "precision": _packed(s.precision), "recall": _packed(s.recall),
    }  # fmt: skip


def _packed(share: Share) -> list[list[int]]:
    """[values, lows, highs]."""
    return [[-1 if math.isnan(v) else round(v * SCALE) for v in of] for of in share]


def cell_data(cells: Sequence[Cell]) -> list[list[Any]]:
    """[true, predicted, images counted, [[id, probability, picture]]] of each cell."""
    return [
        [c.truth, c.predicted, c.total, [[i.id, _rounded(i.prob), picture_address(i.thumbnail)] for i in c.images]]
        for c in cells
    ]


def _rounded(prob: float | None) -> float | None:
    return None if prob is None else round(prob, 3)


def judged_figures(judged: Judged, evaluation: Mapping[str, Any], language: Language) -> dict[str, Any]:
    """{name: figure} of the curves that there are data for."""
    per_class = evaluation["per_class"]
    figures = {
        "pr": curve_figure(judged.curves, per_class, "average_precision", language),
        "roc": curve_figure(judged.curves, per_class, "roc_auc", language),
        "reliability": reliability_figure(judged.reliability, language) if judged.reliability else None,
        "risk": risk_figure(judged.risk, language) if judged.risk else None,
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def judged_captions(judged: Judged, evaluation: Mapping[str, Any], language: Language) -> dict[str, str]:
    """What those figures show, in words."""
    say, words = language.say, language.words
    out = {}
    for name, area in (("pr", "average_precision"), ("roc", "roc_auc")):
        shown, k = len(shown_curves(evaluation["per_class"], list(judged.curves), area)), len(evaluation["per_class"])
        some = say("caption_some", shown=shown, k=k) if shown < k and evaluation["task"] != "binary" else ""
        out[name] = say(f"caption_{name}", some=some)
    ece = evaluation["metrics"].get("ece", {"value": None})["value"]
    out["reliability"] = say("caption_reliability", ece=words.number(ece), ace=words.number(judged.ace))
    if judged.risk:
        asks = judged.risk.get("asks")
        said = (
            say("caption_asks", coverage=words.percent(asks["coverage"]), risk=words.percent(asks["risk"]))
            if asks
            else ""
        )
        out["risk"] = say("caption_risk", aurc=words.number(judged.risk["aurc"]), asks=said)
    return out


def slice_tables(slices: Mapping[str, Sequence[Mapping[str, Any]]], language: Language) -> list[dict[str, Any]]:
    """A table for each column: its name, and rows with name, images, two scores and how likely they are chance."""
    return [
        {"column": column_name(column, language), "rows": [_slice_row(column, row, language) for row in rows]}
        for column, rows in slices.items()
    ]


def column_name(column: str, language: Language) -> str:
    """The name of a column as shown."""
    return language.labels.get(f"slice_{column}", column)


def part_name(column: str, row: Mapping[str, Any], language: Language) -> str:
    """The name of a slice as shown."""
    if row.get("others"):
        return language.labels["slice_other"]
    if row["value"] is None:
        return language.labels["slice_none"]
    if column == "duplicates":
        return language.labels[f"slice_{row['value']}"]
    if column == "size" and "pixels" in row:
        low, high = (f"{n:,}" for n in row["pixels"])
        size = language.labels[f"size_{row['value']}"]
        return language.say("size_pixels_one" if low == high else "size_pixels", size=size, low=low, high=high)
    return str(row["value"])


def chance(p: float | None) -> str:
    """How often such a difference comes by chance, as per cent; '' where there is nothing to differ from."""
    if p is None:
        return ""
    return "< 0.1 %" if p < 0.001 else f"{100 * p:.1f} %" if p < 0.1 else f"{100 * p:.0f} %"


def _slice_row(column: str, row: Mapping[str, Any], language: Language) -> dict[str, Any]:
    scores = [row["metrics"].get(name, {"value": None}) for name in ("accuracy", "macro_f1")]
    first, track = scores[0], None
    if first["value"] is not None:
        low, high = first.get("low", first["value"]), first.get("high", first["value"])
        track = {"at": 100 * first["value"], "from": 100 * low, "width": 100 * (high - low)}
    return {
        "name": part_name(column, row, language), "n": row["n"], "small": row["small"], "scores": scores,
        "track": track, "chance": chance(row["p_value"]),
        "differs": row["p_value"] is not None and row["p_value"] < 0.05,
    }  # fmt: skip
