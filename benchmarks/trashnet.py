"""Test accuracy of recipes/trashnet.toml: TrashNet from scratch, the authors' split.  Up to 30 minutes a seed.

    .venv/bin/python benchmarks/trashnet.py                 # seeds 0, 1, 2
    .venv/bin/python benchmarks/trashnet.py --seeds 1       # one of them; joins what was measured before

Each seed's row is stored as soon as it is known; the summary is over all rows of the same recipe, data and versions.
A run that was cut short is begun again, so that its minutes are true.
"""

from __future__ import annotations

import csv
import hashlib
import statistics
from pathlib import Path
from typing import Any

from common import (
    ANMOK,
    RESULTS,
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
    met,
    read_json,
    read_run,
    rounded,
    run,
    write,
)

ACCURACY, MINUTES = ">= 0.8", "<= 30"


def one(recipe: Path, source: Path, seed: int, extra: list[str]) -> dict[str, Any]:
    """Train, then look at the test split once."""
    out = fresh(f"trashnet-{seed}")
    seconds = run(ANMOK, "train", source, "--config", recipe, "--seed", str(seed), "--out", out, *extra, show=True)
    run(ANMOK, "evaluate", out)
    test, val = (read_json(out / f"evaluation-{split}.json") for split in ("test", "val"))
    accuracy, macro = test["metrics"]["accuracy"], test["metrics"]["macro_f1"]
    start, epochs = read_run(out)
    return {
        "seed": seed, "test_accuracy": accuracy["value"], "low": accuracy["low"], "high": accuracy["high"],
        "test_macro_f1": macro["value"], "n_test": test["n"], "val_accuracy": val["metrics"]["accuracy"]["value"],
        "without_leaked_rows": without_leaked(test), "minutes": round(seconds / 60, 2), "epochs": len(epochs),
        "images_per_s": rounded(statistics.median(e.images / e.train_s for e in epochs)),
        "plan": f"{start['plan']['dtype']}{' channels_last' if start['plan']['channels_last'] else ''}",
    }  # fmt: skip


def without_leaked(evaluation: dict[str, Any]) -> float | str:
    """Accuracy without the test images whose bytes stand in training too, '' where there are none."""
    metrics = (evaluation.get("leaked") or {}).get("metrics") or {}
    return metrics.get("accuracy", {}).get("value", "")


def t_interval(values: list[float]) -> tuple[float, float]:
    """95 % interval of a mean over seeds, by Student's t."""
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return statistics.mean(values) - half, statistics.mean(values) + half


def wilson(share: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a share of n (Wilson 1927)."""
    middle, spread = share + z * z / (2 * n), z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)


def summary(rows: list[dict[str, Any]]) -> list[Figure]:
    """Mean over seeds with its intervals, and the longest run, against the bounds."""
    seeds = [int(r["seed"]) for r in rows]
    scores, n = [float(r["test_accuracy"]) for r in rows], int(rows[0]["n_test"])
    mean = statistics.mean(scores)
    values = " ".join(str(rounded(s)) for s in scores)
    common: dict[str, Any] = {"repeats": len(rows), "values": values, "seeds": " ".join(map(str, seeds))}
    out = []
    intervals = [
        (wilson(mean, n * len(rows)), "Wilson, all seeds pooled: as if each seed had test images of its own"),
        (wilson(mean, n), f"Wilson, of the {n} test images: what another test set would say"),
    ]
    if len(scores) > 1:
        intervals.insert(0, (t_interval(scores), "Student's t over seeds: what another seed would say"))
    for number, ((low, high), note) in enumerate(intervals):
        bound = ACCURACY if number == 0 else ""
        out.append(
            Figure("recipes/trashnet.toml", "mean test accuracy", "share", rounded(mean), rounded(low), rounded(high),
                   bound=bound, met=met(bound, mean), note=note, **common)
        )  # fmt: skip
    minutes = [float(r["minutes"]) for r in rows]
    out.append(figure("recipes/trashnet.toml", "training wall", "min", minutes, seeds=seeds))
    out.append(figure("recipes/trashnet.toml", "longest run", "min", [max(minutes)], bound=MINUTES))
    out.append(figure("recipes/trashnet.toml", "validation accuracy", "share", [float(r["val_accuracy"]) for r in rows],
                      seeds=seeds))  # fmt: skip
    return out


def main() -> None:
    """The seeds asked for, then the summary."""
    options = arguments(
        __doc__, seeds={"type": int, "nargs": "+", "default": [0, 1, 2]},
        recipe={"type": Path, "default": ROOT / "recipes" / "trashnet.toml"},
    )  # fmt: skip
    if not options.recipe.is_file():
        raise SystemExit(f"no recipe at {options.recipe}")
    folder = data_root() / "trashnet"
    where = context(f"trashnet {fingerprint(folder)}")
    where["recipe"] = hashlib.sha256(options.recipe.read_bytes()).hexdigest()[:16]
    path = (SCRATCH / "quick" if options.quick else RESULTS) / "trashnet_seeds.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = same(path, where)
    for seed in options.seeds[:1] if options.quick else options.seeds:
        row = one(options.recipe, folder / "split.csv", seed, ["--epochs", "1"] if options.quick else [])
        rows = sorted([r for r in rows if int(r["seed"]) != seed] + [row | where], key=lambda r: int(r["seed"]))
        with path.open("w", newline="") as handle:
            table = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
    finish(write("trashnet", summary(rows), where, options.quick), options.quick)


def same(path: Path, where: dict[str, str]) -> list[dict[str, Any]]:
    """Rows measured before with the same recipe, data, machine and versions."""
    if not path.is_file():
        return []
    with path.open() as handle:
        rows = list(csv.DictReader(handle))
    keys = ("recipe", "data", "machine", "versions")
    return [r for r in rows if all(r[k] == where[k] for k in keys)]


if __name__ == "__main__":
    main()
