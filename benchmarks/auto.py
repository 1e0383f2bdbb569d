"""`anmok auto` beside fastai and AutoGluon in the same minutes on the same cores, from scratch.

    benchmarks/setup-peers && benchmarks/setup-peers auto && .venv/bin/python benchmarks/auto.py    # about 95 minutes

TrashNet in its authors' split, and 2,000 of CIFAR-10's training images (1,600 to learn from, 400 for validation) with
its test images. Nobody has weights of others. Each has the minutes from the start of its process to its model; who
needs more is shown with what it took. fastai is the recipe of its documentation with the ResNet-18 that AutoGluon has,
too, for as many epochs as the minutes are measured to hold (peer_fastai_auto.py); AutoGluon is its MultiModalPredictor
with that time_limit and as many epochs (peer_autogluon.py). The test images are looked at behind the clock, by each
one's own predict, and scored here. Stored run by run: a second call goes on.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    ANMOK,
    PEER,
    ROOT,
    SCRATCH,
    Figure,
    Kept,
    arguments,
    context,
    data_root,
    figure,
    fingerprint,
    finish,
    fresh,
    peer_versions,
    read_json,
    run,
    write,
)
from transfer_speed import few_with_test, other

from anmok.evaluate.intervals import wilson

AUTOGLUON = ROOT / "benchmarks" / ".peers-auto" / "bin" / "python"
HERE = Path(__file__).parent
SIZES = {"trashnet": 128, "cifar10": 64}  # pixels that the peers see: CIFAR-10's doubled, which helps their ResNet-18
NOT_BELOW = ">= 0"
Run = dict[str, Any]


def cifar(train: int, val: int, test: int) -> Path:
    """A CSV of so many training images of CIFAR-10, some of them for validation, and of test images, as files."""
    folder = SCRATCH / f"cifar10-{train}"
    if not (folder / "split.csv").is_file():
        import polars as pl

        import anmok
        from anmok.data.storage import Storage

        table, rng, rows = anmok.open(data_root() / "cifar10"), np.random.default_rng(0), []
        folder.mkdir(parents=True, exist_ok=True)
        storage = Storage(table.root)
        for split, n in {"train": train, "test": test}.items():
            part = table.take(pl.col("split") == split)
            chosen = part.take(np.sort(rng.permutation(len(part))[:n])).rows
            named = np.where(rng.permutation(n) < val, "val", "train") if split == "train" else np.full(n, "test")
            for i, (reference, label, own) in enumerate(zip(chosen["image"], chosen["label"], named, strict=True)):
                (folder / f"{split}-{i}.jpg").write_bytes(storage.read(reference))
                rows.append((f"{split}-{i}.jpg", label, own))
        with (folder / "split.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("image", "label", "split"), *rows])
    return folder / "split.csv"


def ours(source: Path, minutes: float, seed: int, out: Path) -> Run:
    """`anmok auto`, and what its own test evaluation says."""
    seconds = run(ANMOK, "auto", source, "--minutes", str(minutes), "--seed", str(seed), "--out", out, show=True)
    facts = read_json(out / "auto.json")
    test = read_json(out / facts["best"] / "evaluation-test.json")
    right = round(test["metrics"]["accuracy"]["value"] * test["n"])
    return {"seconds": seconds, "right": right, "n": test["n"], "what": facts["sentence"]}


def main() -> None:
    """Each on each data set, one after the other."""
    options = arguments(
        __doc__, minutes={"type": float, "default": 15.0}, seeds={"type": int, "nargs": "+", "default": [0]},
        only={"nargs": "+", "default": list(SIZES), "choices": list(SIZES), "help": "Data sets."},
    )  # fmt: skip
    folder, minutes = data_root() / "trashnet", 1.0 if options.quick else options.minutes
    sources = {
        "trashnet": few_with_test(folder / "split.csv", 40) if options.quick else folder / "split.csv",
        "cifar10": cifar(200, 40, 200) if options.quick else cifar(2000, 400, 2000),
    }
    where = context(f"trashnet {fingerprint(folder)} cifar10 {fingerprint(data_root() / 'cifar10')}", peer_versions())
    kept = Kept("auto-quick" if options.quick else "auto", where, f"{minutes:g} min")
    figures: list[Figure] = []
    for data in options.only:
        source, size = sources[data], SIZES[data]
        for seed in options.seeds:
            subjects: dict[str, Callable[[], Run]] = {
                "anmok auto": lambda s=seed, d=data, f=source: ours(f, minutes, s, fresh(f"auto-{d}-{s}")),
                "fastai": lambda s=seed, f=source, w=size: other(PEER, HERE / "peer_fastai_auto.py", f, w, minutes, s),
                "AutoGluon": lambda s=seed, d=data, f=source, w=size: other(
                    AUTOGLUON, HERE / "peer_autogluon.py", f, w, minutes, s,
                    kept.known[f"{d}, fastai, seed {s}"]["epochs"],
                ),
            }  # fmt: skip
            for name, do in subjects.items():
                kept.of(f"{data}, {name}, seed {seed}", do)
        figures += compare(data, options.seeds, kept.known)
    finish(write("auto", figures, where, options.quick), options.quick)


def compare(data: str, seeds: list[int], known: dict[str, Run]) -> list[Figure]:
    """Accuracies and minutes of all, and how far ours is above each peer, in points."""
    out, shares = [], {}
    for name in ("anmok auto", "fastai", "AutoGluon"):
        cells = [known[f"{data}, {name}, seed {seed}"] for seed in seeds]
        shares[name] = [c["right"] / c["n"] for c in cells]
        low, high = wilson(sum(c["right"] for c in cells), sum(c["n"] for c in cells))
        note = f"{cells[0]['what']}; all seeds: [{low:.3f}, {high:.3f}]"
        out.append(figure(f"{data}, {name}", "test accuracy", "share", shares[name], seeds=seeds, note=note))
        out.append(figure(f"{data}, {name}", "time", "min", [c["seconds"] / 60 for c in cells], seeds=seeds))
    for name in ("fastai", "AutoGluon"):
        points = [100 * (a - b) for a, b in zip(shares["anmok auto"], shares[name], strict=True)]
        out.append(figure(f"{data}, anmok auto over {name}", "test accuracy", "points", points, bound=NOT_BELOW,
                          seeds=seeds))  # fmt: skip
    return out


if __name__ == "__main__":
    main()
