"""A network trained again as a run was, on a round's table: begun, gone on with, or found finished."""

from __future__ import annotations

from pathlib import Path

from anmok.augment.accept import kept
from anmok.augment.config import OBJECT
from anmok.core.errors import UsageError
from anmok.core.files import make_folder
from anmok.core.progress import say
from anmok.data.config import LabelsConfig
from anmok.data.table import Table
from anmok.stages.config import TrainConfig
from anmok.stages.run import Run
from anmok.stages.train import start, train


def refuse_objects(run: Run) -> None:
    """UsageError where the run was given objects that nobody can build again by their names."""
    for where, name in (("model", run.config.model.name), ("augment", run.config.augment.policy)):
        if name.startswith(OBJECT):
            raise UsageError(
                f"the run was given an object ({name.removeprefix(OBJECT)}), so it cannot be trained again.",
                where=where, remedy="Take --rounds 1 and train on the new table yourself.", code="setting",
            )  # fmt: skip


def retrained(run: Run, table: Table, folder: Path) -> Run:
    """The run in `folder`, trained on the table with the settings of `run`, its split as it stands.

    One that is there already is gone on with, or taken as it is.  UsageError where it is of another table.
    """
    if (folder / "config.toml").is_file() and (folder / "table.parquet").is_file():
        there = Run(folder)
        if table.fingerprint not in there.table.parents:
            raise UsageError(
                "this run was trained on another selection.", where=str(folder), code="exists",
                remedy="Remove the folder, or name another --out.",
            )  # fmt: skip
        return there if there.finished else train(resume=folder)
    make_folder(folder)
    say(f"training on {len(table.where('train')):,} images: {folder}")
    return start(folder, table, again(run))


def again(run: Run) -> TrainConfig:
    """The settings of a run for its own table: labels are named, the split is given, the policy's copy is the run's."""
    config = run.config
    own = kept(config.augment, run.path)
    augment = config.augment.model_copy(update={"policy": str(own.absolute())}) if own.is_file() else config.augment
    known = {"task": "auto", "positive": None, "image_root": None, "hierarchy": None}  # the table has them already
    return config.model_copy(update={
        "split": config.split.model_copy(update={"given": "honour"}),
        "labels": LabelsConfig(),
        "data": config.data.model_copy(update=known),
        "augment": augment,
    })  # fmt: skip
