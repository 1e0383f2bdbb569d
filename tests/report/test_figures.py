"""Every figure draws to PNG, in both palettes, with the values it was given."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from anmok.report import figures
from anmok.report.content import ReportContent
from anmok.report.curves import curve, training_curves, whole_ticks
from anmok.report.page import figures_of


@pytest.mark.parametrize(
    ("classes", "task", "dark"),
    [
        (["정상", "도난"], "binary", True),
        ([f"</script>{i}" for i in range(100)], "multiclass", False),
        (["a.b", "c[0]"], "multilabel", True),
    ],
)
def test_every_figure_draws(content: Callable[..., ReportContent], classes: list[str], task: str, dark: bool) -> None:
    case = content(classes, n=150, task=task)
    data = case.evaluation.data
    drawn = {
        "comparison": figures.comparison(data),
        "classes": figures.class_scores(data["per_class"]),
        **training_curves(case.history, case.best_epoch),
    }
    if task == "multilabel":
        drawn["outcomes"] = figures.label_outcomes(data["per_class"])
    else:
        drawn["confusion"] = figures.confusion_matrix(data["confusion"])
    assert {name.removeprefix("curve-") for name in figures_of(case)} == set(drawn)
    for name, figure in drawn.items():
        with Image.open(io.BytesIO(figures.png(figure, dark=dark, scale=1))) as picture:
            colours = picture.convert("RGB").getcolors(1 << 24)
            assert picture.width > 200, name
        assert len(colours) > 20, f"{name} is blank"
        ground = max(colours)[1]
        assert (sum(ground) < 150) == dark, name


def test_confusion_matrix_holds_counts_and_shares() -> None:
    figure = figures.confusion_matrix({"classes": ["a", "b", "never"], "counts": [[3, 1, 0], [0, 0, 4], [0, 0, 0]]})
    rows = figure.to_dict()["data"]["values"]
    assert len(rows) == 9
    assert {"truth": "a", "predicted": "b", "images": 1, "share": 0.25, "right": False} in rows
    assert {"truth": "never", "predicted": "never", "images": 0, "share": 0, "right": True} in rows


def test_large_matrix_keeps_the_worst_classes() -> None:
    counts = [[9, 0, 0], [0, 5, 4], [0, 0, 9]]
    assert figures.shown_classes(counts, most=2) == [1, 2]
    assert figures.shown_classes(counts) == [0, 1, 2]


def test_undefined_scores_are_left_out(content: Callable[..., ReportContent]) -> None:
    undefined = {"value": None, "reason": "no image of this class"}
    row = {"f1": undefined, "precision": undefined, "recall": undefined, "support": 0}
    full = content(["a", "b"], task="binary").evaluation["per_class"]["a"]
    figure = figures.class_scores({"gone": row, "here": full})
    rows = figure.to_dict()["data"]["values"]
    assert {r["label"] for r in rows} == {f"here ({full['support']})"}
    assert figures.png(figure, scale=1)


def test_curve_passes_over_missing_values() -> None:
    history = [{"epoch": 0, "loss": None}, {"epoch": 1, "loss": 0.5, "val": None}, {"epoch": 2, "val": {"loss": 0.4}}]
    figure = curve(history, {"training": "loss", "validation": "val.loss"}, "loss", best_epoch=2)
    assert figure is not None
    rows = [r for layer in figure.to_dict()["layer"] for r in layer["data"]["values"] if "value" in r]
    assert [(r["epoch"], r["series"], r["value"]) for r in rows] == [(1, "training", 0.5), (2, "validation", 0.4)]
    assert curve([], {"training": "loss"}, "loss") is None
    assert training_curves([]) == {}


def test_save_png(tmp_path: Path) -> None:
    figure = curve([{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5}], {"training": "loss"}, "loss")
    path = figures.save_png(figure, tmp_path / "loss.png", scale=2)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.width > 500


def test_an_axis_of_epochs_has_no_halves() -> None:
    assert whole_ticks(1, 1) == [1]
    assert whole_ticks(1, 3) == [1, 2, 3]
    assert whole_ticks(1, 30) == [1, 6, 11, 16, 21, 26]
    history = [{"epoch": e, "loss": 1 / e} for e in (1, 2, 3)]
    axes = [
        layer["encoding"]["x"]["axis"]["values"] for layer in curve(history, {"a": "loss"}, "loss").to_dict()["layer"]
    ]
    assert axes == [[1, 2, 3]]
