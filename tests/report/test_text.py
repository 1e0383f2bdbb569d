"""Words, numbers, thumbnails and the terminal."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from anmok.report.content import ReportContent
from anmok.report.text import plain, print_evaluation
from anmok.report.thumbnails import thumbnail
from anmok.report.words import headline, interval, number, percent, remarks


def printed(case: ReportContent) -> str:
    out = io.StringIO()
    print_evaluation(case.evaluation, Console(file=out, width=130, highlight=False))
    return out.getvalue()


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_terminal_shows_scores_matrix_and_baselines(content: Callable[..., ReportContent], task: str) -> None:
    case = content(["종이", "[red]x", "c"], task=task)
    text, data = printed(case), case.evaluation.data
    for name in ("accuracy", "macro_f1", "log_loss", "ece"):
        assert number(data["metrics"][name]["value"]) in text
        assert interval(data["metrics"][name]) in text
    assert "[red]x" in text
    assert "종이" in text
    assert "most frequent label" in text
    assert ("Rows: true label" in text) == (task == "multiclass")
    if task == "multilabel":
        assert "is for one label per image" in text


def test_terminal_leaves_a_large_matrix_to_the_report(content: Callable[..., ReportContent]) -> None:
    text = printed(content([f"c{i}" for i in range(13)]))
    assert "13 classes: see the report" in text
    assert "Rows: true label" not in text


def test_labels_cannot_command_the_terminal(content: Callable[..., ReportContent]) -> None:
    assert plain("a\x1b[31mb\n\u202ec") == "a\ufffd[31mb\ufffd\ufffdc"
    assert "\x1b" not in printed(content(["a\x1b[2J", "b"], task="binary"))


def test_numbers() -> None:
    assert percent(0.753) == "75.3\u00a0%"
    assert percent(1) == "100\u00a0%"
    assert percent(0) == "0\u00a0%"
    assert percent(0.9999) == "99.99\u00a0%"
    assert percent(0.0004) == "0.04\u00a0%"
    assert number(-0.0001) == "0.000"
    assert number(None) == "n/a"
    assert interval({"value": 0.5, "low": 0.25, "high": 0.75}) == "0.250 – 0.750"
    assert interval({"value": None, "reason": "x"}) == interval({"value": 1.0}) == ""


def evaluation(low: float, value: float, high: float, baseline: float) -> dict:
    score = {"value": value, "low": low, "high": high}
    base = {"majority": {"accuracy": {"value": baseline, "low": baseline - 0.05, "high": baseline + 0.05}}}
    return {"split": "test", "n": 90, "task": "multiclass", "metrics": {"accuracy": score}, "baselines": base}


def test_headline_says_what_the_number_means() -> None:
    said = headline(evaluation(0.75, 0.8, 0.85, 0.3))
    assert (
        said[0]
        == "The model is right on 80.0\u00a0% of 90 test images (95\u00a0% interval 75.0\u00a0% to 85.0\u00a0%)."
    )
    assert "would reach 30.0\u00a0%" in said[1]
    assert "ahead by more than chance" in said[2]
    assert "may be chance" in headline(evaluation(0.5, 0.6, 0.7, 0.5))[2]
    assert "no better than that" in headline(evaluation(0.4, 0.5, 0.6, 0.5))[2]
    assert len(headline(evaluation(0.4, 0.5, 0.6, 0.5) | {"baselines": {}})) == 1


def test_remarks() -> None:
    data = {
        "looks": 1, "rejected": 1, "unlabelled": 2,
        "leaked": {"n": 0, "left_out": 9, "metrics": {"accuracy": {"value": None, "reason": "no row remains"}}},
    }  # fmt: skip
    said = remarks(data)
    assert "once" in said[0]
    assert "9 images that are also in training" in said[1]
    assert "nothing is left" in said[1]
    assert said[2] == "1 image could not be read and is left out."
    assert said[3] == "2 images without a label are left out."


@pytest.mark.parametrize("channels", [1, 3])
def test_thumbnail(channels: int) -> None:
    image = np.zeros((300, 600, channels), np.uint8)
    image[:, 300:] = 250
    data = thumbnail(image, side=100)
    with Image.open(io.BytesIO(data)) as picture:
        assert (picture.format, picture.size) == ("WEBP", (100, 50))
        assert picture.convert("L").getpixel((10, 25)) < 20 < 230 < picture.convert("L").getpixel((90, 25))
    with Image.open(io.BytesIO(thumbnail(image[:20, :30], side=100))) as picture:
        assert picture.size == (30, 20)
