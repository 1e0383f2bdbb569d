"""What every benchmark shares: data, machine, versions, medians, and the form of a result."""

from __future__ import annotations

import argparse
import csv
import datetime
import hashlib
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from anmok.core.files import write_json
from anmok.core.machine import cores, cpu_flags, cpu_name, memory_bytes, versions

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SCRATCH = ROOT / "runs" / "bench"  # git-ignored: run folders, and the results of --quick
BIN = Path(sys.executable).parent
ANMOK = BIN / "anmok"
PEER = ROOT / "benchmarks" / ".peers" / "bin" / "python"
NAMED = ("torch", "torchvision", "timm", "numpy", "pillow", "simplejpeg", "opencv-python-headless", "cyclopts",
         "pydantic")  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """One measured quantity of one subject; `values` are its repeats, `value` their median unless said otherwise.

    ratio: to `against` (ratio of medians). bound: what the project promises, as '<= 0.35' or '>= 2', on the ratio
    where there is one, on the value otherwise; met: whether it is.
    """

    subject: str
    quantity: str
    unit: str
    value: float
    low: float | None = None
    high: float | None = None
    repeats: int = 1
    values: str = ""
    against: str = ""
    ratio: float | None = None
    bound: str = ""
    met: str = ""
    seeds: str = ""
    note: str = ""


def figure(
    subject: str, quantity: str, unit: str, values: Sequence[float], *, against: tuple[str, float] | None = None,
    bound: str = "", seeds: Sequence[int] = (), note: str = "",
) -> Figure:  # fmt: skip
    """The median of the repeats, their range, the ratio to (name, median) of a peer, and whether the bound is met."""
    value = statistics.median(values)
    ratio = value / against[1] if against else None
    return Figure(
        subject, quantity, unit, rounded(value), rounded(min(values)), rounded(max(values)), len(values),
        " ".join(str(rounded(v)) for v in values), against[0] if against else "",
        None if ratio is None else rounded(ratio), bound, met(bound, value if ratio is None else ratio),
        " ".join(map(str, seeds)), note,
    )  # fmt: skip


def met(bound: str, value: float) -> str:
    """'yes' or 'no' for a bound such as '>= 2', '' for none."""
    if not bound:
        return ""
    sign, limit = bound.split()
    return "yes" if (value <= float(limit) if sign == "<=" else value >= float(limit)) else "no"


def rounded(value: float) -> float:
    """Four significant digits, or whole numbers above that; what is infinite stays so."""
    if math.isinf(value):
        return value
    return float(f"{value:.4g}") if abs(value) < 1000 else float(round(value))


def arguments(doc: str | None, **options: dict[str, Any]) -> argparse.Namespace:
    """The script's options; every script takes --quick."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="Smallest settings; results go to runs/bench, not here.")
    for name, keywords in options.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **keywords)
    return parser.parse_args()


def data_root() -> Path:
    """$ANMOK_DATA, or ../shared/data beside the project; ends the script if neither is there."""
    root = Path(os.environ.get("ANMOK_DATA") or ROOT.parent / "shared" / "data").resolve()
    if not root.is_dir():
        raise SystemExit("no data: set ANMOK_DATA to the folder that holds trashnet/ and cifar10/")
    return root


def fingerprint(folder: Path) -> str:
    """16 hex digits of SHA-256 over the names and contents of a folder's files; reading them warms the file cache."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment without what changes speed or behaviour behind our back."""
    drop = ("OMP_", "MKL_", "OPENBLAS_", "KMP_", "PYTHON", "ANMOK_", "TORCH", "DNNL_", "ONEDNN_", "RANK", "WORLD_SIZE")
    return {k: v for k, v in os.environ.items() if not k.startswith(drop)} | extra


def run(*command: str | Path, show: bool = False, **extra: str) -> float:
    """Wall seconds of a command; ends the script with its output if it fails."""
    began = time.perf_counter()
    sink = None if show else subprocess.PIPE
    words = [str(c) for c in command]
    done = subprocess.run(words, env=clean_environment(**extra), stdout=sink, stderr=sink, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        tail = "" if show else f"\n{(done.stdout + done.stderr)[-3000:]}"
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}{tail}")
    return seconds


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text())


@dataclass(frozen=True)
class Epoch:
    """An epoch of a run: its training images, seconds of training alone, and wall seconds with validation.

    The wall of the first epoch counts from the run's start event (after planning), that of a later one from the end of
    the epoch before, so that storing weights and checkpoints is in it.
    """

    images: int
    train_s: float
    wall_s: float
    wait_share: float


