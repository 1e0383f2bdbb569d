"""Time to the validation accuracy that fastai reaches in its best of 20 epochs: TrashNet, ResNet-18 at 128 px, scratch.

    benchmarks/setup-peers && .venv/bin/python benchmarks/time_to_accuracy.py       # about 20 minutes a seed

fastai's recipe is that of peer_fastai.py; its best epoch is known only afterwards, its time is that epoch's end.
Ours are the defaults with images that grow from 64 pixels; its time is that of the first epoch that is as good.
Both count from the first training step, with validation and, of ours, checkpoints; from the start of the process
(ours: opening, caching and planning too) stands beside it.
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from pathlib import Path
from typing import Any

from common import (
    ANMOK,
    arguments,
    context,
    data_root,
    figure,
    fingerprint,
    finish,
    fresh,
    peer_versions,
    run,
    write,
)
from train_speed import SIZE, fastai_epochs, few

BOUND = ">= 3"
GROWING = ("--training.grow", "0.5", "--training.grow-until", "100%")
OURS = ("--model", "resnet18", "--weights", "none", "--image-size", SIZE, *GROWING)
Curve = list[tuple[float, float]]  # of every epoch: seconds to its end, validation accuracy


def fastai(source: Path, epochs: int, seed: int) -> tuple[Curve, float]:
    """Its curve from the first step, and the seconds before it."""
    began = time.perf_counter()
    found = fastai_epochs(source, 0, epochs, seed)
    wall = time.perf_counter() - began
    ends = list(itertools.accumulate(epoch["wall_s"] for epoch in found))
    return [(end, epoch["accuracy"]) for end, epoch in zip(ends, found, strict=True)], wall - ends[-1]


def anmok(source: Path, epochs: int, seed: int) -> tuple[Curve, float]:
    """Our curve from the first step, and the seconds before it."""
    out = fresh(f"time-{seed}")
    began = time.time()
    run(ANMOK, "train", source, *OURS, "--epochs", str(epochs), "--seed", str(seed), "--out", out, show=True)
    events: list[dict[str, Any]] = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    start = next(e["t"] for e in events if e["event"] == "start")
    return [(e["t"] - start, e["val"]["accuracy"]) for e in events if e["event"] == "epoch"], start - began


def reached(curve: Curve, accuracy: float) -> float:
    """Seconds to the first epoch of at least that accuracy; infinite where there is none."""
    return next((seconds for seconds, found in curve if found >= accuracy), float("inf"))


def main() -> None:
    """A training of each, for every seed."""
    options = arguments(
        __doc__, seeds={"type": int, "nargs": "+", "default": [0]},
        epochs={"type": int, "default": 24, "help": "Of ours."}, theirs={"type": int, "default": 20},
    )  # fmt: skip
    folder = data_root() / "trashnet"
    source = folder / "split.csv"
    if options.quick:
        source, options.epochs, options.theirs, options.seeds = few(source, 130), 2, 1, [0]
    rows: list[tuple[float, float, float, float, float]] = []
    for seed in options.seeds:
        theirs, before = fastai(source, options.theirs, seed)
        ours, opening = anmok(source, options.epochs, seed)
        best = max(accuracy for _, accuracy in theirs)
        rows.append((best, reached(theirs, best), reached(ours, best), before, opening))
        print(f"seed {seed}: fastai {theirs}\nours {ours}", flush=True)
    best, slow, fast, before, opening = (list(column) for column in zip(*rows, strict=True))
    times, seeds = [a / b for a, b in zip(slow, fast, strict=True)], options.seeds
    note = f"{options.epochs} epochs, {' '.join(map(str, OURS))}"
    whole = [a + b for a, b in zip(fast, opening, strict=True)]
    figures = [
        figure("fastai", f"best validation accuracy of {options.theirs} epochs", "share", best, seeds=seeds),
        figure("fastai", "time to it", "s", slow, seeds=seeds, note=f"{statistics.median(before):.0f} s before"),
        figure("anmok", "time to that accuracy", "s", fast, seeds=seeds, note=note),
        figure("anmok, with opening and planning", "time to that accuracy", "s", whole, seeds=seeds),
        figure("fastai over anmok", "time to that accuracy", "x", times, bound=BOUND, seeds=seeds),
    ]
    where = context(f"trashnet {fingerprint(folder)}", peer_versions())
    finish(write("time_to_accuracy", figures, where, options.quick), options.quick)


if __name__ == "__main__":
    main()
