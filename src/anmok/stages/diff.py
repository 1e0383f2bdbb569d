"""`anmok diff A B`: what differs between two runs, in configuration, data and scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anmok.core.config import read_toml
from anmok.core.errors import DataError, UsageError, near_path
from anmok.core.events import redact
from anmok.core.files import read_json
from anmok.data.compare import difference
from anmok.data.table import Table
from anmok.report.diff_text import diff_html, diff_lines
from anmok.stages.paired import paired
from anmok.stages.runs import KINDS

SPLITS = ("val", "oof", "test")
SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece")


@dataclass(frozen=True)
class Difference:
    """What differs: settings {path: (a's, b's)}, None where one has none; data as sentences, and fingerprints.

    scores: {split: {metric: (a's, b's)}} of the splits that both have, each {value, low, high}; verdict: what a paired
    test says of them, '' where their images differ.
    """

    a: str
    b: str
    settings: dict[str, tuple[Any, Any]]
    fingerprints: tuple[str, str]
    data: tuple[str, ...]
    scores: dict[str, dict[str, tuple[Any, Any]]]
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return asdict(self)

    def __repr__(self) -> str:
        return "\n".join(diff_lines(self.to_dict()))

    def _repr_html_(self) -> str:
        return diff_html(self.to_dict())


def diff(a: Path | str, b: Path | str) -> Difference:
    """Compare the folders of two runs, ensembles or cross-validations; images are not read.

    UsageError where one is no run.
    """
    paths = [_checked(Path(getattr(p, "path", p))) for p in (a, b)]
    tables = [Table.load(path / "table.parquet") for path in paths]
    found = scores(*paths)
    return Difference(
        str(paths[0]), str(paths[1]), settings(*map(_settings, paths)),
        (tables[0].fingerprint, tables[1].fingerprint), tuple(difference(*tables).splitlines()), found,
        _verdict(paths, found),
    )  # fmt: skip


def settings(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The settings that differ, by path; None where one has none."""
    names = [*a, *(name for name in b if name not in a)]
    return {name: (a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)}


def scores(a: Path, b: Path) -> dict[str, dict[str, tuple[Any, Any]]]:
    """The scores of every split that both were evaluated on."""
    out = {}
    for split in SPLITS:
        files = [path / f"evaluation-{split}.json" for path in (a, b)]
        if all(file.is_file() for file in files):
            first, second = (read_json(file)["metrics"] for file in files)
            out[split] = {m: (first[m], second[m]) for m in SCORES if m in first and m in second}
    return out


def _settings(path: Path) -> dict[str, Any]:
    """{path of a setting: its value}, without secrets."""
    config = read_toml(next(path / name for name in KINDS if (path / name).is_file()))

    def flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in node.items():
            out |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
        return out

    out = {name: redact(value, name) for name, value in flat(config).items()}
    if (path / "ensemble.json").is_file():
        facts = read_json(path / "ensemble.json")
        out |= {f"ensemble.{key}": facts.get(key) for key in ("how", "members", "weights")}
    return out


def _verdict(paths: list[Path], found: Mapping[str, Any]) -> str:
    """What a paired test says of the last split that both have; '' where it cannot compare."""
    for split in reversed(list(found)):
        if all((path / "predictions" / f"{split}.parquet").is_file() for path in paths):
            try:
                compared = paired([str(path) for path in paths], split=split)
            except (DataError, UsageError) as error:
                return f"no paired test: {error}"
            return repr(compared).partition("\n")[0]
    return ""


def _checked(path: Path) -> Path:
    if any((path / name).is_file() for name in KINDS) and (path / "table.parquet").is_file():
        return path
    near = "" if path.exists() else near_path(path)
    raise UsageError("no run here.", where=str(path), code="run", remedy=f"{near}Expected a folder of a run.")
