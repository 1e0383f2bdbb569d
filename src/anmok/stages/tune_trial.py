"""One trial of a search: a training by the machinery of `anmok train`, as long as its time allows, scored once.

Its folder is a slim run: config.toml, table.parquet, plan.json, events.jsonl, predictions/val.parquet, and no model.
"""

from __future__ import annotations

import copy
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from anmok.augment.accept import keep
from anmok.core.artifacts import save_predictions
from anmok.core.config import dump_toml
from anmok.core.errors import Interrupted
from anmok.core.events import Events
from anmok.core.files import make_folder, read_json, write_atomic, write_json
from anmok.core.progress import console
from anmok.core.types import Predictions
from anmok.data.table import Table
from anmok.engine.loop import Course, Hooks, State, fit
from anmok.engine.optim import build_optimizer
from anmok.engine.predict import predict
from anmok.engine.totals import not_finite
from anmok.evaluate.metrics import evaluate
from anmok.stages.config import TrainConfig
from anmok.stages.faster import begin_epoch
from anmok.stages.job import Job
from anmok.stages.learn import set_up
from anmok.stages.tune_rungs import Cost, Trial

RESAMPLES = 200  # of the bootstrap, for the intervals of what is no proportion
REHEARSAL = 0.08  # of a trial's time, at most, to measure its speed
LATE = 1.5  # times its seconds, after which a trial is cut
STEPS = 3  # that a rehearsal takes at least: the first one is slow


class Task(NamedTuple):
    """What a trial is told: its place, its settings, its training and validation rows, its seconds, the chosen plan.

    image_s: seconds of an image in the rung before, where it is known: measured longer than any rehearsal.
    """

    folder: Path
    rung: int
    candidate: str
    config: TrainConfig
    table: Table
    seconds: float
    plan: dict[str, Any] | None = None
    image_s: float | None = None


class Pace(NamedTuple):
    """How long an epoch took: seconds of an image, and how many times as long as it was thought to."""

    image_s: float
    slower: float


def measure(task: Task, validate_s: float | None = None) -> tuple[Cost, dict[str, Any]]:
    """What a trial of this table costs, and the form of computing that was chosen for it, to be taken by every trial.

    What is kept on disk is read once, so that it is there for the first trial as for the last. validate_s: of a
    validation, where it is known already.  UsageError or DataError where the candidate cannot train.
    """
    try:
        if task.plan is None:
            _close(_job(task))  # says what there is, loads the libraries and chooses the plan, as no later trial does
        with hushed():
            began = time.perf_counter()
            job = _job(task)
            set_up_s = time.perf_counter() - began
            try:
                if job.train.cache.kind == "disk":
                    warm(job, task.seconds)
                epoch_s = rehearse(job, REHEARSAL * task.seconds)
                began = time.perf_counter()
                if validate_s is None:
                    _validated(job)
                    validate_s = time.perf_counter() - began
            finally:
                _close(job)
        return Cost(set_up_s, epoch_s / len(job.train.table), validate_s), read_json(task.folder / "plan.json")
    finally:
        shutil.rmtree(task.folder, ignore_errors=True)


def run_trial(task: Task, cost: Cost, stop: Callable[[], bool], slower: float = 1.0) -> tuple[Trial, Pace]:
    """Train a candidate for as many whole epochs as its seconds allow, one at least, and score its last weights.

    The last, not the best: no epoch is chosen by validation, so the candidates' scores mean the same. One that takes
    LATE times its seconds, as the machine has become slower, is cut and scored as it is. slower: times as long as
    rehearsed that epochs of others took. With the trial comes its pace.  Interrupted when asked to stop; UsageError,
    DataError or MachineError where the candidate cannot train.
    """
    began = time.perf_counter()
    shutil.rmtree(task.folder, ignore_errors=True)  # of a trial that was interrupted
    with hushed():
        job = _job(task)
        try:
            images = len(job.train.table)
            if task.image_s is None:
                epoch_s = rehearse(job, REHEARSAL * task.seconds) * slower
            else:
                epoch_s = task.image_s * images
            left = task.seconds - (time.perf_counter() - began) - cost.validate
            epochs = max(1, math.floor(left / epoch_s))
            write_json(task.folder / "plan.json", read_json(task.folder / "plan.json") | {"epochs": epochs})
            trained = time.perf_counter()
            state = _train(job, epochs, began + LATE * task.seconds, stop)
            took = (time.perf_counter() - trained) * len(job.train) / state.step
            _refuse_broken(job)
            predictions = _validated(job)
        finally:
            _close(job)
    save_predictions(predictions, task.folder / "predictions" / "val.parquet")
    metric, scored, loss = scores(predictions, task.config.training.select)
    trial = Trial(
        task.rung, task.candidate, images, state.epoch, epochs, round(time.perf_counter() - began, 3),
        metric, scored["value"], scored.get("low"), scored.get("high"), loss,
    )  # fmt: skip
    return trial, Pace(took / images, slower * took / epoch_s)


