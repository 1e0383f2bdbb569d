"""A contact sheet: rows of pictures with a small text under each, as one image on a light ground."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from anmok.core.progress import warn
from anmok.report.fonts import Writer
from anmok.report.theme import LIGHT

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

SIDE = 208  # pixels of a cell
MARGIN, GAP = 32, 16
TITLE, TEXT, SMALL = 22, 15, 13  # font sizes
LINES = 12  # of a caption, at most: AugMix draws three chains of three operations
NO_BREAK = "\N{NO-BREAK SPACE}"  # a space at which no line ends
WIDTH = 680  # of a sheet, at least


class Cell(NamedTuple):
    """A picture uint8[H, W, 1 | 3] and what stands under it; it is shown as large as fits, its aspect kept."""

    image: np.ndarray
    caption: str = ""


class Row(NamedTuple):
    """Pictures side by side under a label and a name."""

    label: str
    name: str
    cells: Sequence[Cell]


def draw_sheet(
    title: str, notes: Sequence[str], columns: Sequence[str], rows: Sequence[Row], side: int = SIDE
) -> Image.Image:
    """The sheet as an RGB picture: title, notes, then the rows, whose cells stand under the names of their columns.

    side: pixels of a cell. Captions take up to LINES lines of a cell's width; what is longer is cut and ends in '…'.
    """
    from PIL import Image, ImageDraw

    texts = [title, *notes, *columns, *(t for r in rows for t in (r.label, r.name, *(c.caption for c in r.cells)))]
    writer = Writer([*texts, "…"])
    if writer.unspelled:
        warn(f"no font here writes {writer.unspelled[:20]}; install one that does, such as Noto Sans CJK")
    small, text, large = (writer.font(size) for size in (SMALL, TEXT, TITLE))
    width = max(WIDTH, 2 * MARGIN + len(columns) * (side + GAP) - GAP)
    inner = width - 2 * MARGIN
    head = [line for note in notes for line in wrapped(writer.text(note), small, inner, 9)]
    captions = [[wrapped(writer.text(c.caption), small, side, LINES) for c in row.cells] for row in rows]
    depths = [max(map(len, lines), default=0) for lines in captions]
    line = SMALL + 5
    top = MARGIN + TITLE + 14 + len(head) * line + 18
    height = top + line + 6 + sum(TEXT + 16 + side + 8 + depth * line + 22 for depth in depths) + MARGIN - 22
    sheet = Image.new("RGB", (width, height), LIGHT["page"])
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), fitting(writer.text(title), large, inner), LIGHT["ink"], large, "lt")
    _write(draw, head, MARGIN, MARGIN + TITLE + 14, small, line)
    for i, name in enumerate(columns):
        place = (MARGIN + i * (side + GAP), top + SMALL)
        draw.text(place, fitting(writer.text(name), small, side), LIGHT["accent"], small, "ls")
    y = top + line + 6
    for row, lines, depth in zip(rows, captions, depths, strict=True):
        y = _row(sheet, draw, row, lines, y, side, writer, text, small) + depth * line + 22
    return sheet


def _row(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, row: Row, captions: list[list[str]], y: int, side: int,
    writer: Writer, text: ImageFont.FreeTypeFont, small: ImageFont.FreeTypeFont,
) -> int:  # fmt: skip
    """Draw a row from y on; where its captions begin."""
    inner = sheet.width - 2 * MARGIN
    draw.line((MARGIN, y, sheet.width - MARGIN, y), LIGHT["line"])
    label = fitting(writer.text(row.label), text, inner // 2)
    draw.text((MARGIN, y + 10 + TEXT), label, LIGHT["ink"], text, "ls", stroke_width=0.4, stroke_fill=LIGHT["ink"])
    left = MARGIN + round(text.getlength(label)) + 12
    name = fitting(writer.text(row.name), small, sheet.width - MARGIN - left, middle=True)
    draw.text((left, y + 10 + TEXT), name, LIGHT["muted"], small, "ls")
    y += TEXT + 18
    for i, (cell, lines) in enumerate(zip(row.cells, captions, strict=True)):
        x = MARGIN + i * (side + GAP)
        draw.rectangle((x - 1, y - 1, x + side, y + side), LIGHT["track"], LIGHT["line"])
        picture = fitted(cell.image, side)
        sheet.paste(picture, (x + (side - picture.width) // 2, y + (side - picture.height) // 2))
        _write(draw, lines, x, y + side + 8, small, SMALL + 5)
    return y + side + 6


def _write(
    draw: ImageDraw.ImageDraw, lines: Sequence[str], x: int, y: int, font: ImageFont.FreeTypeFont, step: int
) -> None:
    for number, line in enumerate(lines):
        draw.text((x, y + number * step + SMALL), line, LIGHT["muted"], font, "ls")


def fitted(image: np.ndarray, side: int) -> Image.Image:
    """The RGB picture of uint8[H, W, 1 | 3] at the size at which its long side is `side`, at least one pixel wide.

    Enlarged twice or more it shows its pixels as squares; nothing is invented between them.
    """
    from PIL import Image

    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).convert("RGB")
    scale = side / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    kind = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS
    return picture.resize(size, kind)


def fitting(text: str, font: ImageFont.FreeTypeFont, width: float, middle: bool = False) -> str:
    """The text, or as much of it as fits the width (pixels) with '…' at its end, or in its middle."""
    if font.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:  # most characters that can be kept
        kept = (low + high + 1) // 2
        low, high = (kept, high) if font.getlength(_cut(text, kept, middle)) <= width else (low, kept - 1)
    return _cut(text, low, middle)


def _cut(text: str, kept: int, middle: bool) -> str:
    tail = kept // 2 if middle else 0
    return f"{text[: kept - tail]}…{text[len(text) - tail :] if tail else ''}"


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: float, lines: int) -> list[str]:
    """The text in at most `lines` lines of the width (pixels), broken at plain spaces; what is too long ends in '…'."""
    out: list[str] = []
    words = [word for word in text.split(" ") if word]
    while words and len(out) < lines:
        taken = 1
        while taken < len(words) and font.getlength(" ".join(words[: taken + 1])) <= width:
            taken += 1
        if len(out) == lines - 1:
            taken = len(words)
        out.append(fitting(" ".join(words[:taken]).replace(NO_BREAK, " "), font, width))
        words = words[taken:]
    return out
