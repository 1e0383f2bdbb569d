"""Pretrained or from scratch, on 10, 30 and 100 % of the target's images; and what fine differences gain by.

    .venv/bin/python benchmarks/fine_grained.py              # seeds 0, 1, 2; more than an hour each
    .venv/bin/python benchmarks/fine_grained.py --seeds 0 --epochs 20 --first-epochs 8   # 80 minutes of one core
    .venv/bin/python benchmarks/fine_grained.py --quick

A small network learns CIFAR-10 at 32 pixels. From it, and from scratch, TrashNet's six materials are learned (the
authors' split) from a tenth, three tenths and all of the training photos of each class, with the same settings and
epochs; validation and test stay whole. Then, on all photos and from the pretrained network, what fine differences
are said to want is changed by itself: bilinear pooling, a larger input, both; and each of these networks answers once
more with its attention crop beside the whole picture (`--tta attention`), which nothing is trained for.
Test accuracy, mean over seeds (which draw photos, initial weights and order) with Student's t interval; of one seed
Wilson's over the test images. Stored cell by cell: a second call goes on.
"""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    ROOT,
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

RECIPE = ROOT / "recipes" / "fine-grained.toml"
SHARES = (0.1, 0.3, 1.0)
SMALL, LARGE = 64, 128  # pixels
EPOCHS, FIRST_EPOCHS = 30, 12
CROPS = ", attention crop"  # behind the name of a cell whose network answers so
PLAIN: dict[str, Any] = {"image_size": SMALL, "model.pool": "auto"}
EFFECTS: dict[str, dict[str, Any]] = {
    "bilinear": {"image_size": SMALL, "model.pool": "bilinear"},
    "larger input": {"image_size": LARGE, "model.pool": "auto"},
    "bilinear, larger input": {"image_size": LARGE, "model.pool": "bilinear"},
}


def first_network(epochs: int, quick: bool) -> Path:
    """The run that learned CIFAR-10; kept, as nothing of it depends on the seeds."""
    import anmok

    name = f"fine-grained-first-{epochs}{'-quick' if quick else ''}"
    out = SCRATCH / name
    if not (out / "model").is_dir():
        table = anmok.open(data_root() / "cifar10")
        if quick:
            table = table.take(np.arange(0, len(table), 100))
        anmok.train(
            table, out=fresh(name), config=RECIPE, image_size=32, epochs=epochs, batch_size=128,
            **{"model.pool": "auto", "preprocess.fit": "squash"},
        )  # fmt: skip
    return out


def part(table: Any, share: float, seed: int) -> Any:
    """The table with a share of each class's training photos, at least two."""
    import polars as pl

    rows = table.rows.with_row_index("row")
    rng = np.random.default_rng([seed, 7])
    keep = rows.filter((pl.col("split") != "train") | pl.col("split").is_null())["row"].to_list()
    for label in table.classes:
        own = rows.filter((pl.col("label") == label) & (pl.col("split") == "train"))["row"].to_numpy()
        keep += rng.choice(own, max(2, round(share * len(own))), replace=False).tolist()
    return table.take(sorted(keep))


def one(
    table: Any, seed: int, epochs: int, weights: Path | None, settings: dict[str, Any], crops: bool
) -> dict[str, float]:  # fmt: skip
    """{'': test accuracy of a cell}, and under CROPS that with attention crops."""
    import anmok

    run = anmok.train(
        table, out=fresh("fine-grained-cell"), config=RECIPE, seed=seed, epochs=epochs,
        weights="none" if weights is None else str(weights), **settings,
    )  # fmt: skip
    found = {"": anmok.evaluate(run).value("accuracy")}
    if crops:
        found[CROPS] = anmok.evaluate(run, tta="attention").value("accuracy")
    return {name: value for name, value in found.items() if value is not None}


def with_crops(name: str, quick: bool) -> bool:
    """Whether the cell's network answers with attention crops too: those that learned most of what there is."""
    return name.startswith(f"pretrained, {SHARES[0] if quick else 1.0:.0%}")


