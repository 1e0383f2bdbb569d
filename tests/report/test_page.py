"""The page: complete in itself, deaf to hostile text, with every number on it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from parsed import Page

from anmok.report import page
from anmok.report.content import ReportContent
from anmok.report.page import figures_of, render, write_report
from anmok.report.theme import DARK, LIGHT
from anmok.report.words import interval, number, percent

HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}{% raw %}",
    "<!--<script>",
    "a&b\u2028c\nd",
    "=cmd|' /C calc'!A0",
]
CASES = {
    "binary": (["정상", "도난"], "binary"),
    "multiclass": (["cardboard", "glass", "metal", "paper", "plastic", "trash"], "multiclass"),
    "multilabel": (["강아지", "cat", "bird"], "multilabel"),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, content: Callable[..., ReportContent]) -> ReportContent:
    """A filled report of each task."""
    classes, task = CASES[request.param]
    return content(classes, task=task)


def test_loads_nothing_and_runs_only_its_own_scripts(case: ReportContent) -> None:
    html = render(case)
    parsed = Page(html)
    for tag, attrs in parsed.elements:
        for name in ("src", "href", "action", "srcset", "data", "poster"):
            if attrs.get(name) is not None:
                assert re.match(r"#|data:image/webp|data:,$", str(attrs[name])), (tag, name, attrs[name])
        assert not [a for a in attrs if a.startswith("on")], tag
    assert "@import" not in html
    assert not re.findall(r"url\((?!#)", html.split("<body>")[0])
    executed = [text for attrs, text in parsed.scripts if "type" not in attrs]
    without_bundle = html.replace(executed[0], "")
    addresses = set(re.findall(r"https?://[^\s\"'<>\\]+", without_bundle))
    assert all(a.startswith("https://vega.github.io/schema/") for a in addresses), (
        addresses
    )  # an identifier, not loaded
    assert set(re.findall(r"https?://([^/\s\"'`<>)]+)", executed[0])) <= {"www.w3.org", "github.com", "vega.github.io"}
    policy = next(a["content"] for t, a in parsed.elements if t == "meta" and a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    for text in executed:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "unsafe-eval" not in policy
    assert len(executed) == 2


def test_every_number_stands_on_the_page(case: ReportContent) -> None:
    seen = Page(render(case)).seen
    data = case.evaluation.data
    for name, m in data["metrics"].items():
        assert number(m["value"]) in seen, name
        assert interval(m) in seen, name
        if m["value"] is None and name in page.words.MAIN:
            assert m["reason"] in seen, name
    for label, row in data["per_class"].items():
        assert label in seen
        for key in ("support", "tp", "fp", "fn", "tn"):
            assert f"{row[key]:,}" in seen
        for key in ("precision", "recall", "f1"):
            assert number(row[key]["value"]) in seen
            assert interval(row[key]) in seen
    assert percent(data["metrics"]["accuracy"]["value"]) in seen
    assert percent(data["leaked"]["metrics"]["accuracy"]["value"]) in seen
    assert number(data["baselines"]["majority"]["accuracy"]["value"]) in seen
    assert "looked at 3 times" in seen
    for text in ("1,234", "11,179,590", "optim.lr", "0.99", "a text/3"):
        assert text in seen


def test_figures_on_the_page_are_the_definitions(case: ReportContent) -> None:
    parsed = Page(render(case))
    specs = {a["data-spec"]: json.loads(text) for a, text in parsed.scripts if a.get("data-spec")}
    assert specs == figures_of(case)
    places = [a["data-figure"] for _, a in parsed.elements if a.get("data-figure")]
    assert sorted(places) == sorted(specs)
    assert {"comparison", "classes", "curve-Loss", "curve-Validation scores", "curve-Learning rate"} <= set(specs)
    assert ("outcomes" if case.evaluation["task"] == "multilabel" else "confusion") in specs


def test_hostile_text_stays_text(content: Callable[..., ReportContent]) -> None:
    calm = Page(render(content(["a", "b", "c", "d", "e", "f"])))
    for text in HOSTILE:
        parsed = Page(render(content(HOSTILE, text=text)))
        assert [t for t, _ in parsed.elements if t in ("script", "img", "iframe")] == [
            t for t, _ in calm.elements if t in ("script", "img", "iframe")
        ]
        assert not [a for _, attrs in parsed.elements for a in attrs if a.startswith("on")]
        assert text in parsed.seen
        for attrs, script in parsed.scripts:
            if attrs.get("type") == "application/json":
                assert "<" not in script
                json.loads(script)


def test_accessible_outline(case: ReportContent) -> None:
    parsed = Page(render(case))
    tags = [t for t, _ in parsed.elements]
    assert parsed.elements[0] == ("html", {"lang": "en"})
    assert tags.count("h1") == tags.count("main") == 1
    assert all(a.get("alt") for t, a in parsed.elements if t == "img")
    assert all(a.get("scope") for t, a in parsed.elements if t == "th")
    ids = [a["id"] for _, a in parsed.elements if a.get("id")]
    assert len(ids) == len(set(ids))
    for _, a in parsed.elements:
        if a.get("aria-labelledby"):
            assert a["aria-labelledby"] in ids
        if str(a.get("href", "")).startswith("#"):
            assert str(a["href"])[1:] in ids


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_text_has_contrast(palette: dict[str, str]) -> None:
    """WCAG 2.2: at least 4.5 for text, on the page and on cards."""
    for text in ("ink", "muted", "accent", "wrong"):
        for ground in ("card", "page"):
            assert _contrast(palette[text], palette[ground]) >= 4.5, (text, ground)
    assert _contrast(palette["ink"], palette["warn"]) >= 4.5
    assert _contrast(palette["on-full"], palette["accent"]) >= 4.5
    assert _contrast(palette["on-full"], palette["wrong"]) >= 4.5


def _contrast(a: str, b: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_stays_below_four_megabytes(tmp_path: Path, content: Callable[..., ReportContent]) -> None:
    """A hundred classes and more pictures than fit: the last ones stand without, none is lost."""
    case = content([f"class {i}" for i in range(100)], n=3000, pictures=59, side=300)
    assert sum(len(m.thumbnail) for m in case.mistakes) > page.THUMBNAIL_BYTES
    path = write_report(tmp_path / "report.html", case)
    assert path.stat().st_size < 4_000_000
    parsed = Page(path.read_text(encoding="utf-8"))
    pictures = [a for t, a in parsed.elements if t == "img"]
    assert 0 < len(pictures) < 59
    assert parsed.seen.count("no picture") == 60 - len(pictures)


def test_more_classes_than_a_matrix_shows(content: Callable[..., ReportContent]) -> None:
    case = content([f"class {i}" for i in range(120)], n=600)
    seen = Page(render(case)).seen
    assert "The 100 classes with the most mistakes are shown, 20 are not." in seen
    assert "the 100 worst of 120" in seen


def test_a_report_with_nothing_but_an_evaluation(content: Callable[..., ReportContent]) -> None:
    evaluation = content(["a", "b"], n=3, task="binary").evaluation
    data: dict[str, Any] = {k: v for k, v in evaluation.data.items() if k not in ("baselines", "looks", "leaked")}
    seen = Page(render(ReportContent(title="bare", evaluation=type(evaluation)(data)))).seen
    assert "bare" in seen
    assert "How it learned" not in seen
