"""The figures of the audit's page: values where they belong, well-formed, and deaf to hostile text."""

from __future__ import annotations

import itertools
import math
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from audit_contents import HOSTILE
from hypothesis import given
from hypothesis import strategies as st

from anmok.report.audit_content import Histogram, Sizes, Spread
from anmok.report.audit_figures import bars, histogram, place, scatter, spreads, stacked, ticks

NONE = Spread(0, 0, 0)


def parsed(markup: str) -> ET.Element:
    """A figure as XML: an element that is not closed, or a text that is not escaped, is an error."""
    return ET.fromstring(str(markup))


def widths(markup: str) -> list[float]:
    return [float(w) for w in re.findall(r"width:([\d.]+)%", markup)]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 8))
def test_ticks_are_few_round_and_inside(low: float, span: float, most: int) -> None:
    high = low + span
    found = ticks(low, high, most=most)
    assert 1 <= len(found) <= most + 1
    assert all(low - 1e-6 * span <= t <= high + 1e-6 * span for t in found)
    steps = {b - a for a, b in itertools.pairwise(found)}
    assert not steps or max(steps) - min(steps) <= 1e-6 * span
    if steps:
        lead = max(steps) / 10 ** math.floor(math.log10(max(steps)) + 1e-9)
        assert min(abs(lead - r) for r in (1, 2, 2.5, 5, 10)) < 1e-5


@given(st.floats(1e-3, 1e3), st.floats(1.2, 1e6))
def test_logarithmic_ticks_are_inside_and_grow(low: float, factor: float) -> None:
    found = ticks(low, low * factor, logarithmic=True)
    assert 1 <= len(found) <= 6
    assert found == sorted(set(found))
    assert all(low * 0.999 <= t <= low * factor * 1.001 for t in found)


def test_ticks_by_hand() -> None:
    assert ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert ticks(3, 3) == [3]
    assert ticks(10, 1000, logarithmic=True, most=5) == pytest.approx([10, 30, 100, 300, 1000])
    assert ticks(8, 12, logarithmic=True) == pytest.approx([10])
    assert ticks(11, 12, logarithmic=True) == [11, 12]


@given(st.floats(-100, 100), st.floats(-100, 100), st.floats(0.01, 100))
def test_place_is_linear_between_its_ends(value: float, low: float, span: float) -> None:
    assert place(value, low, low + span) == pytest.approx(float(np.interp(value, [low, low + span], [0, 1])), abs=1e-9)


def test_place_on_a_logarithmic_axis_and_on_none() -> None:
    assert place(100, 10, 1000, logarithmic=True) == pytest.approx(0.5)
    assert place(1, 10, 1000, logarithmic=True) == 0
    assert place(5, 5, 5) == 0.5


def test_histogram_draws_its_counts() -> None:
    h = Histogram("brightness", [0, 0.25, 0.5, 0.75, 1], [10, 0, 40, 20], False, Spread(0.1, 0.5, 0.9), {})
    figure = parsed(histogram(h, "{:.2f}".format, "{:g}".format, name="brightness"))
    drawn = figure.findall("rect")
    assert [r.findtext("title") for r in drawn] == ["0.00 – 0.25: 10", "0.50 – 0.75: 40", "0.75 – 1.00: 20"]
    heights = [float(r.get("height", "")) for r in drawn]
    assert heights == pytest.approx([21, 84, 42], abs=0.06)
    assert [float(r.get("y", "")) + float(r.get("height", "")) for r in drawn] == pytest.approx([98] * 3, abs=0.11)
    left = [float(r.get("x", "")) for r in drawn]
    assert left == pytest.approx([8.5, 160.5, 236.5])
    (median,) = [p.get("d") for p in figure.findall("path") if p.get("class") == "median"]
    assert str(median).startswith("M160.0 ")
    texts = [t.text for t in figure.findall("text")]
    assert texts == ["40", "0", "0.2", "0.4", "0.6", "0.8", "1"]


def test_labels_under_a_logarithmic_histogram_do_not_touch() -> None:
    h = Histogram("bytes", [900, 30_000, 1_000_000], [1, 2], True, Spread(1e3, 3e4, 9e5), {})
    figure = parsed(histogram(h, str, lambda v: f"{v:,.0f} bytes", name="file size"))
    labels = [(float(t.get("x", "")), len(str(t.text))) for t in figure.findall("text")[1:]]
    assert labels
    for (x, n), (after, m) in itertools.pairwise(labels):
        assert x + 3.1 * n < after - 3.1 * m


