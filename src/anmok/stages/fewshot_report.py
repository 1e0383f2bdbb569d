"""What few-shot episodes leave: the page, the figure, and one episode as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anmok.core.errors import ImageError
from anmok.data.table import Table
from anmok.nshot.episodes import Episodes, answers
from anmok.report.fewshot_figures import shots_figure
from anmok.report.fewshot_page import FewShotContent, write_fewshot_report
from anmok.report.figures import save_png
from anmok.report.sheet import Cell, Row, draw_sheet
from anmok.report.words import count, percent
from anmok.stages.fewshot_result import names_of
from anmok.stages.fewshot_settings import FewShotTree

SIDE = 84  # pixels of a picture
KNOWN, ASKED = 5, 4  # images of a class that are shown, at most
LARGEST = 256  # pixels of the long side that is kept of an image


def draw(
    folder: Path, data: Mapping[str, Any], table: Table, episodes: Episodes, vectors: np.ndarray, tree: FewShotTree
) -> None:  # fmt: skip
    """Write accuracy.png, episode.png and report.html.  vectors: prepared, of the table's rows."""
    chance = 1 / data["ways"]
    size = f"{data['image_size']} pixels" if data["image_size"] else "as the model's own processor makes it"
    save_png(shots_figure(data["rows"], names_of(data), chance), folder / "accuracy.png")
    shots = max(tree.shots)
    sheet = episode_sheet(table, episodes.part(slice(0, 1)), vectors, shots, tree)
    sheet.save(folder / "episode.png")
    content = FewShotContent(
        title=f"{data['ways']}-way few-shot: {data['model']}",
        subtitle=f"{count(len(data['classes']), 'class', 'classes')}, {count(data['episodes'], 'episode')}",
        rows=data["rows"], names=names_of(data), shots=data["shots"], chance=chance, headline=headline(data),
        episode=np.asarray(sheet), notes=data["notes"],
        episode_of=f"The first episode with {count(shots, 'shot')}: what was learned from, what was asked, and what "
        "the prototypes answered.",
        settings={
            "ways": str(data["ways"]), "shots": ", ".join(map(str, data["shots"])), "episodes": f"{data['episodes']:,}",
            "questions a class": str(data["queries"]), "metric": data["metric"], "alpha": f"{data['alpha']:g}",
            "beta": f"{data['beta']:g}", "seed": str(data["seed"]),
        },
        facts={
            "network": data["model"], "weights": data["weights"], "image": size,
            "classes": ", ".join(f"{name} {n:,}" for name, n in data["classes"].items()),
            "centred by": ", ".join(f"{name} {n:,}" for name, n in data["base_classes"].items()) or "nothing",
            "table fingerprint": data["fingerprint"],
            "versions": ", ".join(f"{k} {v}" for k, v in data["versions"].items()),
        },
    )  # fmt: skip
    write_fewshot_report(folder / "report.html", content)


def headline(data: Mapping[str, Any]) -> list[str]:
    """The best method of each number of shots beside the raw pixels, and what guessing would give."""
    out = []
    for shots in data["shots"]:
        rows = [row for row in data["rows"] if row["shots"] == shots]
        best = max((row for row in rows if "gain" in row), key=lambda row: row["accuracy"]["value"])
        below = next(row for row in rows if "gain" not in row)["accuracy"]["value"]
        a = best["accuracy"]
        within = f" ({percent(a['low'])} to {percent(a['high'])})" if "low" in a else ""
        out.append(
            f"From {count(shots, 'image')} of each of {data['ways']} classes, {percent(a['value'])}{within} of the "
            f"questions are answered right, by the method '{names_of(data)[best['method']]}'; by the nearest neighbour "
            f"of raw pixels {percent(below)}."
        )
    return [*out, f"Guessing would be right on {percent(1 / data['ways'])}."]


def episode_sheet(table: Table, one: Episodes, vectors: np.ndarray, shots: int, tree: FewShotTree) -> Any:
    """An episode as a picture: a row a class, what was learned from, then what was asked with the answer to it."""
    given = answers(vectors, one, shots, "prototype", metric=tree.metric)[0]
    names = [table.classes[k] for k in one.classes[0]]
    known, asked = min(shots, KNOWN), min(one.query.shape[2], ASKED)
    rows = []
    for w, name in enumerate(names):
        cells = [Cell(_picture(table, row, tree)) for row in one.support[0, w, :known]]
        for row, answer in zip(one.query[0, w, :asked], given[w, :asked], strict=True):
            caption = "right" if answer == w else f"taken for {names[answer]}"
            cells.append(Cell(_picture(table, row, tree), caption))
        right = int((given[w] == w).sum())
        rows.append(Row(name, f"{right} of {given.shape[1]} questions right", cells))
    columns = ["learned from", *[""] * (known - 1), "asked", *[""] * (asked - 1)]
    total = float((given == np.arange(len(names))[:, None]).mean())
    title = f"{len(names)}-way {shots}-shot, one episode: {percent(total)} right".replace("\u00a0", " ")
    return draw_sheet(title, [], columns, rows, side=SIDE)


def _picture(table: Table, row: int, tree: FewShotTree) -> np.ndarray:
    """uint8[H, W, 3] of a row's image, small; grey where it cannot be read any more."""
    from anmok.data.decode import decode

    try:
        image = decode(table.storage.read(table.rows["image"][int(row)]), allow_truncated=tree.data.allow_truncated)
    except ImageError:
        return np.full((SIDE, SIDE, 3), 200, np.uint8)
    step = max(1, max(image.shape[:2]) // LARGEST)
    return np.ascontiguousarray(image[::step, ::step])
