"""Drawn scenes for a dual encoder: a coloured shape in a place, with a caption; whole combinations can be held out.

Position, size, turn, ground and light differ from image to image, so that no two pictures of a combination are alike.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

COLOURS = {
    "red": (214, 40, 40), "green": (46, 150, 60), "blue": (40, 80, 210), "yellow": (240, 210, 40),
    "purple": (130, 50, 160), "orange": (240, 130, 30), "pink": (245, 140, 185), "black": (25, 25, 25),
}  # fmt: skip
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
PLACES = {
    "in the centre": (0.5, 0.5), "at the top left": (0.27, 0.27), "at the top right": (0.73, 0.27),
    "at the bottom left": (0.27, 0.73), "at the bottom right": (0.73, 0.73),
}  # fmt: skip
TEMPLATES = (
    "a {colour} {shape} {place}", "{place} there is a {colour} {shape}", "a picture of a {colour} {shape} {place}",
    "a {shape} {place}, it is {colour}", "one {shape}, {colour}, {place}",
)  # fmt: skip
FINE = 4  # times the side at which a shape is drawn, so that its edges are smooth


class Scene(NamedTuple):
    """A combination, and its words."""

    colour: str
    shape: str
    place: str

    def caption(self, template: str = TEMPLATES[0]) -> str:
        """The caption by a template."""
        return template.format(**self._asdict())


def combinations(colours: int = 8, shapes: int = 6, places: int = 5) -> list[Scene]:
    """All combinations of the first so many of each."""
    return [
        Scene(*parts) for parts in itertools.product([*COLOURS][:colours], SHAPES[:shapes], [*PLACES][:places])
    ]  # fmt: skip


def held_out(scenes: Sequence[Scene], share: float, seed: int) -> list[Scene]:
    """About a share of the combinations, drawn so that each word stays in as many of the others as it can.

    The same number of each (colour, shape) pair's places as far as the share allows: every place of a pair is drawn in
    turn, so that no word disappears from what is trained on.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(scenes))
    left = [np.array([getattr(s, part) for s in scenes]) for part in Scene._fields]
    taken: list[int] = []
    for i in order:
        if len(taken) >= round(share * len(scenes)):
            break
        rest = np.setdiff1d(np.arange(len(scenes)), [*taken, i])
        if all((words[rest] == words[i]).sum() >= 0.5 * (words == words[i]).sum() for words in left):
            taken.append(int(i))
    return [scenes[i] for i in sorted(taken)]


def draw(scene: Scene, side: int, rng: np.random.Generator) -> np.ndarray:
    """uint8[side, side, 3]: the shape near its place, in a size, turn and shade of its own, on a noisy ground."""
    import cv2

    ground = np.full((side, side, 3), rng.uniform(150, 255, 3))
    ground += rng.normal(0, 12, (4, 4, 3)).repeat(-(-side // 4), 0).repeat(-(-side // 4), 1)[:side, :side]
    colour = np.clip(np.array(COLOURS[scene.colour]) + rng.normal(0, 10, 3), 0, 255)
    at = (np.array(PLACES[scene.place]) + rng.uniform(-0.05, 0.05, 2)) * side * FINE
    radius, turn = rng.uniform(0.15, 0.22) * side * FINE, rng.uniform(-0.3, 0.3)
    mask = np.zeros((side * FINE, side * FINE), np.uint8)
    _fill(mask, scene.shape, at, radius, turn)
    cover = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)[..., None] / 255.0
    picture = (ground * (1 - cover) + colour * cover) * rng.uniform(0.85, 1.1) + rng.normal(0, 6, (side, side, 3))
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _fill(mask: np.ndarray, shape: str, at: np.ndarray, radius: float, turn: float) -> None:
    """Draw the shape white into uint8[H, W]."""
    import cv2

    centre = (round(float(at[0])), round(float(at[1])))
    if shape in ("circle", "ring"):
        cv2.circle(mask, centre, round(radius), 255, -1 if shape == "circle" else max(1, round(radius * 0.45)))
        return
    if shape == "cross":
        for angle in (turn, turn + math.pi / 2):
            bar = np.array([(-1, -0.3), (1, -0.3), (1, 0.3), (-1, 0.3)]) * radius
            cv2.fillPoly(mask, [np.rint(_turned(bar, angle) + at).astype(np.int32)], 255)
        return
    corners = {"square": 4, "triangle": 3, "star": 10}[shape]
    angles = turn - math.pi / 2 + 2 * math.pi * np.arange(corners) / corners + (math.pi / 4 if shape == "square" else 0)
    far = np.where(np.arange(corners) % 2, 0.42, 1.15) if shape == "star" else np.ones(corners)
    points = np.stack([np.cos(angles), np.sin(angles)], 1) * far[:, None] * radius
    cv2.fillPoly(mask, [np.rint(points + at).astype(np.int32)], 255)


def _turned(points: np.ndarray, angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return points @ np.array([[c, s], [-s, c]])


def write_pairs(
    folder: Path, scenes: Sequence[Scene], each: int, side: int, seed: int, templates: Sequence[str] = TEMPLATES,
    shares: tuple[float, float] = (0.85, 0.15),
) -> Path:  # fmt: skip
    """Draw `each` images of every scene into a folder, with pairs.csv (image, caption, split) beside them.

    shares: of train and val. The templates take turns by chance. The path of pairs.csv comes back.
    """
    import cv2

    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as handle:
        table = csv.writer(handle)
        table.writerow(["image", "caption", "split"])
        for number, (scene, _) in enumerate(itertools.product(scenes, range(each))):
            name = f"{number:05d}.png"
            cv2.imwrite(str(folder / name), draw(scene, side, rng)[..., ::-1])
            split = "train" if rng.random() < shares[0] else "val"
            table.writerow([name, scene.caption(templates[rng.integers(len(templates))]), split])
    return folder / "pairs.csv"
