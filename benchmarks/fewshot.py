"""CIFAR-10, five classes that a network has not learned: 5-way 1-shot and 5-shot beside raw pixels.

    .venv/bin/python benchmarks/fewshot.py                    # learned with labels on the five others: a few minutes
    .venv/bin/python benchmarks/fewshot.py --run runs/bench/pretrain-contrastive-XXXXXXXX
    .venv/bin/python benchmarks/fewshot.py --contrastive      # pretrained on the five others: up to an hour more

Every second class is held out (--held names others; with bird, cat, deer, frog and horse the network knows one animal,
which is harder). A small network learns from the 22,500 training images of the other five with labels (2,500 more
choose the epoch), and with --contrastive another from the same images without labels, by the recipe: neither has seen a
held-out class, with or without a label. With --run the encoder of a pretraining as benchmarks/pretrain.py makes stands
beside them; that one has seen the training images of all ten classes, held-out ones included, without labels. Episodes
are drawn from the 10,000 test images, which none has seen: 600 of them, 15 questions a class, the same for every
network and method. The mean of the test images of the other five classes centres the vectors. Intervals are 95 %, over
episodes; the gain is paired, prototypes less the nearest neighbour of raw pixels, and the bound holds for every network
that has learned, on the default classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, SCRATCH, Figure, arguments, context, data_root, fingerprint, finish, fresh, met, rounded, write

NET = "small_net:net"
SETTINGS: dict[str, Any] = {
    "model": NET, "image_size": 32, "batch_size": 128, "augment": "flip-crop",
    "optim": {"name": "muon", "lr": 0.02, "aux_lr": 0.001},
    "schedule": {"name": "cosine", "warmup": "5%", "end": 0.001}, "loss": {"label_smoothing": 0.0},
    "runtime": {"dtype": "bf16", "channels_last": True},
}  # fmt: skip
EPOCHS, JUDGES = 16, 500  # judges: images of a class that choose the epoch
SHOTS, WAYS = (1, 5), 5
GAIN = ">= 15"  # points of prototypes over raw pixels from five images


def tables(quick: bool, names: str | None) -> tuple[Any, Any, list[str]]:
    """(training images of five classes as train and val, all test images, the five other classes)."""
    import polars as pl

    import anmok

    table = anmok.open(data_root() / "cifar10")
    held = names.split(",") if names else list(table.classes[1::2])
    split, targets = table.rows["split"].to_numpy(), table.targets()
    rows, splits = [], []
    for k in [k for k, name in enumerate(table.classes) if name not in held]:
        mine = np.random.default_rng(k).permutation(np.flatnonzero((split == "train") & (targets == k)))
        mine = mine[: 100 if quick else None]
        judges = 20 if quick else JUDGES
        rows.append(mine)
        splits += ["val"] * judges + ["train"] * (len(mine) - judges)
    some = table.take(np.concatenate(rows))
    some = some.with_rows(some.rows.with_columns(pl.Series("split", splits)), "five classes of ten")
    others = tuple(name for name in table.classes if name not in held)
    return some.with_classes(others), table.where("test"), held


def supervised(some: Any, options: Any) -> tuple[Path, float]:
    """(the run that has learned five classes, its accuracy on their validation images)."""
    import anmok

    name = f"fewshot-five-{key(some, options)}-{options.epochs}"
    out = SCRATCH / name
    if not (out / "report.html").is_file():
        anmok.train(some, out=fresh(name), epochs=options.epochs, split={"test": 0.0, "val": 0.0}, **SETTINGS)
    from anmok.stages.run import Run

    return out, Run(out).evaluation("val").value("accuracy") or 0.0


def contrastive(some: Any, options: Any) -> Path:
    """The run of a pretraining by the recipe, on the same images without their labels."""
    import polars as pl

    from anmok.stages.pretrain import pretrain

    out = SCRATCH / f"fewshot-contrastive-{key(some, options)}"
    if not (out / "report.html").is_file():
        blank = some.rows.with_columns(pl.lit(None, pl.String).alias("label"), pl.lit("train").alias("split"))
        few: dict[str, Any] = {"epochs": 1} if options.quick else {}
        recipe = ROOT / "recipes" / "pretrain-contrastive.toml"
        pretrain(some.with_rows(blank, "labels taken away"), out=fresh(out.name), config=recipe,
                 split={"val": 0.0, "test": 0.0}, **few)  # fmt: skip
    return out


def key(some: Any, options: Any) -> str:
    """A name for what a network has learned."""
    return f"{'-'.join(name[:2] for name in some.classes)}{'-quick' if options.quick else ''}"


def rows_of(subject: str, found: Any, note: str, judged: bool) -> list[Figure]:
    """The accuracies of a network's methods, and what its prototypes gain over raw pixels."""
    out = []
    for row in found.data["rows"]:
        if row["method"] == "pixels":
            continue
        a = row["accuracy"]
        out.append(figure(subject, f"{row['method']}, {row['shots']}-shot", "share", a, 1, note))
        if row["method"] == "prototype":
            bound = GAIN if row["shots"] == SHOTS[-1] and judged else ""
            what = f"prototypes over raw pixels, {row['shots']}-shot"
            out.append(figure(subject, what, "points", row["gain"], 100, note, bound))
    return out


