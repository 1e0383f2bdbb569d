"""A million predictions over a thousand classes, scored with intervals; scikit-learn's same scores without.  3 minutes.

    .venv/bin/python benchmarks/metrics.py

Made up in float32: normal logits, that of the true class raised, so that some three quarters are right. Every size runs
in a new process, so that its peak memory, of which the predictions are 4 GB, is its own. Curves, which are one sort a
class, are computed on request only and are not in it. scikit-learn works on as many rows as its copies leave room for;
its time is multiplied by what is left out. The largest difference between its values and ours is on 20,000 rows in
float64, which its log loss needs.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np
from common import Figure, arguments, clean_environment, context, figure, finish, write

from anmok.core.machine import versions

SEED, CLASSES, RAISED = 0, 1000, 4.0
PEER_ROWS, SAME_ROWS = 50_000, 20_000
SIZES = (1_000_000, 100_000)
BOUND = {1_000_000: ("<= 60", "<= 12288")}


def predictions(n: int, dtype: type = np.float32) -> Any:
    """Predictions of n images in blocks, so that no more than one block is held twice."""
    from anmok.core.types import Predictions

    rng = np.random.default_rng(SEED)
    targets = rng.integers(0, CLASSES, n)
    probs = np.empty((n, CLASSES), dtype)
    for start in range(0, n, 10_000):
        block = rng.standard_normal((min(10_000, n - start), CLASSES), dtype=np.float32)
        block[np.arange(len(block)), targets[start : start + len(block)]] += RAISED
        np.exp(block, out=block)
        probs[start : start + len(block)] = block
        probs[start : start + len(block)] /= probs[start : start + len(block)].sum(axis=1, keepdims=True)
    names = [f"class {k}" for k in range(CLASSES)]
    return Predictions([str(i) for i in range(n)], names, probs, targets)


def ours(n: int) -> dict[str, Any]:
    """Seconds of one evaluation with all intervals, and the process's peak memory in MiB."""
    from anmok.evaluate.metrics import evaluate

    evaluate(predictions(100), "", resamples=200)  # what is imported on first use is not in it
    p = predictions(n)
    began = time.perf_counter()
    found = evaluate(p, "", ranking=False)
    seconds = time.perf_counter() - began
    without = [name for name, m in found["metrics"].items() if m["value"] is not None and "low" not in m]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak": peak, "accuracy": found.value("accuracy"), "without": without}


def theirs(probs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """The same scores by scikit-learn; that of top k takes classes backwards, so that ties go as argmax's."""
    from sklearn import metrics as sk

    labels, called = np.arange(CLASSES), probs.argmax(axis=1)
    out = {
        "accuracy": sk.accuracy_score(targets, called),
        "balanced_accuracy": sk.balanced_accuracy_score(targets, called),
        "mcc": sk.matthews_corrcoef(targets, called),
        "cohen_kappa": sk.cohen_kappa_score(targets, called, labels=labels),
        "log_loss": sk.log_loss(targets, probs, labels=labels),
        "brier": sk.brier_score_loss(targets, probs, labels=labels, scale_by_half=False),
        "top_5_accuracy": sk.top_k_accuracy_score(CLASSES - 1 - targets, probs[:, ::-1], k=5, labels=labels),
    }
    for average in ("macro", "micro", "weighted"):
        scores = sk.precision_recall_fscore_support(
            targets, called, labels=labels, average=average, zero_division=np.nan
        )
        out |= {f"{average}_{name}": float(s) for name, s in zip(("precision", "recall", "f1"), scores, strict=False)}
    return {name: float(value) for name, value in out.items()}


def peer(rows: int) -> dict[str, Any]:
    """Seconds of scikit-learn."""
    p = predictions(rows)
    theirs(p.probs[:1000], p.targets[:1000] % 10)
    began = time.perf_counter()
    theirs(p.probs, p.targets)
    return {"seconds": time.perf_counter() - began}


def same(rows: int) -> dict[str, Any]:
    """The largest difference between a value of ours and scikit-learn's."""
    from anmok.evaluate.metrics import evaluate

    p = predictions(rows, np.float64)
    found = evaluate(p, "", ranking=False, resamples=200)
    wanted = theirs(p.probs, p.targets)
    return {"difference": max(abs(found.value(name) - value) for name, value in wanted.items()), "scores": len(wanted)}


def process(what: str, rows: int) -> dict[str, Any]:
    """The JSON that this script prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--of", what, str(rows)],
        env=clean_environment(), capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{what} of {rows:,} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Ours at both sizes, then scikit-learn."""
    if sys.argv[1:2] == ["--of"]:
        what, rows = sys.argv[2:]
        print(json.dumps({"ours": ours, "peer": peer, "same": same}[what](int(rows))))
        return
    options = arguments(__doc__)
    sizes, peer_rows, same_rows = ((20_000,), 2_000, 2_000) if options.quick else (SIZES, PEER_ROWS, SAME_ROWS)
    figures: list[Figure] = []
    for n in sizes:
        found = process("ours", n)
        name, (seconds, memory) = f"{n:,} × {CLASSES:,} with intervals", BOUND.get(n, ("", ""))
        note = f"accuracy {found['accuracy']:.4f}; without an interval: {', '.join(found['without']) or 'none'}"
        figures.append(figure("anmok", name, "s", [found["seconds"]], bound=seconds, seeds=[SEED], note=note))
        figures.append(figure("anmok", f"{name}, peak memory", "MiB", [found["peak"]], bound=memory, seeds=[SEED]))
    times = sizes[0] / peer_rows
    seconds_of = process("peer", peer_rows)["seconds"] * times
    figures.append(figure(
        "scikit-learn", f"{sizes[0]:,} × {CLASSES:,} without intervals", "s", [seconds_of],
        against=("anmok", figures[0].value), seeds=[SEED], note=f"{peer_rows:,} rows, times {times:g}",
    ))  # fmt: skip
    found = process("same", same_rows)
    note = f"{found['scores']} scores of {same_rows:,} rows in float64"
    figures.append(figure(
        "anmok", "largest difference to scikit-learn", "", [found["difference"]], bound="<= 1e-12", note=note
    ))  # fmt: skip
    finish(
        write("metrics", figures, context("made up", versions(("scikit-learn", "scipy"))), options.quick), options.quick
    )


if __name__ == "__main__":
    main()
