"""What an inspection is of: a model, and of a run what it was validated on."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.core.errors import DataError, UsageError
from anmok.core.types import Predictions
from anmok.data.saved import require_root
from anmok.data.table import Table
from anmok.stages.run import Run

if TYPE_CHECKING:
    from anmok.deploy.model import Model
    from anmok.models.encoder import Encoder


@dataclass(frozen=True, eq=False)
class Subject:
    """What is inspected: the model, its name and folder, and of a run its validation table and predictions."""

    model: Model
    name: str
    folder: Path
    table: Table | None = None
    predictions: Predictions | None = None
    allow_truncated: bool = False


def subject_of(what: Any, device: str, needs_images: bool) -> Subject:
    """The model and what its run knows.  UsageError where images are needed and there are none."""
    from anmok.stages.load import load

    run = what if isinstance(what, Run) else None
    if run is None and isinstance(what, str | Path) and (Path(what) / "config.toml").is_file():
        run = Run(what)
    if run is None:
        model = what if hasattr(what, "classifier") else load(what, device=device)
        if needs_images:
            raise UsageError(
                "a model folder has no images of its own.", where=str(model.path), code="images",
                remedy="Name some: --images a.jpg b.jpg, or a folder of images; or inspect the run it came from.",
            )  # fmt: skip
        path = model.path.absolute()
        name = path.parent.name if path.name == "model" else path.name  # of a run
        return Subject(model, name, model.path.with_name(f"{model.path.name}-inspect"))
    model = load(run, device=device)
    if not (run.path / "predictions" / "val.parquet").is_file():
        if needs_images:
            raise UsageError(
                "this run has no validation images.", where=str(run.path), remedy="Name some: --images a.jpg b.jpg.",
                code="images",
            )  # fmt: skip
        return Subject(model, run.path.name, run.path / "inspect")
    table = run.table.labelled().where(split="val")
    if needs_images:
        require_root(table, str(run.path), run.moved)
    truncated = run.config.data.allow_truncated
    return Subject(model, run.path.name, run.path / "inspect", table, run.predictions("val"), truncated)


def encoder_of(model: Model) -> tuple[Encoder | None, str]:
    """A copy of the network without its head, or None and why there is none."""
    from anmok.models.encoder import Encoder

    c, p = model.classifier, model.preprocess
    try:
        return Encoder(copy.deepcopy(c.backbone), c.outputs, p.image_size, p.depth).eval(), ""
    except (UsageError, DataError) as error:
        return None, error.message
