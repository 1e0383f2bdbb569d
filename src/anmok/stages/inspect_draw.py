"""The PNG files of an inspection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.core.files import make_folder, write_atomic
from anmok.report.figures import png
from anmok.report.inspect_content import Error, InspectContent, Looked
from anmok.report.sheet import Cell, Row, draw_sheet
from anmok.report.tiles import Group, draw_tiles
from anmok.report.words import percent
from anmok.stages.sort import safe_name, unique_names

if TYPE_CHECKING:
    from PIL import Image

SIDE = 240  # pixels of a cell
TILE = 64


def draw(folder: Path, content: InspectContent) -> None:
    """Write every picture of the content: looks.png, images/, filters.png, layers.png, embedding.png, …"""
    if content.looked:
        _save(looks_sheet(content), folder / "looks.png")
        views(folder / "images", content.looked)
    if content.errors:
        _save(errors_sheet(content), folder / "errors.png")
    if content.reach is not None:
        notes = [content.reach_text, "The circles are these radii. Brightness is the square root of the influence."]
        group = Group("", [content.reach])
        _save(draw_tiles("Effective receptive field", notes, [group], 1, 480), folder / "receptive-field.png")
    if content.filters:
        group = Group("", content.filters)
        tiles = draw_tiles("Filters of the first layer", [content.filters_text], [group], 8, TILE)
        _save(tiles, folder / "filters.png")
    if content.layers:
        groups = [Group(f"{layer.name}: {layer.size}", layer.channels) for layer in content.layers]
        _save(draw_tiles("Maps of features", [content.layers_text], groups, 6, 96), folder / "layers.png")
    if content.embedding is not None:
        write_atomic(folder / "embedding.png", png(content.embedding))


def looks_sheet(content: InspectContent) -> Image.Image:
    """Every image with its views side by side."""
    most = max(len(looked.views) for looked in content.looked)
    notes = [f"Grad-CAM over the map of {content.layer}; each map is scaled to its own largest value."]
    notes += [content.rollout] if content.rollout else []
    rows = [
        Row(_verdict(looked), looked.name, [Cell(view.image, view.title) for view in looked.views])
        for looked in content.looked
    ]
    return draw_sheet(f"Where {content.title} looks", notes, [""] * most, rows, SIDE)


def _verdict(looked: Looked) -> str:
    if not looked.truth:
        return f"{looked.answers[0][0]}, label not known"
    return f"{looked.truth}, taken for {looked.answers[0][0]}" if looked.wrong else f"{looked.truth}, right"


def errors_sheet(content: InspectContent) -> Image.Image:
    """A row for each confusion: its surest examples with their probabilities."""
    rows: dict[tuple[str, str], list[Error]] = {}
    for error in content.errors:
        rows.setdefault((error.truth, error.predicted), []).append(error)
    most = max(map(len, rows.values()))
    drawn = [
        Row(f"{truth}, taken for {predicted}", f"{some[0].alike} in all", [Cell(e.image, _told(e)) for e in some])
        for (truth, predicted), some in rows.items()
    ]
    return draw_sheet("Surest errors of each confusion", [content.errors_of], [""] * most, drawn, SIDE)


def _told(error: Error) -> str:
    probs = ", ".join(f"{label} {percent(prob)}".replace(" ", "\u00a0") for label, prob in error.answers[:3])
    return f"{probs} - {error.name}"


def views(folder: Path, looked: Sequence[Looked]) -> None:
    """Every view of every image as a file of its own, named by the image and what is seen."""
    make_folder(folder)
    texts = [file_name(one.name, view.title) for one in looked for view in one.views[1:]]
    pictures = [view.image for one in looked for view in one.views[1:]]
    for name, image in zip(unique_names(texts), pictures, strict=True):
        _save(as_picture(image), folder / name)


def file_name(name: str, title: str) -> str:
    """'glass109.jpg.true-label-glass.png' of an image and what is seen of it, without the probability."""
    seen = title.split(" (")[0].split(",")[0].replace(": ", "-").replace(" ", "-")
    return f"{safe_name(Path(name).name)[:80]}.{seen}.png"


def as_picture(image: np.ndarray) -> Image.Image:
    """uint8[H, W, 1 | 3] as a PIL image."""
    from PIL import Image

    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def _save(picture: Any, path: Path) -> None:
    write_atomic(path, lambda file: picture.save(file, "PNG"))