def test_scatter_has_a_disc_a_size_whose_area_is_its_images() -> None:
    sizes = Sizes([(640, 480, 400), (480, 640, 100), (500, 500, 25), (100, 120, 1), (700, 300, 4)], 5)
    figure = parsed(scatter(sizes, name="sizes"))
    discs = {str(c.findtext("title")): c for c in figure.findall("circle")}
    assert set(discs) == {"640 × 480: 400", "480 × 640: 100", "500 × 500: 25", "100 × 120: 1", "700 × 300: 4"}
    radius = [float(discs[t].get("r", "")) - 2.2 for t in ("640 × 480: 400", "480 × 640: 100", "500 × 500: 25")]
    assert radius[0] / radius[1] == pytest.approx(2, rel=0.02)
    assert radius[1] / radius[2] == pytest.approx(2, rel=0.05)
    by_width = sorted(discs.values(), key=lambda c: int(str(c.findtext("title")).split()[0]))
    across = [float(c.get("cx", "")) for c in by_width]
    assert across == sorted(across)
    by_height = sorted(discs.values(), key=lambda c: int(str(c.findtext("title")).split()[2].rstrip(":")))
    down = [float(c.get("cy", "")) for c in by_height]
    assert down == sorted(down, reverse=True)
    assert all(52 <= x <= 310 for x in across)
    assert not [t for t in figure.findall("text") if t.get("class") == "said mid"]  # more than four: none is labelled


def test_scatter_of_two_sizes_is_labelled_and_of_wide_ranges_logarithmic() -> None:
    figure = parsed(scatter(Sizes([(384, 512, 2000), (512, 384, 527)], 2), name="sizes"))
    said = [t.text for t in figure.findall("text") if t.get("class") == "said mid"]
    assert said == ["384 × 512: 2,000", "512 × 384: 527"]
    wide = parsed(scatter(Sizes([(1, 20000, 1), (20000, 1, 1), (100, 100, 1)], 3), name="sizes"))
    x = sorted(float(c.get("cx", "")) for c in wide.findall("circle"))
    assert (x[1] - x[0]) / (x[2] - x[0]) == pytest.approx(math.log(100) / math.log(20000), abs=0.01)


@given(st.dictionaries(st.text(), st.integers(0, 10**6), max_size=5))
def test_stacked_parts_add_up_to_their_share(parts: dict[str, int]) -> None:
    total = sum(parts.values())
    drawn = widths(str(stacked(parts, 2 * total)))
    assert len(drawn) == sum(n > 0 for n in parts.values())
    assert sum(drawn) == pytest.approx(50 if total else 0, abs=0.05)


def test_bars_and_spreads_lie_where_their_values_do() -> None:
    table = parsed(bars([("files", 25, "25 B"), ("float32", 100, "100 B"), ("none", 0, "0 B")]))
    assert [r.findtext("th") for r in table.iter("tr")] == ["files", "float32", "none"]
    assert widths(ET.tostring(table, "unicode")) == [25, 100, 0]
    lines = str(spreads({"cat": Spread(0.2, 0.5, 0.6), "dog": Spread(0, 0.25, 1)}, "{:.2f}".format, low=0, high=1))
    assert re.findall(r"left:([\d.]+)%", lines) == ["20.00", "50.00", "0.00", "25.00"]
    assert widths(lines) == [40, 100]
    assert "cat: 5 % below 0.20, half below 0.50, 95 % below 0.60" in lines
    whole = str(spreads({"cat": Spread(10, 100, 1000)}, str, logarithmic=True))
    assert re.findall(r"left:([\d.]+)%", whole) == ["0.00", "50.00"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str) -> None:
    h = Histogram(text, [0, 1], [1], False, Spread(0, 0.5, 1), {})
    for figure in (
        histogram(h, lambda v: text, lambda v: text, name=text),
        scatter(Sizes([(1, 1, 1)], 1), name=text),
        stacked({text: 1}, 1),
        bars([(text, 1, text)]),
        spreads({text: Spread(0, 0.5, 1)}, lambda v: text),
    ):
        tree = parsed(figure)
        assert not [e.tag for e in tree.iter() if e.tag in ("script", "img", "a", "foreignObject")]
        assert not [a for e in tree.iter() for a in e.attrib if a.startswith("on")]
    assert parsed(bars([(text, 1, text)])).findtext(".//th") == text


def test_figures_of_nothing() -> None:
    assert parsed(bars([])).tag == "table"
    assert widths(str(stacked({}, 0))) == []
    flat = Histogram("x", [1.0, 1.001], [0], False, NONE, {})
    assert not parsed(histogram(flat, str, str, name="x")).findall("rect")
