"""A dual encoder trained on drawn scenes knows combinations whose images and captions it has never seen."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from drawn_scenes import COLOURS, Scene, combinations, draw, held_out, write_pairs


def test_what_is_held_out_leaves_every_word() -> None:
    every = combinations()
    apart = held_out(every, 0.2, 0)
    assert (len(every), len(apart)) == (240, 48)
    left = [scene for scene in every if scene not in apart]
    for part in Scene._fields:
        assert {getattr(s, part) for s in left} == {getattr(s, part) for s in every}
    assert held_out(every, 0.2, 0) == apart


def test_a_drawn_scene_shows_its_colour_in_its_place() -> None:
    rng = np.random.default_rng(0)
    for scene in combinations(3, 2, 5):
        image = draw(scene, 64, rng).astype(float)
        distance = np.abs(image - COLOURS[scene.colour]).sum(2)
        rows, columns = np.nonzero(distance < 120)
        vertical = "top" if rows.mean() < 26 else "bottom" if rows.mean() > 38 else "centre"
        assert vertical in scene.place
        horizontal = "left" if columns.mean() < 26 else "right" if columns.mean() > 38 else "centre"
        assert horizontal in scene.place


@pytest.mark.slow
def test_unseen_combinations_are_named(tmp_path: Path) -> None:
    import anmok

    every = combinations(4, 3, 3)  # in 36 captions, chance is below 3 %
    apart = held_out(every, 0.2, 0)
    seen = [scene for scene in every if scene not in apart]
    pairs = write_pairs(tmp_path / "pairs", seen, 30, 32, 0, shares=(0.95, 0.05))
    assert not any(scene.caption() in pairs.read_text(encoding="utf-8") for scene in apart)
    run = anmok.train(
        pairs, objective="image-text", model="place_net:PlaceNet", image_size=32, epochs=12, batch_size=64, plan="none",
        augment="none", threads=1, text={"width": 32, "depth": 1, "heads": 2, "length": 20}, optim={"lr": 0.002},
        out=tmp_path / "run",
    )  # fmt: skip
    rng = np.random.default_rng(1)
    images = np.stack([draw(scene, 32, rng) for scene in apart for _ in range(20)])
    truth = np.repeat([every.index(scene) for scene in apart], 20)
    model = run.model
    alike = model.encode_images(images) @ model.encode_texts([scene.caption() for scene in every]).T
    assert (alike.argmax(1) == truth).mean() > 0.4
    own = [every.index(scene) for scene in apart]
    assert (np.array(own)[alike[:, own].argmax(1)] == truth).mean() > 0.8  # among the 7 held out; chance 14 %