def figure(
    subject: str, quantity: str, unit: str, metric: dict[str, float], times: float, note: str, bound: str = ""
) -> Figure:  # fmt: skip
    """A mean over episodes with its interval."""
    value, low, high = (rounded(times * metric[name]) for name in ("value", "low", "high"))
    return Figure(subject, quantity, unit, value, low, high, bound=bound, met=met(bound, value), seeds="0", note=note)


def main() -> None:
    """Train what is not there yet, then draw the episodes."""
    options = arguments(
        __doc__, epochs={"type": int, "default": EPOCHS},
        run={"type": Path, "help": "A pretraining run, as benchmarks/pretrain.py makes."},
        held={"help": "The five classes to hold out, with commas between."},
        contrastive={"action": "store_true", "help": "Also pretrain on the five other classes."},
    )  # fmt: skip
    if options.quick:
        options.epochs = 1
    from anmok.stages.fewshot import fewshot

    some, test, held = tables(options.quick, options.held)
    run, accuracy = supervised(some, options)
    episodes = 50 if options.quick else 600
    asked: dict[str, Any] = {
        "shots": SHOTS, "ways": WAYS, "episodes": episodes, "classes": held, "most": 100 if options.quick else 1000,
        "image_size": 32,
    }  # fmt: skip
    note = f"held out: {' '.join(held)}; {episodes} episodes over test images"
    clean = f"{note}; learned the five other classes (validation accuracy {accuracy:.3f}), saw no held-out image"
    networks = [
        ("random weights", {"model": NET}, note),
        ("five other classes, labels", {"model": run}, clean),
    ]
    if options.contrastive:
        blind = f"{note}; pretrained without labels on the five other classes, saw no held-out image"
        networks.append(("contrastive, five others", {"model": contrastive(some, options)}, blind))
    if options.run:
        what = "pretrained without labels on training images of all ten classes, held-out ones included"
        saw = f"{note}; {options.run.name}, {what}"
        networks.append(("contrastive, all ten classes", {"model": options.run}, saw))
    figures: list[Figure] = []
    for subject, network, said in networks:
        found = fewshot(test, **network, **asked)
        print(f"{subject}\n{found}", flush=True)
        if not figures:
            figures += [
                figure("raw pixels", f"nearest neighbour, {n}-shot", "share", found.accuracy("pixels", n), 1, note)
                for n in SHOTS
            ]
        figures += rows_of(subject, found, said, judged=said != note and not options.held)
    data = f"cifar10 {fingerprint(data_root() / 'cifar10')}"
    finish(write("fewshot", figures, context(data), options.quick), options.quick)


if __name__ == "__main__":
    main()
