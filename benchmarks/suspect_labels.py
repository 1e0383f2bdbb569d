"""Suspect labels beside cleanlab: 5 % of 10,000 CIFAR-10 labels flipped, ranked by the same probabilities.  15 minutes.

    benchmarks/setup-peers audit && .venv/bin/python benchmarks/suspect_labels.py

The images are the first 1,000 of each class of the training file. Each seed flips 5 % of them to another class drawn
uniformly, makes out-of-fold predictions (`anmok audit --suspect-labels` does the same), and gives the very same
probabilities to both. Average precision, precision and recall count planted flips; the few errors that CIFAR-10 has of
its own count as mistakes of both. The bound is on the median average precision against cleanlab's best method.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from common import (
    ROOT,
    SCRATCH,
    Figure,
    arguments,
    clean_environment,
    context,
    data_root,
    figure,
    fingerprint,
    finish,
    write,
)
from sklearn.metrics import average_precision_score

import anmok
from anmok.audit.confident import joint
from anmok.audit.suspects import SCORES, suspects
from anmok.data.table import Table
from anmok.stages.suspects import out_of_fold

PEER = ROOT / "benchmarks" / ".peers-audit" / "bin" / "python"
SHARE, CLASSES = 0.05, 10
CANDIDATES = ("both", "noise-rate", "class", "confident-joint")


def first_of_each(table: Table, n: int) -> Table:
    """The first n training images of each class, in the file's order."""
    train = table.where(split="train")
    keep = train.rows.with_row_index("row").group_by("label", maintain_order=True).head(n)["row"]
    return train.take(np.sort(keep.to_numpy()))


def flipped(table: Table, seed: int) -> tuple[Table, np.ndarray]:
    """(the table with SHARE of its labels wrong, bool[N] which)."""
    rng = np.random.default_rng(seed)
    true, k = table.targets(), len(table.classes)
    bad = np.zeros(len(table), bool)
    bad[rng.choice(len(table), round(SHARE * len(table)), replace=False)] = True
    wrong = np.where(bad, (true + rng.integers(1, k, len(table))) % k, true)
    labels = pl.Series("label", [table.classes[i] for i in wrong])
    return table.with_rows(table.rows.with_columns(labels), f"{SHARE:.0%} of the labels flipped, seed {seed}"), bad


class Given(NamedTuple):
    """What both judge: labels int64[N] with planted flips, out-of-fold probs float32[N, K]; bad: bool[N], the flips."""

    labels: np.ndarray
    probs: np.ndarray
    bad: np.ndarray
    true: np.ndarray
    seconds: float


def prepare(table: Table, seed: int, file: Path, stored: bool) -> Given:
    """Flip, predict and keep; or what was kept the last time."""
    if not stored:
        noisy, bad = flipped(table, seed)
        began = time.perf_counter()
        predictions = out_of_fold(noisy, seed=seed)
        seconds = time.perf_counter() - began
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            file, labels=predictions.targets, probs=predictions.probs, bad=bad, true=table.targets(), seconds=seconds
        )
    kept = np.load(file)
    return Given(*(kept[name] for name in Given._fields[:-1]), float(kept["seconds"]))


def cleanlab(file: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What cleanlab says of these probabilities, and its seconds and versions, in a process of its own."""
    out = file.with_name(f"{file.stem}-cleanlab.npz")
    command = [str(PEER), str(Path(__file__).with_name("peer_cleanlab.py")), str(file), str(out)]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"cleanlab failed:\n{done.stderr[-3000:]}")
    return dict(np.load(out)), json.loads(done.stdout.splitlines()[-1])


def judged(given: Given, file: Path) -> tuple[dict[tuple[str, str], float], dict[str, str]]:
    """{(subject, quantity): value} of one seed, and the peer's versions."""
    targets, probs, bad = given.labels, given.probs, given.bad
    out: dict[tuple[str, str], float] = {}
    for score in SCORES:
        ranked = suspects(targets, probs, score=score).score  # type: ignore[arg-type]
        out[f"anmok, {score}", "average precision"] = float(average_precision_score(bad, ranked))
    began = time.perf_counter()
    default = suspects(targets, probs)
    out["anmok", "verdict on given probabilities"] = time.perf_counter() - began
    out["anmok", "average precision"] = float(average_precision_score(bad, default.score))
    out["anmok", "estimated noise rate"] = default.noise_rate
    masks = {f"anmok, {c}": suspects(targets, probs, candidates=c).is_suspect for c in CANDIDATES}  # type: ignore[arg-type]
    peer, about = cleanlab(file)
    for key, value in peer.items():
        kind, _, method = key.partition(":")
        if kind == "score":
            out[f"cleanlab, {method}", "average precision"] = float(average_precision_score(bad, -value))
        elif kind == "filter":
            masks[f"cleanlab, {method}"] = value
    for subject, mask in (("anmok", default.is_suspect), *masks.items()):
        out[subject, "precision"] = float(bad[mask].mean()) if mask.any() else 0.0
        out[subject, "recall"] = float(mask[bad].mean())
    unlike = _plain(joint(targets, probs).counts) != peer["joint"]
    out["anmok", "cells of the confident joint unlike cleanlab's"] = float(unlike.sum())
    pair = about["seconds"]["filter:both"] + about["seconds"]["score:self_confidence"]
    out["cleanlab", "verdict on given probabilities"] = pair
    return out, {k: v for k, v in about.items() if k != "seconds"}


def _plain(counts: np.ndarray) -> np.ndarray:
    """The counts as cleanlab gives them: at least one on the diagonal."""
    return counts + np.diag(np.diag(counts) == 0)


def main() -> None:
    """Three seeds; medians."""
    options = arguments(
        __doc__, repeats={"type": int, "default": 3},
        stored={"action": "store_true", "help": "Judge the probabilities of the last run once more."},
    )  # fmt: skip
    folder = data_root() / "cifar10"
    images, repeats = (500, 1) if options.quick else (10_000, options.repeats)
    table = first_of_each(anmok.open(folder), images // CLASSES)
    seeds, seen, versions = list(range(repeats)), [], {}
    for seed in seeds:
        file = SCRATCH / f"suspects-{images}-{seed}.npz"
        given = prepare(table, seed, file, options.stored)
        one, versions = judged(given, file)
        one["out-of-fold", "wall"] = given.seconds
        one["out-of-fold", "accuracy on the true labels"] = float((given.probs.argmax(axis=1) == given.true).mean())
        seen.append(one)
    where = context(f"cifar10 {fingerprint(folder)}", versions)
    finish(write("suspect_labels", summarize(seen, seeds), where, options.quick), options.quick)


def summarize(seen: list[dict[tuple[str, str], float]], seeds: list[int]) -> list[Figure]:
    """Every quantity over the seeds; our average precision against cleanlab's best."""
    units = {"wall": "s", "verdict on given probabilities": "s"}
    medians = {key: statistics.median(one[key] for one in seen) for key in seen[0]}
    peers = {s: v for (s, q), v in medians.items() if q == "average precision" and s.startswith("cleanlab")}
    best = max(peers, key=lambda s: peers[s])
    out = []
    for subject, quantity in medians:
        values = [one[subject, quantity] for one in seen]
        main = (subject, quantity) == ("anmok", "average precision")
        against, bound = ((best, peers[best]), ">= 1") if main else (None, "")
        unit = "cells" if quantity.startswith("cells") else units.get(quantity, "share")
        out.append(figure(subject, quantity, unit, values, seeds=seeds, against=against, bound=bound))
    return out


if __name__ == "__main__":
    main()
