"""A whole audit, report written, beside CleanVision, fastdup and imagededup: TrashNet and the photos.  About 6 minutes.

    benchmarks/setup-peers audit && .venv/bin/python benchmarks/audit.py

Each is a process of its own; they take turns, three times. images/s count from the first call to the last result, with
imports left out for every one of them (ours import what they need on the way, so ours are called once on ten images
before); beside it the wall of the whole process. CleanVision finds quality issues and identical hashes, fastdup and
imagededup duplicates; ours all of it, and writes the page.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from common import ROOT, SCRATCH, arguments, clean_environment, context, data_root, figure, fingerprint, finish, write

PEER = ROOT / "benchmarks" / ".peers-audit" / "bin" / "python"
BOUNDS = {"cleanvision": ">= 12", "fastdup": ">= 8", "imagededup": ">= 8"}

OURS = """
import json, shutil, sys, time
from anmok.stages.audit import audit
source, few, out = sys.argv[1:]
audit(few, out=out + "-few")
began = time.perf_counter()
result = audit(source, out=out)
seconds = time.perf_counter() - began
shutil.rmtree(out + "-few"); shutil.rmtree(out)
print(json.dumps({"seconds": seconds, "findings": result.summary["findings"]}))
"""


class Measured(NamedTuple):
    """Seconds of the work and of the process, and the peak of its memory, GiB."""

    work: float
    wall: float
    peak: float


def measured(*command: str | Path) -> Measured:
    """Run a process to its end."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [str(c) for c in command], env=clean_environment(ANMOK_QUIET="1", SENTRY_OPT_OUT="1"),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if status:
        raise SystemExit(f"{' '.join(map(str, command[:3]))} ended with {os.waitstatus_to_exitcode(status)}\n{text}")
    return Measured(json.loads(text.splitlines()[-1])["seconds"], wall, usage.ru_maxrss / 2**20)


def ours(source: Path, few: Path) -> Measured:
    """`anmok.audit` with its folder written."""
    out = SCRATCH / "audit-out"
    for folder in (out, Path(f"{out}-few")):
        shutil.rmtree(folder, ignore_errors=True)
    return measured(sys.executable, "-c", OURS, source, few, out)


def copied(target: Path, parts: dict[str, Path], most: int | None = None) -> Path:
    """A folder of class folders with the files of each, or the first few."""
    shutil.rmtree(target, ignore_errors=True)
    for label, folder in parts.items():
        (target / label).mkdir(parents=True)
        for file in sorted(p for p in folder.iterdir() if p.is_file())[:most]:
            (target / label / file.name).write_bytes(file.read_bytes())
    return target


def main() -> None:
    """Take turns, compare medians, then audit CIFAR-10."""
    options = arguments(__doc__, repeats={"type": int, "default": 3})
    root, repeats = data_root(), 1 if options.quick else options.repeats
    classes = {p.name: p for p in sorted((root / "trashnet").iterdir()) if p.is_dir()} | {"photos": root / "photos"}
    source = copied(SCRATCH / "audit-data", classes, 40 if options.quick else None)
    few = copied(SCRATCH / "audit-few", dict(list(classes.items())[:2]), 5)
    n = sum(1 for p in source.rglob("*") if p.is_file())
    fingerprint(source)  # warms the file cache
    seen: dict[str, list[Measured]] = {name: [] for name in (*BOUNDS, "anmok")}
    for turn in range(repeats):
        for name in (seen if turn % 2 else reversed(seen)):  # fmt: skip
            scratch = SCRATCH / f"audit-{name}"
            shutil.rmtree(scratch, ignore_errors=True)
            peer = (PEER, ROOT / "benchmarks" / "peer_audit.py", name, source, scratch)
            seen[name].append(ours(source, few) if name == "anmok" else measured(*peer))
    figures = []
    for name in seen:
        figures.append(figure(name, "whole audit, imports left out", "images/s", [n / m.work for m in seen[name]]))
    for name, bound in BOUNDS.items():
        against = (name, statistics.median(n / m.work for m in seen[name]))
        speeds = [n / m.work for m in seen["anmok"]]
        figures.append(figure("anmok", "whole audit", "images/s", speeds, against=against, bound=bound))
    for name in seen:
        figures.append(figure(name, "wall of the process", "s", [m.wall for m in seen[name]]))
    figures.append(figure("anmok", "peak memory", "GiB", [m.peak for m in seen["anmok"]], bound="<= 1"))
    if not options.quick:
        many = ours(root / "cifar10", few)
        note = "60,000 images from Parquet, whose bytes are held too"
        figures.append(figure("anmok, CIFAR-10", "whole audit", "images/s", [60_000 / many.work], note=note))
        figures.append(figure("anmok, CIFAR-10", "peak memory", "GiB", [many.peak], bound="<= 1", note=note))
    names = ("cleanvision", "fastdup", "imagededup")
    code = (
        f"import json; from importlib.metadata import version as v; print(json.dumps({{n: v(n) for n in {names!r}}}))"
    )
    found = subprocess.run([str(PEER), "-c", code], check=True, capture_output=True, text=True).stdout
    where = context(f"trashnet + photos {fingerprint(source)}, {n} images", json.loads(found))
    finish(write("audit", figures, where, options.quick), options.quick)


if __name__ == "__main__":
    main()
