"""`anmok runs`: what there is below a folder, with its scores."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from anmok.core.config import read_toml
from anmok.core.errors import AnmokError, UsageError, near_path
from anmok.core.events import read_events
from anmok.core.files import read_json
from anmok.report.runs_text import runs_html, runs_lines
from anmok.stages.run_folder import RUNS

DEEPEST = 3  # folders below the one that is named: runs/compare-1/lenet
# What a folder is by the file that it begins with; the first that is there counts.
KINDS = {"ensemble.toml": "ensemble", "crossval.toml": "crossval", "config.toml": "run"}
MARKS = {
    rb"\[compare\]": "compare",
    rb"rungs = ": "tune",
    rb"lowest = ": "find-lr",
    rb"\[objective\]\n[^\[]*?name = \"(?!supervised|fixmatch)": "pretrain",
}
DONE = {
    "ensemble": "ensemble.json", "crossval": "evaluation.json", "compare": "compare.json", "tune": "best.toml",
    "find-lr": "lr.csv",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A run: path below the folder, kind, network, first digits of its table's fingerprint, state, scores, when, bytes.

    val, test: {value, low, high} of the accuracy, or None where it was not evaluated; of a cross-validation val is that
    of the out-of-fold images.  when: seconds since the epoch of the last event or write.
    """

    path: str
    kind: str
    model: str
    data: str
    state: str
    val: dict[str, float] | None
    test: dict[str, float] | None
    when: float
    size: int

    @property
    def date(self) -> str:
        """Day and minute of the last change, by the local clock."""
        return datetime.fromtimestamp(self.when).astimezone().strftime("%Y-%m-%d %H:%M")


@dataclass(frozen=True)
class RunTable:
    """The runs below a folder, the newest last."""

    folder: Path
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return {"folder": str(self.folder), "runs": [asdict(row) | {"date": row.date} for row in self.rows]}

    def __repr__(self) -> str:
        return "\n".join(runs_lines(str(self.folder), self.cells()))

    def _repr_html_(self) -> str:
        return runs_html(self.cells())

    def cells(self) -> list[dict[str, Any]]:
        """What is shown of each."""
        return [asdict(row) | {"date": row.date} for row in self.rows]


def runs(folder: Path | str = RUNS) -> RunTable:
    """The runs, ensembles and cross-validations below a folder, read from their files; a run itself is one row.

    A damaged run is a row that says so.  UsageError where there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(
            "no such folder.", where=str(folder), code="source",
            remedy=f"{near_path(folder)}Runs lie in {RUNS} unless --out named another place.",
        )  # fmt: skip
    rows = [row_of(path, folder) for path in found_in(folder, DEEPEST)]
    return RunTable(folder, tuple(sorted(rows, key=lambda row: (row.when, row.path))))


def found_in(folder: Path, deep: int) -> Iterator[Path]:
    """The folders of runs, those inside a cross-validation or a comparison too."""
    if kind_of(folder):
        yield folder
    if deep:
        for inner in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
            if not (inner.name == "model" and kind_of(folder)):
                yield from found_in(inner, deep - 1)


def kind_of(folder: Path) -> str:
    """run, ensemble, crossval; pretrain, compare, tune, find-lr by settings of their own; '' where it is none."""
    kind = next((kind for name, kind in KINDS.items() if (folder / name).is_file()), "")
    if kind != "run":
        return kind
    text = b"\n" + (folder / "config.toml").read_bytes()
    return next((name for mark, name in MARKS.items() if re.search(b"\n" + mark, text)), kind)


def row_of(path: Path, folder: Path) -> Row:
    """What the files of a run say of it."""
    name = "." if path == folder else path.relative_to(folder).as_posix()
    kind, size = kind_of(path), sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    when = max(p.stat().st_mtime for p in (path, *path.glob("*.*")) if p.exists())
    try:
        model, data = model_of(path), fingerprint_of(path / "table.parquet")
        first = "oof" if (path / "evaluation-oof.json").is_file() else "val"
        val, test = (accuracy_of(path / f"evaluation-{split}.json") for split in (first, "test"))
    except (AnmokError, KeyError, TypeError) as error:
        return Row(name, kind, "", "", f"damaged: {error}", None, None, when, size)
    return Row(name, kind, model, data[:8], state_of(path, kind), val, test, when, size)


def model_of(path: Path) -> str:
    """The network, of an ensemble how many and how."""
    if (path / "ensemble.json").is_file():
        facts = read_json(path / "ensemble.json")
        return f"{facts['how']} of {len(facts['members'])}"
    config = read_toml(next(path / name for name in KINDS if (path / name).is_file()))
    return str(config.get("model", {}).get("name", ""))


def state_of(path: Path, kind: str) -> str:
    """finished, or how far it is."""
    if kind in DONE:
        return "finished" if (path / DONE[kind]).is_file() else "not finished"
    if any(True for _ in read_events(path / "events.jsonl", "end")):
        return "finished"
    epochs = sum(1 for _ in read_events(path / "events.jsonl", "epoch"))
    return f"{epochs} epochs so far" if epochs else "not begun"


def fingerprint_of(table: Path) -> str:
    """The fingerprint that a saved table says of itself, '' where there is no table; its images are not read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not table.is_file():
        return ""
    try:
        about = json.loads((pq.read_schema(table).metadata or {})[b"anmok"])
        return str(about["fingerprint"])
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return "damaged"


def accuracy_of(file: Path) -> dict[str, float] | None:
    """The accuracy of an evaluation with its interval, None where there is none."""
    if not file.is_file():
        return None
    found = read_json(file)["metrics"]["accuracy"]
    return None if found["value"] is None else {key: float(found[key]) for key in ("value", "low", "high")}
