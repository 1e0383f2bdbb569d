"""An ensemble's folder as a run: it has a table, predictions, evaluations and a model, and learned nothing itself."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from anmok.core.config import read_toml, resolve
from anmok.core.errors import UsageError, near_path
from anmok.core.files import read_json
from anmok.core.optional import need
from anmok.core.types import Evaluation, Predictions
from anmok.data.table import Table
from anmok.report.ensemble_text import ensemble_lines
from anmok.stages.config import TrainConfig
from anmok.stages.ensemble_model import FILE, load_ensemble
from anmok.stages.run import Run

MOVED = (
    "Bring them back, or say of a member where they lie now, which the ensemble follows: "
    "anmok train --resume {run} --image-root FOLDER."
)
CONFIG = "ensemble.toml"  # the settings of the first member, by which images are read


class EnsembleRun(Run):
    """The folder that `anmok ensemble` leaves: ensemble.toml, ensemble.json, table.parquet, predictions, model/."""

    def __init__(self, path: Path | str):
        self.path, self._module = Path(path), None
        if not (self.path / CONFIG).is_file():
            raise UsageError(
                "no ensemble here.", where=str(path), code="run",
                remedy="Expected a folder that `anmok ensemble` wrote.",
            )  # fmt: skip

    @cached_property
    def config(self) -> TrainConfig:
        """The settings by which images are read."""
        return resolve(TrainConfig, read_toml(self.path / CONFIG))

    @cached_property
    def table(self) -> Table:
        """The locked table; where its images have moved, a member's that knows where the same images lie now."""
        own = Table.load(self.path / "table.parquet")
        if Path(own.root).is_dir():
            return own
        images = set(own.rows["image"].to_list())
        for folder in self._members():
            if (folder / "table.parquet").is_file():
                other = Table.load(folder / "table.parquet")
                if Path(other.root).is_dir() and images <= set(other.rows["image"].to_list()):
                    return replace(own, root=other.root)
        return own

    @property
    def moved(self) -> str:
        """What to do where the images are no longer where the table says: an ensemble follows its members."""
        member = next(iter(self._members()), self.path)
        return MOVED.format(run=member)

    def _members(self) -> list[Path]:
        """The folders of the members' runs."""
        return [Path(os.path.normpath(self.path / "model" / path)).parent for path in self.facts.get("paths") or ()]

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The content of ensemble.json: how, members, weights, latency_ms, gain."""
        found: dict[str, Any] = read_json(self.path / FILE)
        return found

    @property
    def finished(self) -> bool:
        """An ensemble is written whole."""
        return True

    def load_model(self, device: str = "cpu") -> Any:
        """The EnsembleModel, or of a soup the Model that it is."""
        need("torch", "train")
        folder = self.path / "model"
        if (folder / FILE).is_file():
            return load_ensemble(folder, device)
        from anmok.deploy.bundle import load_model

        return load_model(folder, device=device)

    def __repr__(self) -> str:
        lines = [f"Ensemble {self.path}", *ensemble_lines(self.facts)]
        for split in ("oof", "val"):
            if (self.path / f"evaluation-{split}.json").exists():
                lines.append(repr(self.evaluation(split)))
                break
        return "\n".join(lines)


def find_run(what: Any) -> Run:
    """A Run, or the run or ensemble in a folder.  UsageError that names the nearest where there is none."""
    if isinstance(what, Run):
        return what
    path = Path(what)
    if (path / CONFIG).is_file():
        return EnsembleRun(path)
    if (path / "config.toml").is_file():
        return Run(path)
    near = "" if path.exists() else near_path(path)
    raise UsageError(
        "no run here.", where=str(path), code="run",
        remedy=f"{near}Expected a folder that `anmok train` or `anmok ensemble` wrote.",
    )  # fmt: skip


def again(run: Run) -> Run:
    """The same run, its files read anew."""
    return EnsembleRun(run.path) if isinstance(run, EnsembleRun) else Run(run.path, run._module)


def report_of_any(
    run: Run, split: str, evaluation: Evaluation, predictions: Predictions, out: Path | None = None,
    language: str | None = None,
) -> Path:  # fmt: skip
    """Write the report of a split of a run or of an ensemble."""
    if isinstance(run, EnsembleRun):
        from anmok.stages.ensemble_report import ensemble_report

        return ensemble_report(run, split, evaluation, predictions, out, language)
    from anmok.stages.report import report_of

    return report_of(run, split, evaluation, predictions, out, language)
