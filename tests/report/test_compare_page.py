"""The page of a comparison and its figures: complete, escaped, and names that do not cover each other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parsed import Page
from PIL import Image

from anmok.report.compare_content import CompareContent
from anmok.report.compare_figures import data_shares, robustness
from anmok.report.compare_page import figures_of, render_compare, short
from anmok.report.figures import png
from anmok.report.pareto import HEIGHT, LETTER, LINE, PLOTS, Spot, pareto, places

HOSTILE = "</script><b>x"


def metric(value: float, **more: Any) -> dict[str, Any]:
    return {"value": value, "low": max(0.0, value - 0.04), "high": min(1.0, value + 0.04), **more}


def row(model: str, accuracy: float, latency: float, **more: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "model": model, "family": "CNN", "simple": False, "error": "", "code": "", "notes": ("a note",), "setting": "",
        "images": 1000, "accuracy": metric(accuracy), "macro_f1": metric(accuracy), "train_accuracy": metric(0.9),
        "guess": 0.2, "image_size": 64, "epochs": 5, "train_seconds": 61.2, "train_images_per_s": 321.5,
        "latency_ms": latency, "throughput": 1000 / latency, "batch": 32,
        "runtime": "openvino bf16", "batch_runtime": "onnxruntime fp32", "device": "cpu", "parameters": 11_179_077,
        "gmacs": 0.148, "peak_memory_bytes": 1_234_000_000, "reach": {"value": 0.41},
        "shares": tuple({"share": s, "images": int(1000 * s), "accuracy": metric(accuracy * s**0.2)}
                        for s in (0.1, 0.3, 1.0)),
        "shuffled": metric(accuracy / 2, plain=accuracy, grid=4),
        "sizes": ({"scale": 0.75, "size": 48, "accuracy": metric(accuracy - 0.05, plain=accuracy)},
                  {"scale": 1.25, "size": 80, "accuracy": {"value": None, "reason": "it takes no other size"}}),
        "done": True,
    }  # fmt: skip
    return known | more


def content(*rows: dict[str, Any], text: str = "a text") -> CompareContent:
    front = [r["model"] for r in rows if not r["error"]][:1]
    return CompareContent(
        title=text, rows=rows, advice=[f"Take it: {text}", "second"], front=front, best=front[0] if front else "",
        task="multiclass", images=378, classes=6, settings={"minutes": "1"}, facts={"processor": text},
    )  # fmt: skip


ROWS = [row("resnet18", 0.78, 9.5), row("hog/logistic", 0.66, 0.8, simple=True, gmacs=None), row("lenet", 0.61, 0.5)]


def test_the_page_holds_every_number_and_reaches_nowhere() -> None:
    failed = row("vit", 0.5, 1, error="its process was ended by SIGKILL")
    page = Page(render_compare(content(*ROWS, failed)))
    text = " ".join(page.seen.split())
    for said in ("78.0", "0.740 – 0.820", "11,179,077", "0.148", "1.23", "9.5", "SIGKILL", "hog/logistic: a note",
                 "Take it", "second", "n/a", "0.41", "openvino bf16", "onnxruntime fp32 of 32"):  # fmt: skip
        assert said in text.replace("\u00a0", " "), said
    reasons = [attrs.get("title") for attrs in page.all("span")]
    assert "it takes no other size" in reasons
    assert not page.all("link")[0]["href"].startswith("http")  # type: ignore[union-attr]
    assert all("src" not in attrs for attrs, _ in page.scripts)
    assert not any("http" in (a.get("src") or "") + (a.get("href") or "") for _, a in page.elements)
    assert {attrs["data-spec"] for attrs, _ in page.scripts if "data-spec" in attrs} == {"pareto", "data", "robustness"}


def test_hostile_names_stay_text() -> None:
    page = Page(render_compare(content(row(HOSTILE, 0.5, 1, family=HOSTILE, notes=(HOSTILE,)), text=HOSTILE)))
    assert not page.all("b")
    assert HOSTILE in page.seen


def test_without_figures_there_is_still_a_page() -> None:
    bare = row("x", 0.5, 1, latency_ms=None, shares=(), shuffled=None, sizes=(), reach=None, parameters=None,
               train_accuracy=None, macro_f1={"value": None, "reason": "no image"}, throughput=None, gmacs=None,
               peak_memory_bytes=None, train_images_per_s=None, train_seconds=None)  # fmt: skip
    assert figures_of(content(bare)) == {}
    assert "no image" in render_compare(content(bare))
    only_failed = render_compare(content(row("x", 0.5, 1, error="why")))
    assert "why" in Page(only_failed).seen


@pytest.mark.parametrize("dark", [False, True])
def test_figures_are_pictures(dark: bool, tmp_path: Any) -> None:
    for figure in figures_of(content(*ROWS)).values():
        path = tmp_path / "figure.png"
        path.write_bytes(png(figure, dark=dark))
        with Image.open(path) as picture:
            assert picture.width > 800
            assert len(set(picture.convert("RGB").get_flattened_data())) > 20


def test_the_front_is_drawn_through_its_models() -> None:
    spec = pareto(ROWS, ["lenet", "hog/logistic", "resnet18"]).to_dict()
    line = next(layer for layer in spec["layer"] if layer["mark"]["type"] == "line")
    assert [p["latency"] for p in line["data"]["values"]] == [9.5, 0.8, 0.5]
    assert pareto([row("x", 0.5, 1, latency_ms=None)], []) is None
    assert data_shares([row("x", 0.5, 1, shares=ROWS[0]["shares"][-1:])]) is None
    bars = robustness(ROWS).to_dict()["layer"]
    assert [p["accuracy"] for p in bars[1]["data"]["values"]] == [0.78, 0.66, 0.61]


SPOTS = st.lists(
    st.tuples(st.floats(0.05, 0.95), st.floats(0.1, 0.9), st.sampled_from(["lenet", "hog/knn", "resnet18"])),
    min_size=1, max_size=5,
).map(lambda found: [Spot(name, x, y, max(0.0, y - 0.05), min(1.0, y + 0.05)) for x, y, name in found])  # fmt: skip


def boxes(spots: list[Spot], width: float) -> list[tuple[float, float, float, float]]:
    out = []
    for spot, (dx, dy, end) in zip(spots, places(spots), strict=True):
        long = LETTER * len(spot.name)
        left = spot.x * width + dx - {"left": 0, "center": long / 2, "right": long}[end]
        top = spot.y * HEIGHT + dy - LINE / 2
        out.append((left, top, left + long, top + LINE))
    return out


@settings(deadline=None)
@given(SPOTS)
def test_names_do_not_cover_each_other(spots: list[Spot]) -> None:
    near = any(
        abs(a.x - b.x) < 0.2 and abs(a.y - b.y) < 0.12 for i, a in enumerate(spots) for b in spots[:i]
    )  # a heap has no room for all
    if near:
        return
    for width in PLOTS:
        found = boxes(spots, width)
        for i, a in enumerate(found):
            for b in found[:i]:
                assert not (a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3])


def test_numbers_have_as_many_digits_as_they_need() -> None:
    assert [short(x) for x in (None, 0.01234, 9.5, 123.4, 11_179_077)] == ["", "0.0123", "9.5", "123", "11,179,077"]
