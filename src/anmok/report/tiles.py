"""Many small pictures as one: rows of equal squares under headings, on a light ground."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from anmok.report.fonts import Writer
from anmok.report.sheet import MARGIN, SMALL, TEXT, TITLE, fitted, fitting, wrapped
from anmok.report.theme import LIGHT

if TYPE_CHECKING:
    from PIL import Image

GAP = 6
NOTE_LINES = 4


class Group(NamedTuple):
    """Pictures uint8[H, W, 1 | 3] under a heading ('': none)."""

    heading: str
    images: Sequence[np.ndarray]


def draw_tiles(
    title: str, notes: Sequence[str], groups: Sequence[Group], columns: int = 12, side: int = 64
) -> Image.Image:
    """The groups as an RGB picture, `columns` squares of `side` pixels in a row, under a title and notes."""
    from PIL import Image, ImageDraw

    writer = Writer([title, *notes, *(group.heading for group in groups), "…"])
    small, text, large = (writer.font(size) for size in (SMALL, TEXT, TITLE))
    inner = columns * (side + GAP) - GAP
    head = [line for note in notes for line in wrapped(writer.text(note), small, inner, NOTE_LINES)]
    deep = [-(-len(group.images) // columns) * (side + GAP) + (TEXT + 14 if group.heading else 0) for group in groups]
    top = MARGIN + TITLE + 14 + len(head) * (SMALL + 5) + 10
    picture = Image.new("RGB", (inner + 2 * MARGIN, top + sum(d + 14 for d in deep) + MARGIN - 14), LIGHT["page"])
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, MARGIN), fitting(writer.text(title), large, inner), LIGHT["ink"], large, "lt")
    for number, line in enumerate(head):
        draw.text((MARGIN, MARGIN + TITLE + 14 + number * (SMALL + 5) + SMALL), line, LIGHT["muted"], small, "ls")
    for group, depth in zip(groups, deep, strict=True):
        y = top
        if group.heading:
            draw.text((MARGIN, y + TEXT), fitting(writer.text(group.heading), text, inner), LIGHT["ink"], text, "ls")
            y += TEXT + 14
        for number, image in enumerate(group.images):
            row, column = divmod(number, columns)
            tile = fitted(image, side)
            x = MARGIN + column * (side + GAP) + (side - tile.width) // 2
            picture.paste(tile, (x, y + row * (side + GAP) + (side - tile.height) // 2))
        top += depth + 14
    return picture
