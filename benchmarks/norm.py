"""The largest stable learning rate and the accuracy of a small network with and without normalisation, on CIFAR-10.

recipes/norm.toml on 5,000 training images, as many of each class: the rate doubles until the loss diverges (it is no
number, or no better than chance at the end where a lower rate learned); the rate that is best on validation is then
trained with other seeds and judged on the 10,000 test images.  About six minutes on two cores.

.venv/bin/python benchmarks/norm.py
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from common import ROOT, arguments, context, data_root, figure, fingerprint, finish, fresh, write

IMAGES = 5_000
RECIPE = ROOT / "recipes" / "norm.toml"
FIRST, MOST = 0.0125, 12  # the lowest rate, and how often it is doubled at most
CHANCE = 0.005  # below the loss of a guess, from which a network has learned something


class Tried(NamedTuple):
    """A run at one rate: whether its loss stayed a number and got better than chance, its best accuracy, its folder."""

    finite: bool
    stable: bool
    accuracy: float
    out: Path


def drawn(images: int) -> Any:
    """A table of `images` training images, as many of each class, and all test images (as many, of a quick run)."""
    import numpy as np

    import anmok

    table = anmok.open(data_root() / "cifar10")
    split, targets = table.rows["split"].to_numpy(), table.targets()
    rng = np.random.default_rng(0)
    train = [
        rng.permutation(np.flatnonzero((split == "train") & (targets == k)))[: images // len(table.classes)]
        for k in range(len(table.classes))
    ]
    test = np.flatnonzero(split == "test")[: None if images == IMAGES else images]
    return table.take(np.sort(np.concatenate([*train, test])))


def train(table: Any, norm: str, rate: float, seed: int, epochs: int | None) -> Tried:
    """One run of the recipe."""
    import json

    import anmok
    from anmok.core.errors import DataError

    out = fresh(f"norm-{norm}-{rate:g}-{seed}")
    settings: dict[str, Any] = {"model": {"norm": norm}, "optim": {"lr": rate}, "seed": seed}
    if epochs:  # a quick run: few images, so smaller batches for some steps
        settings |= {"epochs": epochs, "batch_size": 32}
    try:
        anmok.train(table, config=RECIPE, out=out, **settings)
    except DataError as error:
        if error.code != "nan-loss":
            raise
        return Tried(False, False, 0.0, out)
    lines = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    ran = [e for e in lines if e["event"] == "epoch"]
    learned = ran[-1]["loss"] < math.log(len(table.classes)) - CHANCE
    return Tried(True, learned, max(e["val"]["accuracy"] for e in ran), out)


def main() -> None:
    """Sweep the rate for each norm, then train its best one with every seed."""
    options = arguments(
        __doc__, repeats={"type": int, "default": 3}, norms={"default": "none,batch"}, images={"type": int,
        "default": IMAGES},
    )  # fmt: skip
    images, repeats, epochs = (500, 1, 3) if options.quick else (options.images, options.repeats, None)
    most = 1 if options.quick else MOST
    import anmok

    table, figures = drawn(images), []
    for norm in options.norms.split(","):
        tried: dict[float, Tried] = {}
        for k in range(most + 1):
            rate = FIRST * 2**k
            tried[rate] = train(table, norm, rate, 0, epochs)
            said = f"validation accuracy {tried[rate].accuracy:.3f}" if tried[rate].stable else "has not learned"
            print(f"norm {norm} at {rate:g}: {said}", flush=True)
            if not tried[rate].finite or (not tried[rate].stable and any(t.stable for t in tried.values())):
                break
        stable = [rate for rate, found in tried.items() if found.stable]
        name, note = f"norm {norm}", f"speednet_small, {images:,} images; rates doubled from {FIRST:g}"
        if not stable:
            figures.append(figure(name, "largest stable rate", "", [0.0], note=f"{note}; none is"))
            continue
        top = f"; none up to {max(tried):g} diverges" if tried[max(tried)].stable else f"; {max(tried):g} diverges"
        figures.append(figure(name, "largest stable rate", "", [max(stable)], note=note + top))
        best = max(stable, key=lambda rate: tried[rate].accuracy)
        runs = [tried[best], *(train(table, norm, best, seed, epochs) for seed in range(1, repeats))]
        scores = [100 * (anmok.evaluate(run.out).value("accuracy") or 0.0) for run in runs if run.stable]
        figures += [
            figure(name, "rate of the best validation accuracy", "", [best], note=note),
            figure(name, "test accuracy at that rate", "%", scores, seeds=list(range(repeats)), note=note),
        ]
        for found in tried.values():
            shutil.rmtree(found.out, ignore_errors=True)
    data = f"cifar10 {fingerprint(data_root() / 'cifar10')}"
    finish(write("norm", figures, context(data), options.quick), options.quick)


if __name__ == "__main__":
    main()
