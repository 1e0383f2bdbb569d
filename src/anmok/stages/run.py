"""A run: the folder that a training leaves, and what can be asked of it."""

from __future__ import annotations

import html
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.core.artifacts import load_predictions
from anmok.core.config import read_toml, resolve
from anmok.core.errors import DataError, UsageError
from anmok.core.events import read_events
from anmok.core.files import read_json
from anmok.core.optional import need
from anmok.core.types import Evaluation, Predictions
from anmok.data.saved import MOVED
from anmok.data.table import Table
from anmok.stages.config import TrainConfig

if TYPE_CHECKING:
    from anmok.deploy.model import Model


def kept_epoch(folder: Path) -> int | None:
    """The epoch whose weights the run in `folder` kept, from 1 on; None before any was."""
    best = next((folder / "checkpoints").glob("best-*"), None)
    return None if best is None else int(read_json(best / "state.json")["epoch"])


class Run:
    """A run folder. Everything is read when it is asked for.

    module: the torch module, where the run's model was given as an object that cannot be built by name.
    """

    def __init__(self, path: Path | str, module: Any = None):
        self.path, self._module = Path(path), module
        if not (self.path / "config.toml").is_file():
            raise UsageError(
                "no run here.", where=str(path), remedy="Expected a folder that `anmok train` wrote.", code="run"
            )

    @cached_property
    def config(self) -> TrainConfig:
        """The complete configuration."""
        return resolve(TrainConfig, read_toml(self.path / "config.toml"))

    @property
    def next(self) -> str:
        """The command that a user wants after the training."""
        return f"anmok evaluate {self.path}"

    @cached_property
    def table(self) -> Table:
        """The locked table."""
        return Table.load(self.path / "table.parquet")

    @property
    def finished(self) -> bool:
        """Whether the training came to its end."""
        return any(True for _ in read_events(self.path / "events.jsonl", "end"))

    @property
    def moved(self) -> str:
        """What to do where the images are no longer where the table says."""
        return MOVED.format(run=self.path)

    @cached_property
    def model(self) -> Model:
        """The model with the best-validation weights, on the CPU."""
        return self.load_model()

    def load_model(self, device: str = "cpu") -> Model:
        """The model with the best-validation weights.  DataError if the run has not come that far."""
        need("torch", "train")
        from anmok.deploy.bundle import load_model

        if not (self.path / "model").is_dir():
            raise DataError(
                "this run has no model yet: it was stopped before the end.", where=str(self.path),
                remedy=f"Go on with: anmok train --resume {self.path}", code="unfinished",
            )  # fmt: skip
        return load_model(self.path / "model", module=self._module, device=device)

    @property
    def history(self) -> list[dict[str, Any]]:
        """The epoch events."""
        return list(read_events(self.path / "events.jsonl", "epoch"))

    def predictions(self, split: str = "val") -> Predictions:
        """The stored predictions of a split."""
        return load_predictions(self.path / "predictions" / f"{split}.parquet")

    def evaluation(self, split: str = "val") -> Evaluation:
        """The stored evaluation of a split."""
        return Evaluation(read_json(self.path / f"evaluation-{split}.json"))

    def predict(self, images: Any, **options: Any) -> Predictions:
        """Predictions for images given as paths, bytes, arrays or PIL images; see Model.predict."""
        return self.model.predict(images, **options)

    def __repr__(self) -> str:
        state = "finished" if self.finished else "not finished"
        lines = [f"Run {self.path} ({self.config.model.name}, {state}, {len(self.history)} epochs)"]
        if (self.path / "evaluation-val.json").exists():
            lines.append(repr(self.evaluation("val")))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"