def cells(quick: bool) -> dict[str, tuple[bool, float, dict[str, Any]]]:
    """Name to (pretrained?, share of the photos, settings)."""
    out: dict[str, tuple[bool, float, dict[str, Any]]] = {}
    for share in SHARES[:1] if quick else SHARES:
        for pretrained in (True, False):
            out[f"{'pretrained' if pretrained else 'scratch'}, {share:.0%}"] = (pretrained, share, PLAIN)
    share = SHARES[0] if quick else 1.0
    for name, settings in list(EFFECTS.items())[: 1 if quick else None]:
        out[f"pretrained, {share:.0%}, {name}"] = (True, share, settings)
    return out


def interval(numbers: list[float], n: int) -> tuple[float | None, float | None]:
    """Student's over seeds; of one seed Wilson's of an accuracy on n images, of a difference (n = 0) none."""
    from anmok.evaluate.intervals import wilson

    if len(numbers) == 1 and not n:
        return None, None
    low, high = t_interval(numbers) if len(numbers) > 1 else wilson(numbers[0] * n, n)
    return rounded(low), rounded(high)


def summary(found: dict[str, list[float]], seeds: list[int], note: str, n: int) -> list[Figure]:
    """Means with their intervals; of pretraining the gain over scratch, of each change that over without."""
    out = []
    for name, values in found.items():
        base, _, effect = name.partition(", ")
        share = effect.partition(", ")[0]
        against = f"scratch, {share}" if name == f"pretrained, {share}" else f"pretrained, {share}"
        if name.endswith(CROPS):
            against = name.removesuffix(CROPS)
        rows = {"test accuracy": values}
        if base == "pretrained":
            rows[f"gain over {against}"] = [a - b for a, b in zip(values, found[against], strict=True)]
        for quantity, numbers in rows.items():
            row = figure(name, quantity, "share", numbers, seeds=seeds, note=note)
            mean = statistics.mean(numbers)
            low, high = interval(numbers, n if quantity == "test accuracy" else 0)
            out.append(Figure(**{**vars(row), "value": rounded(mean), "low": low, "high": high}))
    return out


def main() -> None:
    """Every cell with every seed."""
    os.environ.setdefault("ANMOK_QUIET", "1")
    import anmok

    options = arguments(
        __doc__, seeds={"type": int, "nargs": "+", "default": [0, 1, 2]}, epochs={"type": int, "default": EPOCHS},
        first_epochs={"type": int, "default": FIRST_EPOCHS, "help": "Of the network that learns CIFAR-10."},
    )  # fmt: skip
    if options.quick:
        options.seeds, options.epochs, options.first_epochs = options.seeds[:1], 1, 1
    seeds, epochs = options.seeds, options.epochs
    source = data_root() / "trashnet"
    where = context(f"trashnet {fingerprint(source)}; cifar10")
    first = first_network(options.first_epochs, options.quick)
    table = anmok.open(source / "split.csv")
    file = SCRATCH / f"fine-grained-cells{'-quick' if options.quick else ''}.json"
    key = f"{RECIPE.read_text()} {where['data']} {where['versions']} {epochs} {options.first_epochs}"
    stored = json.loads(file.read_text()) if file.is_file() else {}
    known = stored.get(key, {})
    found: dict[str, list[float]] = {}
    for seed in seeds:
        for name, (pretrained, share, settings) in cells(options.quick).items():
            crops = with_crops(name, options.quick)
            names = [name, f"{name}{CROPS}"] if crops else [name]
            if any(f"{one_name} {seed}" not in known for one_name in names):
                weights = first if pretrained else None
                scores = one(part(table, share, seed), seed, epochs, weights, settings, crops)
                known |= {f"{name}{how} {seed}": score for how, score in scores.items()}
                file.write_text(json.dumps({**stored, key: known}))
            for one_name in names:
                found.setdefault(one_name, []).append(known[f"{one_name} {seed}"])
                print(f"{one_name}, seed {seed}: {found[one_name][-1]:.4f}", flush=True)
    note = f"{epochs} epochs; pretrained: the same network, {options.first_epochs} epochs of CIFAR-10 at 32 px"
    n = len(table.where(split="test"))
    finish(write("fine_grained", summary(found, seeds, note, n), where, options.quick), options.quick)


if __name__ == "__main__":
    main()