def _train(job: Job, epochs: int, ends: float, stop: Callable[[], bool]) -> State:
    """Where the training came to: its end, or the step at which the clock had passed `ends` and an epoch was done."""
    state, events = State(), Events(job.folder / "events.jsonl")
    try:
        _fit(
            job, job.learner, epochs, lambda: stop() or (state.epoch > 0 and time.perf_counter() > ends), events, state
        )
    except Interrupted:
        if stop():
            raise
    finally:
        events.close()
    return state


def scores(predictions: Predictions, select: str) -> tuple[str, dict[str, Any], float | None]:
    """(the metric that decides, its value with interval, the log loss). select: as `training.select`."""
    names = {"auto": "macro_f1" if predictions.task == "multilabel" else "accuracy", "loss": "log_loss"}
    metric = names.get(select, select)
    found = evaluate(predictions, "val", resamples=RESAMPLES, ranking=False)["metrics"]
    return metric, found[metric], found["log_loss"]["value"]


def warm(job: Job, seconds: float) -> None:
    """Read the training images once without training, for the seconds at most."""
    ends = time.perf_counter() + seconds
    batches = job.train.epoch(0)
    for _ in batches:
        if time.perf_counter() > ends:
            break
    batches.close()


def rehearse(job: Job, seconds: float) -> float:
    """Seconds that an epoch takes, from the first steps of one on a copy of the model, or from all if it is short.

    seconds: that the rehearsal may take, past its first few steps.
    """
    times = [time.perf_counter()]

    def over() -> bool:
        times.append(time.perf_counter())
        return len(times) > STEPS and times[-1] - times[0] > seconds

    learner = copy.deepcopy(job.learner)
    devices = [job.runtime.device] if job.runtime.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), suppress(Interrupted):
        _fit(job, learner, 1, over, Events(None))
    first, *others = (after - before for before, after in pairwise(times))
    return first + (median(others) if others else 0.0) * (len(job.train) - 1)


@contextmanager
def hushed() -> Iterator[None]:
    """Nothing is said on the terminal within the block: a search has too many trainings for each to speak."""
    was = console.quiet
    console.quiet = True
    try:
        yield
    finally:
        console.quiet = was


def _job(task: Task) -> Job:
    folder = make_folder(task.folder)
    write_atomic(folder / "config.toml", dump_toml(task.config))
    keep(task.config.augment, folder)
    task.table.save(folder / "table.parquet")
    if task.plan is not None:
        write_json(folder / "plan.json", task.plan)
    return set_up(folder, task.config, None)


def _fit(
    job: Job,
    learner: torch.nn.Module,
    epochs: int,
    stop: Callable[[], bool],
    events: Events,
    state: State | None = None,
) -> None:
    real = learner is job.learner
    optimizer = job.optimizer if real else build_optimizer(learner, job.config.optim, job.plan.dtype)
    parts = max(job.config.optim.accumulate, job.plan.parts)
    # a rehearsal is to find what an epoch of all images at their size takes
    course = Course(
        epochs, job.config.schedule, parts, job.config.optim.clip, growth=job.growth if real else None,
        uneven=real and job.skipping is not None,
    )  # fmt: skip
    per_epoch = len(job.train)
    hooks = Hooks(
        validate=dict, keep_best=lambda state: None, due=lambda state: False, save=lambda state: None, stop=stop,
        begin=lambda state: begin_epoch(job, state, per_epoch),
    )  # fmt: skip
    fit(
        job.runtime.wrap(learner), optimizer, job.train, job.runtime, course, state or State(), hooks, events,
        job.average if real else None,
    )  # fmt: skip


def _refuse_broken(job: Job) -> None:
    """DataError where the last step left weights that are no numbers, which no loss has told of yet."""
    for tensor in job.judged.state_dict().values():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise not_finite("the last step")


def _validated(job: Job) -> Predictions:
    assert job.val is not None
    return predict(job.judged.model, job.val.epoch(), job.runtime, len(job.val.table), "validate")


def _close(job: Job) -> None:
    job.train.close()
    if job.val is not None:
        job.val.close()
