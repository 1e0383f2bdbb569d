"""A dual encoder of one's own on drawn scenes: does it know combinations that it has never seen?

8 colours × 6 shapes × 5 places are 240 scenes; a fifth of these combinations is held out whole, image and caption. The
others are drawn EACH times with captions in five wordings and a small network and a small text tower are trained on
them by `anmok train --objective image-text`. Then:

- zero-shot accuracy on fresh images of the held-out combinations, the captions of all 240 being the classes (chance
  1/240), and among the held-out ones alone (chance 1/48); the same of combinations that were trained on.
- recall@1 both ways on the held-out combinations: the caption of an image among their 48 distinct captions, an image
  of a caption among all their images.

Intervals are Wilson's, 95 %; images of one combination are alike, so they are too narrow.

    .venv/bin/python benchmarks/dual_encoder.py            # a few minutes on one core
    .venv/bin/python benchmarks/dual_encoder.py --quick    # a smaller set, nothing judged
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import Figure, arguments, context, fingerprint, finish, fresh, met, rounded, write
from drawn_scenes import Scene, combinations, draw, held_out, write_pairs

SIDE, EACH, SHARE, FRESH = 40, 40, 0.2, 20  # pixels; images of a combination, and new ones to ask about
SETTINGS: dict[str, Any] = {
    "model": "place_net:PlaceNet", "image_size": SIDE, "epochs": 16, "batch_size": 128, "plan": "none",
    "threads": 1,  # what is computed is small
    "text": {"width": 64, "depth": 2, "length": 20}, "optim": {"lr": 0.002},
    "augment": {"policy": "none"},  # a crop moves the places that captions name
}  # fmt: skip
BOUND = ">= 0.9"


class Found(NamedTuple):
    """Counts over fresh images of some combinations: right among all captions, among theirs, and captions right."""

    images: int
    all_captions: int
    own_captions: int
    captions: int
    found_captions: int


def asked(model: Any, scenes: Sequence[Scene], every: Sequence[Scene], each: int, seed: int) -> Found:
    """Ask a dual encoder about `each` fresh images of the scenes. every: whose captions are the classes."""
    from anmok.stages.image_text_recall import recall

    rng = np.random.default_rng(seed)
    images = np.stack([draw(scene, SIDE, rng) for scene in scenes for _ in range(each)])
    truth = np.repeat([every.index(scene) for scene in scenes], each)
    own = np.array([every.index(scene) for scene in scenes])
    vectors, texts = model.encode_images(images), model.encode_texts([scene.caption() for scene in every])
    right = ((vectors @ texts.T).argmax(1) == truth).sum()
    both = recall(vectors, texts[own], np.argwhere(truth[:, None] == own)).both
    return Found(
        len(images), int(right), round(both["image_to_text"]["1"]["value"] * len(images)), len(scenes),
        round(both["text_to_image"]["1"]["value"] * len(scenes)),
    )  # fmt: skip


def trained(folder: Path, scenes: Sequence[Scene], each: int, seed: int, **settings: Any) -> tuple[Any, float]:
    """(the run, seconds) of a dual encoder trained on `each` images of every scene."""
    import anmok

    pairs = write_pairs(folder / "pairs", scenes, each, SIDE, seed, shares=(0.95, 0.05))
    began = time.perf_counter()
    run = anmok.train(pairs, objective="image-text", seed=seed, out=folder / "run", **{**SETTINGS, **settings})
    return run, time.perf_counter() - began


def share(subject: str, quantity: str, right: int, n: int, chance: str, bound: str = "", seeds: int = 0) -> Figure:
    """A share with Wilson's interval."""
    from anmok.evaluate.intervals import wilson

    value, (low, high) = right / n, wilson(right, n)
    return Figure(
        subject, quantity, "share", rounded(value), rounded(low), rounded(high), 1, f"{right}/{n}", bound=bound,
        met=met(bound, value), seeds=str(seeds), note=f"chance {chance}",
    )  # fmt: skip


def main() -> None:
    """Train with either loss, ask, write results/dual_encoder.csv."""
    options = arguments(__doc__, seed={"type": int, "default": 0}, loss={"default": "info-nce,sigmoid"})
    every = combinations(3, 3, 3) if options.quick else combinations()
    apart = held_out(every, SHARE, options.seed)
    seen = [scene for scene in every if scene not in apart]
    each, settings = (8, {"epochs": 2}) if options.quick else (EACH, {})
    figures: list[Figure] = []
    marks = ""
    for loss in options.loss.split(","):
        folder = fresh(f"dual-encoder-{loss}")
        run, seconds = trained(folder, seen, each, options.seed, pairs={"loss": loss}, **settings)
        marks = fingerprint(folder / "pairs")
        model, bound = run.model, "" if loss != "info-nce" else BOUND
        for name, scenes, limit in (("held out", apart, bound), ("seen", seen, "")):
            found = asked(model, scenes, every, FRESH if name == "held out" else 4, options.seed + 1)
            rows = (
                ("zero-shot accuracy", found.all_captions, found.images, f"1/{len(every)}", limit),
                ("recall@1, caption of an image", found.own_captions, found.images, f"1/{len(scenes)}", ""),
                ("recall@1, image of a caption", found.found_captions, found.captions, f"1/{len(scenes)}", ""),
            )
            figures += [share(f"{loss}, {name}", what, r, n, c, b, options.seed) for what, r, n, c, b in rows]
        figures.append(Figure(loss, "training", "s", rounded(seconds), seeds=str(options.seed)))
    about = f"drawn scenes: {len(seen)} combinations x {each} at {SIDE} px, {len(apart)} held out, {marks}"
    finish(write("dual_encoder", figures, context(about), options.quick), options.quick)


if __name__ == "__main__":
    main()
