"""Contact sheets: where pictures stand, what texts fit, and what is written without a font for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anmok.report import fonts
from anmok.report.fonts import Writer
from anmok.report.sheet import GAP, MARGIN, NO_BREAK, SIDE, WIDTH, Cell, Row, draw_sheet, fitted, fitting, wrapped
from anmok.report.theme import LIGHT

RED, BLUE = np.full((40, 40, 3), (200, 10, 20), np.uint8), np.full((10, 30, 3), (10, 20, 200), np.uint8)


def blocks(sheet: Image.Image, color: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the pixels of a colour."""
    y, x = np.nonzero((np.asarray(sheet) == color).all(axis=-1))
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


def rgb(name: str) -> tuple[int, int, int]:
    text = LIGHT[name]
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def test_pictures_stand_in_their_cells_as_large_as_fits() -> None:
    sheet = draw_sheet("t", [], ["a", "b", "c"], [Row("cat", "1.png", [Cell(RED), Cell(BLUE), Cell(RED[:, :, :1])])])
    left, top, right, bottom = blocks(sheet, (200, 10, 20))
    assert (left, right - left, bottom - top) == (MARGIN, SIDE, SIDE)
    wide = blocks(sheet, (10, 20, 200))
    assert (wide[0], wide[2]) == (MARGIN + SIDE + GAP, MARGIN + 2 * SIDE + GAP)
    assert wide[3] - wide[1] == round(SIDE / 3)
    assert abs((wide[1] + wide[3]) - (top + bottom)) <= 1  # in the middle
    gray = blocks(sheet, (200, 200, 200))
    assert (gray[0], gray[1]) == (MARGIN + 2 * (SIDE + GAP), top)
    assert sheet.getpixel((2, 2)) == rgb("page")


def test_the_sheet_grows_with_rows_columns_and_captions() -> None:
    def size(rows: int, columns: int, caption: str = "") -> tuple[int, int]:
        row = Row("a", "b", [Cell(RED, caption)] * columns)
        return draw_sheet("t", [], ["c"] * columns, [row] * rows).size

    assert size(1, 1)[0] == WIDTH
    assert size(1, 7)[0] == 2 * MARGIN + 7 * SIDE + 6 * GAP
    one, two, three = (size(n, 3)[1] for n in (1, 2, 3))
    assert three - two == two - one > SIDE
    assert size(1, 3, "word " * 9)[1] > size(1, 3, "word")[1]
    assert size(1, 3, "word " * 999)[1] == size(1, 3, "word " * 99)[1]  # at most so many lines
    assert draw_sheet("t", [], [], []).width == WIDTH


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 1, 3), (100, 100)), ((1, 20_000, 3), (100, 1)), ((20_000, 1, 1), (1, 100)), ((50, 100, 3), (100, 50)),
        ((301, 200, 3), (66, 100)),
    ],
)  # fmt: skip
def test_odd_pictures_have_a_size(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    assert fitted(np.zeros(shape, np.uint8), 100).size == size


def test_small_pictures_show_their_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(fitted(pixels, 40)), pixels.repeat(10, 0).repeat(10, 1))


@given(st.text(st.characters(codec="latin-1", exclude_categories=["C"]), max_size=80), st.integers(20, 400))
def test_texts_never_leave_their_width(text: str, width: int) -> None:
    writer = Writer([text, "…"])
    font, shown = writer.font(13), writer.text(text)
    for middle in (False, True):
        cut = fitting(shown, font, width, middle)
        assert font.getlength(cut) <= width
        assert cut == shown or "…" in cut or "..." in cut
    lines = wrapped(shown, font, width, 3)
    assert len(lines) <= 3
    assert all(font.getlength(line) <= width for line in lines)
    if font.getlength(" ".join(shown.split(" "))) <= width and shown.strip(" "):
        assert lines == [" ".join(w for w in shown.split(" ") if w).replace(NO_BREAK, " ")]


def test_a_name_is_cut_in_its_middle_and_lines_break_at_plain_spaces() -> None:
    font = Writer(["a…"]).font(13)
    cut = fitting("a" * 200 + "/last-name.jpg", font, 200, middle=True)
    assert cut.startswith("aaa")
    assert cut.endswith("name.jpg")
    lines = wrapped(f"turn{NO_BREAK}+3 shear{NO_BREAK}-2 flip", font, font.getlength("turn +3 shear"), 4)
    assert lines == ["turn +3", "shear -2 flip"] or lines == ["turn +3", "shear -2", "flip"]


def test_a_font_is_found_that_writes_the_text_or_the_text_is_spelled(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Writer(["plain"]).text("plain") == "plain"
    monkeypatch.setattr(fonts, "KNOWN", ("no-such-font.ttf",))
    writer = Writer(["유리 3 × 4 é\n", "金"])
    assert writer.text("유리 3 × 4 é") == "yuri 3 x 4 e"
    assert writer.text("金") == "?"
    assert set("유리金") <= set(writer.unspelled)
    assert "×" not in writer.unspelled


def test_what_cannot_be_written_is_said_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(fonts, "KNOWN", ())
    monkeypatch.setattr("anmok.report.sheet.warn", said.append)
    draw_sheet("유리", [], ["a"], [Row("유리", "x", [Cell(RED)])])
    assert said == ["no font here writes 리유; install one that does, such as Noto Sans CJK"]
    draw_sheet("glass", [], ["a"], [])
    assert len(said) == 1


def test_hangul_is_drawn_where_a_font_has_it() -> None:
    writer = Writer(["유리"])
    if writer.missing:
        pytest.skip("no font with Hangul on this machine")
    drawn: list[Any] = [bytes(writer.font(20).getmask(text)) for text in ("유", "리")]
    assert drawn[0] != drawn[1]
    assert writer.text("유리") == "유리"
