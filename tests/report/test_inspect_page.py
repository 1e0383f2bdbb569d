"""The page of an inspection and what is drawn for it: complete in itself, deaf to hostile text, true to its numbers."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import numpy as np
import pytest
from parsed import Page

from anmok.report.embedding_map import embedding_map
from anmok.report.figures import png
from anmok.report.heat import COLORS, colored, enlarged, gray, overlay, ringed, scaled
from anmok.report.inspect_content import Error, InspectContent, Layer, Looked, View
from anmok.report.inspect_page import render_inspect
from anmok.report.tiles import Group, draw_tiles

HOSTILE = ["</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}{% raw %}", "<!--<script>"]


def content(text: str = "a text", full: bool = True) -> InspectContent:
    rng = np.random.default_rng(0)

    def picture(h: int = 20, w: int = 30, c: int = 3) -> np.ndarray:
        return rng.integers(0, 256, (h, w, c), np.uint8)

    if not full:
        return InspectContent(title=text, embedding_text="no map", reach_text="no field", filters_text="no filters")
    points = [
        {"id": f"{text}/{i}", "x": i, "y": i % 3, "label": text, "predicted": text, "wrong": i % 2 == 0, "image": ""}
        for i in range(6)
    ]
    answers = [(text, 0.75), ("other", 0.25)]
    views = [View("the picture", picture()), View(f"answer: {text}", picture(c=1))]
    return InspectContent(
        title=text, subtitle=text, headline=[text], layer=text, rollout=text, reach=picture(), reach_text=text,
        looked=[Looked(f"{text}.jpg", text, answers, False, views), Looked("b.jpg", "", answers, False, views),
                Looked("c.jpg", "other", answers, True, views)],
        embedding=embedding_map(points, [text, "other"], ("one", "two")), embedding_text=text,
        errors=[Error(text, text, "other", 7, answers, picture())], errors_of=text,
        filters=[picture(5, 5)], filters_text=text, layers=[Layer(text, "2 × 2", [picture(2, 2)])], layers_text=text,
        facts={text: text, "seed": "0"},
    )  # fmt: skip


@pytest.mark.parametrize("full", [True, False])
def test_loads_nothing_and_runs_only_its_own_scripts(full: bool) -> None:
    html = render_inspect(content(full=full))
    parsed = Page(html)
    for tag, attrs in parsed.elements:
        for name in ("src", "href", "action", "srcset", "data", "poster"):
            if attrs.get(name) is not None:
                assert re.match(r"#|data:image/webp|data:,$", str(attrs[name])), (tag, name)
        assert not [a for a in attrs if a.startswith("on")], tag
    executed = [text for attrs, text in parsed.scripts if "type" not in attrs]
    assert len(executed) == (2 if full else 1)  # the figures' library only where there is a figure
    policy = next(str(a["content"]) for t, a in parsed.elements if t == "meta" and a.get("http-equiv"))
    assert policy.startswith("default-src 'none';")
    for text in executed:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    ids = [str(a["id"]) for _, a in parsed.elements if a.get("id")]
    assert len(ids) == len(set(ids))
    for tag, a in parsed.elements:
        assert tag != "img" or a.get("alt")
        if str(a.get("href", "")).startswith("#"):
            assert str(a["href"])[1:] in ids
        if a.get("aria-labelledby"):
            assert a["aria-labelledby"] in ids


def test_hostile_text_stays_text() -> None:
    calm = [t for t, _ in Page(render_inspect(content())).elements]
    for text in HOSTILE:
        parsed = Page(render_inspect(content(text)))
        assert [t for t, _ in parsed.elements] == calm
        assert text in parsed.seen
        for attrs, script in parsed.scripts:
            if attrs.get("type") == "application/json":
                assert "<" not in script
                json.loads(script)


def test_what_was_found_stands_on_the_page() -> None:
    seen = Page(render_inspect(content("cat"))).seen
    for text in ("75.0\u00a0%", "right: cat", "label not known", "wrong:", "other, taken for cat", "7 such errors"):
        assert text in seen
    bare = Page(render_inspect(content("cat", full=False))).seen
    for text in ("no map", "no field", "no filters"):
        assert text in bare
    assert "Where it looks" not in bare


def test_the_map_marks_the_wrong_ones_and_colours_by_label() -> None:
    def points(k: int) -> list[dict[str, object]]:
        return [
            {"id": str(i), "x": i, "y": -i, "label": str(i % k), "predicted": "0", "wrong": i == 0, "image": ""}
            for i in range(3 * k)
        ]

    few = embedding_map(points(3), ["0", "1", "2"], ("a", "b"))
    right, wrong = few.to_dict()["layer"]
    assert right["mark"]["shape"] == "circle"
    assert wrong["mark"]["shape"] == "cross"
    assert right["encoding"]["color"]["scale"]["domain"] == ["0", "1", "2"]
    assert [t["filter"] for t in wrong["transform"]] == ["datum.wrong"]
    many = embedding_map(points(30), [str(i) for i in range(30)], ("a", "b"))
    assert many.to_dict()["layer"][0]["encoding"]["color"]["scale"]["domain"] == ["right", "wrong"]
    for figure in (few, many):
        assert png(figure, scale=1)[:4] == b"\x89PNG"


def test_heat_grows_lighter_and_leaves_what_is_cold() -> None:
    steps = colored(np.linspace(0, 1, 101)[None])[0].astype(float)
    light = steps @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(light) > 0).all()
    np.testing.assert_array_equal(colored(np.array([[0.0, 1.0]]))[0], [COLORS[0], COLORS[-1]])
    image = np.full((2, 3, 3), 200, np.uint8)
    values = np.array([[0, 1, np.nan], [0, 0.5, 0]])
    laid = overlay(image, values)
    np.testing.assert_array_equal(laid[0, 0], [200, 200, 200])
    assert np.abs(laid[0, 1].astype(int) - COLORS[-1]).max() < np.abs(200 - np.array(COLORS[-1])).max()
    assert (laid[0, 2] > 200).all()  # not seen: pale
    assert overlay(image[..., :1], values).shape == (2, 3, 3)
    np.testing.assert_array_equal(scaled(np.array([[2.0, 4.0, np.nan]])), [[0, 1, np.nan]])
    np.testing.assert_array_equal(scaled(np.full((2, 2), 7.0)), 0)
    assert gray(np.array([[0.0, 1.0, 2.0]])).ravel().tolist() == [0, 255, 255]


def test_enlarged_is_bilinear_between_the_middles_of_cells() -> None:
    from skimage.transform import resize

    values = np.random.default_rng(0).random((3, 5)).astype(np.float32)
    expected = resize(values, (12, 40), order=1, mode="edge", anti_aliasing=False)
    np.testing.assert_allclose(enlarged(values, 12, 40), expected, atol=1e-5)


def test_rings_and_tiles_are_drawn_where_they_belong() -> None:
    ringed_picture = ringed(np.zeros((20, 20, 3), np.uint8), (9.5, 9.5), [5], 4, (255, 0, 0))
    assert ringed_picture.shape == (80, 80, 3)
    rows, columns = np.nonzero(ringed_picture[..., 0])
    distance = np.hypot(rows - 39.5, columns - 39.5) / 4
    assert distance.min() > 4.2
    assert distance.max() < 5.6
    red, blue = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    sheet = np.asarray(draw_tiles("A title", ["a note"], [Group("one", [red] * 5), Group("", [blue])], 4, 32))
    is_red = (sheet == (255, 0, 0)).all(axis=2)
    is_blue = (sheet == (0, 0, 255)).all(axis=2)
    assert is_red.sum() == 5 * 32 * 32
    assert is_blue.sum() == 32 * 32
    assert np.nonzero(is_blue)[0].min() > np.nonzero(is_red)[0].max()
