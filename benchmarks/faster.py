"""CIFAR-10 by a short course: what each option that is to be faster is worth, in accuracy and in time, beside plain.

A small network (benchmarks/small_net.py) learns from all 50,000 training images by Muon in batches of 512, 4 epochs,
one-cycle, moves of up to 2 pixels and alternating flip. There is no validation split, so the weights of the epoch with
the lowest training loss, the last as a rule, are judged, once, on the 10,000 test images. Each arm changes one thing.
Seconds are those of training alone: planning, evaluation and saving are not in them. Intervals of a run are Wilson's,
95 %; those of a difference are paired over the test images of a seed, normal, 95 %.

    .venv/bin/python benchmarks/faster.py                                 # all arms, one seed; 20 to 30 minutes
    .venv/bin/python benchmarks/faster.py --arms plain skip --epochs 12 --repeats 3

- plain; ema, lookahead: the weights that are judged; lookahead by airbench94's shares.
- random-flip: in the place of alternating flip. sgd: in the place of Muon.
- grow: images from half the size on, for 60 % of the course.
- skip: InfoBatch, half of what lies below the mean loss, from the second epoch on; below 8 epochs none takes all again.

A row is stored as soon as it is known, and is not measured again for the same settings, data and versions.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from common import SCRATCH, arguments, context, data_root, fingerprint, fresh, rounded, store_rows, stored_rows

ARMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "ema": {"optim.ema": 0.95},
    "lookahead": {"optim.lookahead": round(1 - 0.95**5, 4), "optim.lookahead_power": 3},
    "random-flip": {"augment.flip": "random", "augment.hflip": 0.5},
    "grow": {"training.grow": 0.5},
    "skip": {"training.skip": 0.5},
    "sgd": {
        "optim.name": "sgd", "optim.lr": 0.2, "optim.momentum": 0.9, "optim.weight_decay": 5e-4,
    },
}  # fmt: skip
COMMON: dict[str, Any] = {
    "model": "small_net:net", "weights": "none", "image_size": 32, "batch_size": 512,
    "augment.policy": "none", "augment.flip": "alternating", "augment.translate": 0.0625, "loss.label_smoothing": 0.1,
    "optim.name": "muon", "optim.lr": 0.05, "optim.momentum": 0.85, "optim.weight_decay": 0.02, "optim.aux_lr": 0.01,
    "optim.betas": (0.9, 0.99), "schedule.name": "one-cycle", "schedule.start": 0.2, "schedule.peak": 0.25,
    "schedule.end": 0.01, "runtime.channels_last": True, "runtime.dtype": "bf16", "split.val": 0.0,
}  # fmt: skip
EPOCHS = 4


def tables(quick: bool) -> Any:
    """CIFAR-10 with its test split; 2,000 and 500 images of it for a quick run."""
    import numpy as np

    import anmok

    table = anmok.open(data_root() / "cifar10")
    if not quick:
        return table
    split = table.rows["split"].to_numpy()
    rng = np.random.default_rng(0)
    parts = [rng.permutation(np.flatnonzero(split == name))[:n] for name, n in (("train", 2000), ("test", 500))]
    return table.take(np.sort(np.concatenate(parts)))


def measured(table: Any, arm: str, seed: int, epochs: int) -> dict[str, Any]:
    """Accuracy with its interval and the seconds of training of one run."""
    import anmok
    from anmok.evaluate.intervals import wilson

    run = anmok.train(table, out=fresh(f"faster-{arm}-{epochs}-{seed}"), epochs=epochs, seed=seed, **COMMON | ARMS[arm])
    test, history = anmok.evaluate(run), run.history
    n, accuracy = test["n"], test.value("accuracy") or 0.0
    low, high = wilson(accuracy * n, n)
    images = sum(e["images_per_s"] * e["seconds"] for e in history)
    return {
        "accuracy": rounded(accuracy), "low": rounded(low), "high": rounded(high), "n_test": n,
        "train_s": round(sum(e["seconds"] for e in history), 1), "images": round(images), "steps": history[-1]["step"],
        "run": run.path.name,
    }  # fmt: skip


def beside(row: dict[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
    """Points over plain on the same test images with their interval, and the share of its seconds."""
    import numpy as np

    from anmok.stages.run import Run

    mine, theirs = (Run(SCRATCH / str(r["run"])).predictions("test") for r in (row, plain))
    place = {name: i for i, name in enumerate(theirs.ids)}
    assert mine.targets is not None
    hits = [
        (probs.argmax(1) == mine.targets).astype(float)
        for probs in (mine.probs, theirs.probs[[place[name] for name in mine.ids]])
    ]
    apart = 100 * (hits[0] - hits[1])
    error = 1.96 * apart.std(ddof=1) / np.sqrt(len(apart))
    return {
        "points": rounded(float(apart.mean())), "points_low": rounded(float(apart.mean() - error)),
        "points_high": rounded(float(apart.mean() + error)),
        "time": rounded(float(row["train_s"]) / float(plain["train_s"])),
    }  # fmt: skip


def main() -> None:
    """The rows asked for that are not there yet; what is there is printed beside plain of the same seed."""
    options = arguments(
        __doc__, arms={"nargs": "+", "choices": list(ARMS), "default": list(ARMS)},
        epochs={"type": int, "default": EPOCHS}, repeats={"type": int, "default": 1},
    )  # fmt: skip
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(p for p in (here, os.environ.get("PYTHONPATH")) if p)
    where = context(f"cifar10 {fingerprint(data_root() / 'cifar10')}")
    epochs, repeats = (2, 1) if options.quick else (options.epochs, options.repeats)
    rows, table = stored_rows("faster", where, options.quick), None
    for seed in range(repeats):
        for arm in dict.fromkeys(["plain", *options.arms]):
            settings = hashlib.sha256(repr((COMMON | ARMS[arm], epochs)).encode()).hexdigest()[:16]
            if any((r["arm"], str(r["seed"]), r["settings"]) == (arm, str(seed), settings) for r in rows):
                continue
            table = table or tables(options.quick)
            row = {"arm": arm, "seed": seed, "epochs": epochs, **measured(table, arm, seed, epochs)}
            base = row if arm == "plain" else next(
                r for r in rows if (r["arm"], str(r["seed"]), str(r["epochs"])) == ("plain", str(seed), str(epochs))
            )  # fmt: skip
            row |= beside(row, base)
            key = (arm, str(seed), str(epochs))
            rows = [r for r in rows if (r["arm"], str(r["seed"]), str(r["epochs"])) != key]
            rows.append({**row, "settings": settings, **where})
            store_rows("faster", rows, options.quick)
    for r in rows:
        print(
            f"{r['arm']:<12} seed {r['seed']}  {r['epochs']} epochs  {100 * float(r['accuracy']):.2f} % "
            f"[{100 * float(r['low']):.2f}, {100 * float(r['high']):.2f}]  {float(r['points']):+.2f} points "
            f"[{float(r['points_low']):+.2f}, {float(r['points_high']):+.2f}]  {float(r['train_s']):.0f} s = "
            f"{float(r['time']):.2f} x plain"
        )


if __name__ == "__main__":
    main()