def read_run(folder: Path) -> tuple[dict[str, Any], list[Epoch]]:
    """The start event of a run and its epochs, of events.jsonl."""
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    start = next(e for e in events if e["event"] == "start")
    epochs, before = [], start["t"]
    for e in (e for e in events if e["event"] == "epoch"):
        images = round(e["images_per_s"] * e["seconds"])
        epochs.append(Epoch(images, e["seconds"], e["t"] - before, e["wait_share"]))
        before = e["t"]
    return start, epochs


def fresh(name: str) -> Path:
    """A run folder of that name in runs/bench that does not exist."""
    folder = SCRATCH / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def peer_versions() -> dict[str, str]:
    """Versions in the peers' environment, of its own metadata."""
    code = (
        "import json, platform; from importlib.metadata import version as v; "
        "print(json.dumps({n: v(n) for n in ('fastai', 'torch', 'torchvision', 'numpy', 'pillow')}"
        " | {'python': platform.python_version()}))"
    )
    return json.loads(subprocess.run([str(PEER), "-c", code], check=True, capture_output=True, text=True).stdout)


def context(data: str, peers: dict[str, str] | None = None) -> dict[str, str]:
    """What a result is worth nothing without: data, machine, versions, date."""
    from anmok import __version__

    def text(found: dict[str, str]) -> str:
        return " ".join(f"{name}={version}" for name, version in found.items())

    return {
        "data": data,
        "machine": f"{cpu_name()}; {cores()} cores; {memory_bytes() / 2**30:.0f} GiB; {' '.join(cpu_flags())}",
        "versions": f"anmok={__version__} {text(versions(NAMED))}",
        "peers": text(peers or {}),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


class Kept:
    """What long runs found, by name, stored one by one in runs/bench/NAME.json: a second call goes on.

    what: beside the context, all that the findings depend on; others begin anew.
    """

    def __init__(self, name: str, where: dict[str, str], what: str):
        self._file = SCRATCH / f"{name}.json"
        self._key = f"{where['data']} {where['machine']} {where['versions']} {where['peers']} {what}"
        self.known: dict[str, dict[str, Any]] = self._stored().get(self._key, {})

    def of(self, name: str, do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What a run found, run now if it is not known; printed."""
        if name not in self.known:
            self.known[name] = do()
            stored = self._stored()  # anew: another process may have stored its own meanwhile
            write_json(self._file, stored | {self._key: stored.get(self._key, {}) | {name: self.known[name]}})
        print(f"{name}: {self.known[name]}", flush=True)
        return self.known[name]

    def _stored(self) -> dict[str, dict[str, Any]]:
        return read_json(self._file) if self._file.is_file() else {}


def write(name: str, figures: Sequence[Figure], where: dict[str, str], quick: bool) -> bool:
    """Write results/NAME.csv (of a quick run: runs/bench/quick/NAME.csv), print it, say whether all bounds are met."""
    folder = SCRATCH / "quick" if quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    columns = [f.name for f in fields(Figure)]
    with (folder / f"{name}.csv").open("w", newline="") as handle:
        table = csv.DictWriter(handle, [*columns, *where], lineterminator="\n")
        table.writeheader()
        for row in figures:
            table.writerow(asdict(row) | where)
    for row in figures:
        ratio = "" if row.ratio is None else f"  = {row.ratio:g} x {row.against}"
        bound = f"  ({row.bound}: {'met' if row.met == 'yes' else 'NOT MET'})" if row.bound else ""
        print(f"{row.subject:<28} {row.quantity:<36} {row.value:g} {row.unit}{ratio}{bound}", flush=True)
    return all(row.met != "no" for row in figures)


def stored_rows(name: str, where: dict[str, str], quick: bool) -> list[dict[str, Any]]:
    """The rows of results/NAME.csv that were measured with the same data, machine and versions."""
    path = (SCRATCH / "quick" if quick else RESULTS) / f"{name}.csv"
    if not path.is_file():
        return []
    with path.open() as handle:
        rows = list(csv.DictReader(handle))
    return [r for r in rows if all(r[k] == where[k] for k in ("data", "machine", "versions"))]


def store_rows(name: str, rows: Sequence[dict[str, Any]], quick: bool) -> None:
    """Write results/NAME.csv anew; a column for whatever a row has, blank where another has it not."""
    path = (SCRATCH / "quick" if quick else RESULTS) / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(key for row in sorted(rows, key=len, reverse=True) for key in row))
    with path.open("w", newline="") as handle:
        table = csv.DictWriter(handle, columns, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def finish(ok: bool, quick: bool) -> None:
    """End with 1 where a bound is missed; a quick run judges nothing."""
    raise SystemExit(0 if ok or quick else 1)
