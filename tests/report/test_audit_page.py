"""The audit's page: complete in itself, deaf to hostile text, every finding on it, each picture once."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from audit_contents import HOSTILE, filled
from parsed import Page

from anmok.audit.kinds import KINDS as FOUND_KINDS
from anmok.report.audit_content import AuditContent
from anmok.report.audit_kinds import KINDS, LEVELS, SAME, counted, kind_of, ordered
from anmok.report.audit_page import render_audit, write_audit_report
from anmok.report.audit_words import advice, ends, measured, moment, size, tick, verdict
from anmok.report.theme import DARK, LIGHT

BARE = AuditContent(title="bare", task="", images=3, readable=3)


def viewer(page: Page) -> dict[str, Any]:
    """The data that the viewer reads."""
    return json.loads(next(text for attrs, text in page.scripts if attrs.get("id") == "images"))


def test_loads_nothing_and_runs_only_its_own_script() -> None:
    html = render_audit(filled())
    page = Page(html)
    for tag, attrs in page.elements:
        for name in ("src", "href", "action", "srcset", "data", "poster", "xlink:href"):
            if attrs.get(name) is not None:
                assert re.match(r"#|data:image/webp;base64,|data:,$", str(attrs[name])), (tag, name, attrs[name])
        assert not [a for a in attrs if a.startswith("on")], tag
    assert not re.findall(r"@import|url\(|https?://", html)
    policy = next(str(a["content"]) for a in page.all("meta") if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-")
    (script,) = [text for attrs, text in page.scripts if "type" not in attrs]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.count("'sha256-") == 1
    assert f"'sha256-{digest}'" in policy
    assert "innerHTML" not in script


def test_every_kind_and_number_stands_on_the_page() -> None:
    content = filled()
    page = Page(render_audit(content))
    for name, kind in KINDS.items():
        assert kind.title in page.seen
        assert kind.do.replace("`", "") in page.seen
        assert counted(name, 40) in page.seen
    told = ("12,345", "5 cannot be used", "77", "in 33 groups", "train 9,001 · test 3,344", "9.9 s", "11 to 22 images",
            "4,321", "of 60", "score 0.123", "1,234,567", "shown a text", "told a text", "named a text",
            "proposed: relabel:a text", "4,711 different sizes", "3 of them shown", "640 × 480 (900)", "62.4 MB",
            "6.0 GB", "all about 80", "half below 0.55; nine in ten from 0.11 to 0.99", "Format: JPEG",
            "File size tells cat from the rest", "in 41.0\u00a0%, 17.0\u00a0% by chance",
            "0.6726, 0.6397, 0.6045", "note a text", "warned a text",
            "of free memory, half holds a text.", "and 25 more groups", "and 7 more", "same a text")  # fmt: skip
    seen = page.seen.replace("Of free", "of free")
    for text in told:
        assert text in seen, text


def test_what_is_left_out_is_counted() -> None:
    page = Page(render_audit(filled()))
    assert page.seen.count("and 37 more in findings.parquet") == sum(
        1 for name, k in KINDS.items() if k.pictures and name not in SAME
    )
    assert "and 39 more in findings.parquet" in page.seen  # of kinds without pictures only one is told


def test_sections_without_content_are_absent() -> None:
    page = Page(render_audit(BARE))
    ids = {a["id"] for _, a in page.elements if a.get("id")}
    assert not ids & {"found", "unsafe", "classes", "look", "suspects", "shortcuts", "broken", "same", "odd",
                      "measures", "know", "memory", "facts", "warnings"}  # fmt: skip
    assert len(page.all("section")) == 1
    assert "Nothing to learn from yet" in page.seen
    full = Page(render_audit(filled()))
    ids = {a["id"] for _, a in full.elements if a.get("id")}
    assert ids >= {"found", "unsafe", "classes", "look", "suspects", "shortcuts", "broken", "same", "odd", "measures",
                   "know", "memory", "facts", "warnings"}  # fmt: skip


def test_each_picture_stands_once_and_is_copied_elsewhere() -> None:
    content = filled()
    page = Page(render_audit(content))
    images = page.all("img")
    addresses = [a["src"] for a in images if a.get("src")]
    shown = [i.picture.webp for i in content.shown.values() if i.picture.webp]
    wanted = [*shown, *(m.picture.webp for m in content.means)]
    assert sorted(str(a).partition("base64,")[2] for a in addresses) == sorted(
        base64.b64encode(w).decode() for w in wanted
    )
    ids = {a["id"] for a in images if a.get("id")}
    copies = [a["data-copy"] for a in images if a.get("data-copy")]
    assert copies
    assert set(copies) <= ids
    assert "no picture" in page.seen


def test_the_viewer_knows_every_picture_that_opens() -> None:
    content = filled(text="이미지")
    page = Page(render_audit(content))
    data = viewer(page)
    places = {int(str(a["data-image"])) for a in page.all("button") if a.get("class") == "pic"}
    assert {content.shown[key].name for key in content.shown} == {data["images"][i][0] for i in places}
    assert data["fields"] == ["size", "이미지"]
    assert data["images"][3] == [
        "이미지/3.jpg", "dog", "train", ["384 × 512", "이미지"], [["Dark images", "evidence of 이미지 3"]],
    ]  # fmt: skip


def test_hostile_text_stays_text() -> None:
    calm = [tag for tag, _ in Page(render_audit(filled([f"class {i}" for i in range(len(HOSTILE))]))).elements]
    for text in HOSTILE:
        page = Page(render_audit(filled(HOSTILE, text=text)))
        assert [tag for tag, _ in page.elements] == calm
        assert not [a for _, attrs in page.elements for a in attrs if a.startswith("on")]
        assert text in page.seen
        for attrs, script in page.scripts:
            if attrs.get("type") == "application/json":
                assert "<" not in script
        assert viewer(page)["images"][0][0] == f"{text}/0.jpg"


def test_korean_names_are_shown() -> None:
    page = Page(render_audit(filled(["정상", "도난"], text="강아지 사진")))
    for text in ("정상", "도난", "강아지 사진/1.jpg", "shown 강아지 사진"):
        assert text in page.seen


def test_accessible_outline() -> None:
    page = Page(render_audit(filled()))
    tags = [tag for tag, _ in page.elements]
    assert page.elements[0] == ("html", {"lang": "en"})
    assert tags.count("h1") == tags.count("main") == tags.count("dialog") == 1
    assert all(a.get("alt") for a in page.all("img") if a.get("id") != "v-img")  # the viewer's is set when it opens
    assert all(a.get("scope") for a in page.all("th"))
    assert all(a.get("aria-label") for a in page.all("svg"))
    assert all(a.get("type") == "button" for a in page.all("button"))
    scrolling = [a for _, a in page.elements if (a.get("class") or "").startswith("scroll")]
    assert all(a.get("tabindex") == "0" and (a.get("aria-label") or a.get("aria-labelledby")) for a in scrolling)
    ids = [a["id"] for _, a in page.elements if a.get("id")]
    assert len(ids) == len(set(ids))
    for _, a in page.elements:
        if a.get("aria-labelledby"):
            assert a["aria-labelledby"] in ids
        if str(a.get("href", "")).startswith("#"):
            assert str(a["href"])[1:] in ids


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_verdicts_have_contrast(palette: dict[str, str]) -> None:
    """WCAG 2.2: at least 4.5 for text on cards; labels stand on tracks."""
    for text, ground in (("third", "card"), ("accent", "card"), ("wrong", "card"), ("ink", "track"), ("muted", "card")):
        high, low = sorted((_luminance(palette[text]), _luminance(palette[ground])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_written_as_one_file(tmp_path: Path) -> None:
    path = write_audit_report(tmp_path / "report.html", filled())
    assert path.read_text(encoding="utf-8") == render_audit(filled())
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_many_classes_are_folded_and_scroll() -> None:
    page = Page(render_audit(filled([f"class {i}" for i in range(60)])))
    assert "44 more classes" in page.seen
    assert any("tall" in (a.get("class") or "") for a in page.all("div"))


def test_every_kind_that_is_found_is_described() -> None:
    assert set(FOUND_KINDS) == set(KINDS)
    for name, kind in KINDS.items():
        assert kind.title, name
        assert kind.shows.endswith("."), name
        assert kind.do.endswith("."), name
        assert kind.do.count("`") % 2 == 0, name
        assert kind.level in LEVELS, name
        assert (kind.level == "unsafe") == FOUND_KINDS[name].unsafe, name


def test_kinds_stand_gravest_first_and_an_unknown_one_is_named() -> None:
    found = {"odd-name": 1, "dark": 2, "from-mars": 1, "empty": 1, "leakage": 1, "rotated": 0}
    assert ordered(found) == ["leakage", "empty", "dark", "from-mars", "odd-name"]
    assert kind_of("from-mars").title == "From mars"
    assert counted("leakage", 1) == "1 pair"
    assert counted("tiny-class", 2) == "2 classes"


def test_verdict_and_advice() -> None:
    full = filled()
    said = verdict(full)
    assert (said.level, said.said) == ("unsafe", "Not safe to train on yet")
    assert "in two splits (40 pairs) and under two labels (40 pairs)" in said.why
    some = verdict(replace(full, alike={"leakage": 38, "conflicting-labels": 40}))
    assert some.why.startswith("The same image stands in two splits (2 pairs), so a score on this set would mislead.")
    assert some.why.endswith("almost the same stand in two splits (38 pairs) and under two labels (40 pairs).")
    likely = verdict(replace(full, alike={"leakage": 40, "conflicting-labels": 40}))
    assert (likely.level, likely.said) == ("care", "Safe to train on, with care")
    assert [kind for kind, *_ in advice(full)] == ["leakage", "conflicting-labels", "name-collision"]
    calm = replace(full, found={"rotated": 3})
    said = verdict(calm)
    assert (said.level, said.said) == ("safe", "Safe to train on")
    assert said.why == "No image stands under two labels, none in two splits. 5 images cannot be used and are left out."
    assert advice(calm) == []
    unsplit = replace(calm, splits={"none": 5}, found={"shortcut": 1})
    assert verdict(unsplit).level == "care"
    assert verdict(unsplit).why.startswith("No image stands under two labels.")
    assert [what for _, what, _ in advice(unsplit)] == ["Shortcuts (1 property)", "There is no split yet"]
    assert verdict(replace(calm, readable=0)).said == "Nothing to train on"
    assert verdict(BARE).said == "Nothing to learn from yet"


def test_values_as_text() -> None:
    assert [size(n) for n in (0, 999, 1000, 23_449, 999_949, 1.5e9, 2e15)] == [
        "0 B", "999 B", "1.0 kB", "23.4 kB", "1.0 MB", "1.5 GB", "2000 TB",
    ]  # fmt: skip
    assert measured("brightness", 0.666) == "0.67"
    assert measured("jpeg_quality", 79.6) == "80"
    assert measured("unheard", 0.0012345) == "0.00123"
    assert measured("unheard", 12.0) == "12"
    assert measured("bytes", 12_345) == "12.3 kB"
    assert tick("bytes", 20_000) == "20 kB"
    assert tick("brightness", 0.30000000000000004) == "0.3"
    assert moment(0) == "1970-01-01 00:00"
    assert moment(1e30) == ""
    assert ends("bytes", {"glass": 14_000, "paper": 23_000}) == (
        "Smallest in glass (median 14.0 kB), largest in paper (23.0 kB)."
    )
    assert ends("bytes", {"glass": 14_000}) == ends("brightness", {"a": 0.5, "b": 0.501}) == ""
