"""A network's training within its time: as many whole epochs as the minutes allow by its own measured speed."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anmok.augment.accept import keep
from anmok.core.artifacts import save_predictions
from anmok.core.config import dump_toml
from anmok.core.errors import UsageError
from anmok.core.events import Events, read_events
from anmok.core.files import locked, make_folder, read_json, write_atomic, write_json
from anmok.core.types import Predictions
from anmok.data.batches import Loader
from anmok.data.table import Table
from anmok.engine import checkpoint
from anmok.engine.predict import predict
from anmok.stages.config import TrainConfig
from anmok.stages.job import Job, run_job
from anmok.stages.learn import learn, set_up, validate
from anmok.stages.run import Run
from anmok.stages.signals import polite_stop
from anmok.stages.tune_trial import hushed, rehearse

REHEARSAL = 0.05  # of the time, at most, to measure the speed; not counted
BEST = 0.5  # of the epochs that are thought to be the best so far, whose weights are stored


def train_run(folder: Path, config: TrainConfig, table: Table) -> tuple[Run, bool]:
    """The run in `folder`, begun or gone on with to its end, and whether it has learned anything in this process.

    It is an ordinary run, which `anmok train --resume` can go on with too.

    UsageError (code budget) where the minutes do not do for one epoch; Interrupted, resumable, when asked to stop.
    """
    with locked(folder), polite_stop() as stop, hushed():
        if not (folder / "plan.json").is_file():
            write_run(folder, config, table)
            job = set_up(folder, config, None)
            try:
                settle(job)
            except UsageError:
                _forget(folder)
                raise
            finally:
                close(job)
        run, began = Run(folder), time.monotonic()
        if run.finished:
            return run, False
        events = Events(folder / "events.jsonl")
        try:
            learn(folder, config, None, events, stop)
            events.log("end", seconds=round(time.monotonic() - began, 3))
        finally:
            events.close()
    return run, True


def train_share(folder: Path, config: TrainConfig, table: Table, plan: dict[str, Any]) -> Predictions:
    """Test predictions of a training on a part of the images: as many epochs, in the same form, as the whole one.

    Its folder is a slim run: config.toml, table.parquet, plan.json, events.jsonl, predictions/test.parquet.
    """
    with locked(folder), polite_stop() as stop, hushed():
        if not (folder / "plan.json").is_file():
            write_run(folder, config, table)
            write_json(folder / "plan.json", plan)
        job = set_up(folder, config, None)
        events = Events(folder / "events.jsonl")
        try:
            run_job(job, events, stop, validate, lambda job: None)
            rows = table.labelled().where(split="test")
            loader = Loader(
                rows, preprocess=job.preprocess, batch_size=config.batch_size, threads=config.runtime.threads,
                allow_truncated=config.data.allow_truncated,
            )  # fmt: skip
            exact = job.runtime.form("fp32", job.runtime.channels_last)  # as the whole training's model computes
            predictions = predict(job.judged.model, loader.epoch(), exact, len(rows), "test")
            events.log("end")
        finally:
            events.close()
            close(job)
    save_predictions(predictions, folder / "predictions" / "test.parquet")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # its weights serve nothing
    return predictions


def write_run(folder: Path, config: TrainConfig, table: Table) -> None:
    """What a run is begun with; what one that never learned has left goes."""
    for name in ("checkpoints", "predictions"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "events.jsonl").unlink(missing_ok=True)
    make_folder(folder)
    write_atomic(folder / "config.toml", "# anmok compare\n" + dump_toml(config))
    keep(config.augment, folder)
    table.save(folder / "table.parquet")


def settle(job: Job, clock: Callable[[], float] = time.perf_counter) -> int:
    """Choose the epochs that fill the minutes, by rehearsing steps, validation and the storing of weights.

    They are kept in plan.json, from where the run takes them. With `epochs` set they stay.  UsageError (code budget)
    where the minutes do not do for one.
    """
    config, path = job.config, job.folder / "plan.json"
    if config.epochs is not None or config.minutes is None:
        return job.epochs
    seconds = 60 * config.minutes
    rehearse(job, 0)  # the first steps are slow, and pixels are read
    train_s = rehearse(job, REHEARSAL * seconds)
    began = clock()
    if job.val is not None:
        for _ in job.val.epoch():  # pixels are read
            pass
        began = clock()
        predict(job.judged.model, job.val.epoch(), job.runtime, len(job.val.table), "validate")
    validated = clock()
    checkpoint.save(job.folder / "rehearsal", 0, job.judged.state_dict(), {}, name="rehearsal")
    stored = clock()
    shutil.rmtree(job.folder / "rehearsal", ignore_errors=True)
    epoch_s = train_s + (validated - began) + BEST * (stored - validated)
    epochs = math.floor(seconds / epoch_s)
    if epochs < 1:
        raise UsageError(
            f"{config.minutes:g} minutes are too few for one epoch, which takes about {epoch_s / 60:.1f}.",
            where="--minutes", remedy="Allow more, or choose a smaller --image-size.", code="budget",
        )  # fmt: skip
    write_json(path, read_json(path) | {"epochs": epochs, "steps": None, "budget": None})  # whole epochs
    return epochs


def close(job: Job) -> None:
    """Give back what is kept of pixels."""
    job.train.close()
    if job.val is not None:
        job.val.close()


def _forget(folder: Path) -> None:
    """Remove what a run has written that will not begin."""
    for name in ("config.toml", "table.parquet", "plan.json", "augment.toml", "augment.json"):
        (folder / name).unlink(missing_ok=True)


def told(folder: Path) -> dict[str, Any]:
    """{epochs, train_seconds, train_images_per_s} of a finished run, over its training steps, data included."""
    epochs = list(read_events(folder / "events.jsonl", "epoch"))
    seconds = sum(event["seconds"] for event in epochs)
    images = sum(event["seconds"] * event["images_per_s"] for event in epochs)
    speed = images / max(1e-9, seconds)
    return {"epochs": len(epochs), "train_seconds": round(seconds, 3), "train_images_per_s": speed}
