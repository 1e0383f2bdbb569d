"""CIFAR-10 from its Parquet files as they are: seconds to open, images/s of one epoch.  About three minutes.

.venv/bin/python benchmarks/cifar10.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

from common import (
    ANMOK,
    SCRATCH,
    arguments,
    clean_environment,
    context,
    data_root,
    figure,
    fingerprint,
    finish,
    fresh,
    read_run,
    run,
    write,
)

OPEN = """
import json, sys, time
import anmok
began = time.perf_counter()
table = anmok.open(sys.argv[1])
print(json.dumps({"seconds": time.perf_counter() - began, "rows": len(table), "classes": len(table.classes)}))
"""


def opened(folder: Path) -> dict[str, float]:
    """What a fresh process needs to open the folder."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(folder)], env=clean_environment(ANMOK_QUIET="1"), check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def few(folder: Path, n: int) -> Path:
    """The first n rows of each file, for --quick."""
    import pyarrow.parquet as pq

    out = SCRATCH / "few-cifar10"
    out.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.parquet"):
        pq.write_table(pq.read_table(path).slice(0, n), out / path.name)
    return out


def main() -> None:
    """Open three times, train one epoch three times (once where quick)."""
    options = arguments(__doc__, repeats={"type": int, "default": 3}, model={"default": "lenet"})
    folder = data_root() / "cifar10"
    data, repeats = f"cifar10 {fingerprint(folder)}", options.repeats
    if options.quick:
        folder, repeats = few(folder, 1000), 1
    opens = [opened(folder) for _ in range(repeats)]
    found, outside = [], []
    for seed in range(repeats):
        out = fresh(f"cifar10-{seed}")
        wall = run(
            ANMOK, "train", folder, "--model", options.model, "--weights", "none", "--image-size", "32",
            "--epochs", "1", "--seed", str(seed), "--out", out,
        )  # fmt: skip
        epochs = read_run(out)[1]
        found.append(epochs[0])
        outside.append(wall - epochs[0].wall_s)
    name, seeds = f"anmok, {options.model} at 32 px", list(range(repeats))
    note = f"{found[0].images} training images; waited {statistics.median(e.wait_share for e in found):.2f} of it"
    figures = [
        figure("anmok.open", "wall", "s", [o["seconds"] for o in opens], note=f"{opens[0]['rows']} rows"),
        figure(name, "training only", "images/s", [e.images / e.train_s for e in found], seeds=seeds, note=note),
        figure(name, "with validation", "images/s", [e.images / e.wall_s for e in found], seeds=seeds),
        figure(name, "wall outside the epoch", "s", outside, seeds=seeds),
    ]
    finish(write("cifar10", figures, context(data), options.quick), options.quick)


if __name__ == "__main__":
    main()
