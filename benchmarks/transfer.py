"""Transfer for real: five classes of CIFAR-10 learned, the other five from 50 images each.  About 10 minutes.

    .venv/bin/python benchmarks/transfer.py [--model resnet10t] [--image-size 32]

A network learns airplane, automobile, bird, cat and deer from all their training images. From it the head alone, the
head and the last stage, and everything (by half the rate a stage) are learned on dog, frog, horse, ship and truck from
50 images a class, 8 of which choose the epoch; from scratch the same images, policy and steps. Accuracy on their 5,000
test images, mean over seeds (images and initial weights are drawn anew) with Student's t interval.
"""

from __future__ import annotations

import os
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    SCRATCH,
    Figure,
    arguments,
    context,
    data_root,
    figure,
    fingerprint,
    finish,
    fresh,
    rounded,
    write,
)
from trashnet import t_interval

FIRST = ("airplane", "automobile", "bird", "cat", "deer")
SECOND = ("dog", "frog", "horse", "ship", "truck")
IMAGES = 50  # of a class
WAYS: dict[str, dict[str, Any]] = {
    "scratch": {},
    "head": {"adapt": "head"},
    "last:1": {"adapt": "last:1"},
    "full": {"adapt": "full", "optim.layer_decay": 0.5},
}


def pretrained(table: Any, settings: dict[str, Any], name: str, length: dict[str, Any]) -> Path:
    """The run that learned the first five classes; kept, as nothing of it depends on the seeds."""
    import anmok

    out = SCRATCH / name
    if not (out / "model").is_dir():
        anmok.train(table, out=fresh(name), **settings, **length)
    return out


def few(table: Any, seed: int, images: int, test: int) -> Any:
    """`images` training images a class, drawn by the seed, and up to `test` of the test images."""
    import polars as pl

    rows = table.rows.with_row_index("row")
    rng = np.random.default_rng([seed, 5])
    keep: list[int] = []
    for label in table.classes:
        own = rows.filter((pl.col("label") == label) & (pl.col("split") == "train"))["row"].to_numpy()
        keep += rng.choice(own, images, replace=False).tolist()
        keep += rows.filter((pl.col("label") == label) & (pl.col("split") == "test"))["row"][: test // 5].to_list()
    return table.take(sorted(keep))


def one(table: Any, way: str, source: Path, settings: dict[str, Any], epochs: int, seed: int) -> float:
    """Test accuracy of one way."""
    import anmok

    start = {"weights": "none" if way == "scratch" else str(source), "image_size": settings["image_size"]}
    run = anmok.train(
        table, out=fresh(f"transfer-{way.replace(':', '')}-{seed}"), epochs=epochs, seed=seed, batch_size=32,
        **{**settings, **start, **WAYS[way]},
    )  # fmt: skip
    value = anmok.evaluate(run).value("accuracy")
    assert value is not None
    return value


def main() -> None:
    """Learn the first classes once, then every way with every seed."""
    os.environ.setdefault("ANMOK_QUIET", "1")
    import anmok

    options = arguments(
        __doc__, seeds={"type": int, "nargs": "+", "default": [0, 1, 2]},
        model={"default": "resnet10t", "help": "Any name that anmok builds."},
        image_size={"type": int, "default": 32}, epochs={"type": int, "default": 40},
        minutes={"type": float, "default": 4.0, "help": "Of learning the first five classes."},
    )  # fmt: skip
    folder = data_root() / "cifar10"
    settings = {"model": options.model, "image_size": options.image_size, "augment": "flip-crop"}
    seeds, epochs, test = options.seeds, options.epochs, 5000
    length: dict[str, Any] = {"minutes": options.minutes, "batch_size": 128}
    name = f"transfer-first-{options.model.replace('/', '-')}-{options.image_size}"
    if options.quick:
        seeds, epochs, test, length, name = seeds[:1], 2, 250, {"epochs": 1, "batch_size": 128}, f"{name}-quick"
    first = anmok.open(folder, labels={"drop": list(SECOND)})
    if options.quick:
        first = few(first, 0, 200, 250)
    source = pretrained(first, settings, name, length)
    second = anmok.open(folder, labels={"drop": list(FIRST)})
    scores: dict[str, list[float]] = {way: [] for way in WAYS}
    for seed in seeds:
        table = few(second, seed, IMAGES, test)
        for way in WAYS:
            scores[way].append(one(table, way, source, settings, epochs, seed))
            print(f"{way}, seed {seed}: {scores[way][-1]:.4f}", flush=True)
    where = context(f"cifar10 {fingerprint(folder)}")
    note = f"{options.model} at {options.image_size} px, {epochs} epochs; {source.name}"
    finish(write("transfer", summary(scores, seeds, note), where, options.quick), options.quick)


def summary(scores: dict[str, list[float]], seeds: list[int], note: str) -> list[Figure]:
    """Means with their intervals over seeds, and what is gained over training from scratch with the same images."""
    out = []
    for way, values in scores.items():
        gains = [a - b for a, b in zip(values, scores["scratch"], strict=True)]
        for quantity, numbers in (("test accuracy", values), ("gain over scratch", gains)):
            if way == "scratch" and quantity != "test accuracy":
                continue
            row = figure(way, quantity, "share", numbers, seeds=seeds, note=note)
            low, high = t_interval(numbers) if len(numbers) > 1 else (numbers[0], numbers[0])
            mean = statistics.mean(numbers)
            out.append(Figure(**{**vars(row), "value": rounded(mean), "low": rounded(low), "high": rounded(high)}))
    return out


if __name__ == "__main__":
    main()
