"""The course of a search: rungs one after the other, each prepared by measuring, its trials kept as they complete."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from anmok.core.errors import AnmokError, DataError, Interrupted, MachineError, UsageError
from anmok.core.events import Events, read_events
from anmok.core.files import read_json, write_json
from anmok.core.progress import say, warn
from anmok.data.table import Table
from anmok.stages.config import TrainConfig
from anmok.stages.signals import polite_stop
from anmok.stages.tune_result import Tuning, configured, finish, score_text
from anmok.stages.tune_rungs import (
    Cost,
    Trial,
    affordable,
    from_event,
    images_within,
    ranked,
    rung_fractions,
    rung_sizes,
    stratified,
)
from anmok.stages.tune_settings import TuneTree
from anmok.stages.tune_trial import Pace, Task, measure, run_trial

RESERVE = 0.02  # of the time, for the result at the end
FEW = 3  # epochs of a trial, below which it is said
OWN = ("missing-package", "memory")  # codes of a MachineError that only the candidate meets


class Rung(NamedTuple):
    """A rung that is to run: its number from 1 on, candidates, rows, seconds of each trial, what one costs."""

    number: int
    names: list[str]
    table: Table
    share: float
    cost: Cost


class Course:
    """A search in progress: what it is told, what it has logged, and the time that is left.

    began: time.monotonic() of this process's start; before: seconds that the processes before it have logged.
    """

    def __init__(self, folder: Path, config: TuneTree, table: Table, began: float, stop: Callable[[], bool]):
        self.folder, self.config, self.began, self.stop = folder, config, began, stop
        self.rows = used(table)
        self.events = Events(folder / "trials.jsonl")
        self.logged = list(read_events(folder / "trials.jsonl"))
        self.before = sum(event.get("seconds", 0.0) for event in self.logged)
        self.total = 60 * config.minutes
        self.paces: dict[str, Pace] = {}  # of each candidate, in its last trial of this process

    @property
    def spent(self) -> float:
        """Seconds since the start, those of interrupted trials not counted."""
        return self.before + time.monotonic() - self.began

    @property
    def left(self) -> float:
        """Seconds that trials may still take."""
        return self.total * (1 - RESERVE) - self.spent

    def of_rung(self, event: str, number: int) -> list[dict[str, Any]]:
        """What was logged of a rung before this process began."""
        return [one for one in self.logged if one["event"] == event and one["rung"] == number]

    def task(self, rung: int, name: str, table: Table, seconds: float) -> Task:
        """A candidate's trial. Pixels are kept on disk, unless it is said where: there the next trial finds them."""
        base = configured(self.config, name)
        kept = "disk" if base.data.cache == "auto" else base.data.cache
        config: TrainConfig = base.model_copy(
            update={"epochs": None, "data": base.data.model_copy(update={"cache": kept})}
        )
        place = self.config.candidates.index(name)
        folder = self.folder / "trials" / f"{rung}-{place:02d}-{re.sub(r'[^a-z0-9]+', '-', name.lower())[-60:]}"
        path, pace = self.folder / "plan.json", self.paces.get(name)
        plan = read_json(path) if path.is_file() else None
        return Task(folder, rung, name, config, table, seconds, plan, pace.image_s if pace else None)


def used(table: Table) -> Table:
    """The labelled rows of train and val: the test split is left out here, before anything is trained."""
    import polars as pl

    return table.labelled().take(pl.col("split").is_in(["train", "val"]))


def part(table: Table, fraction: float, seed: int) -> Table:
    """A share of each class to train on, and all of the validation split."""
    import polars as pl

    train = table.where(split="train")
    chosen = train.take(stratified(train, fraction, seed)).rows["id"].implode()
    return table.take((pl.col("split") == "val") | pl.col("id").is_in(chosen))


def search(folder: Path, config: TuneTree, table: Table, began: float) -> Tuning:
    """Run what is missing of a search and write its result.  Interrupted (resumable) when asked to stop."""
    with polite_stop() as stop:
        course = Course(folder, config, table, began, stop)
        try:
            climb(course)
            result = finish(folder, config)
            course.events.log("end", spent_s=round(course.spent, 1))
        except Interrupted as error:
            remedy = f"Go on with: anmok tune --resume {folder}"
            raise Interrupted("stopped as asked; complete trials are kept.", remedy=remedy) from error
        finally:
            course.events.close()
    say(f"{course.spent / 60:.1f} of {config.minutes:g} minutes were spent")
    return result


def climb(course: Course) -> None:
    """The trials of every rung.  DataError where no candidate of a rung could train."""
    names = list(course.config.candidates)
    sizes = rung_sizes(len(names), course.config.rungs, course.config.keep)
    train = course.rows.where(split="train")
    fractions = rung_fractions(course.config.fraction, len(sizes), len(train))
    trials: list[Trial] = []
    cost: Cost | None = None
    images = 0
    for number, (size, fraction) in enumerate(zip(sizes, fractions, strict=True), 1):
        if number > 1:
            names = [trial.candidate for trial in ranked(trials)[:size]]
        if len(names) < 2:
            warn(f"only {names[0]} could train; there is nothing to compare it with")
            break
        rung = prepared(course, number, names, fraction, len(sizes) - number + 1, cost, images)
        if rung is None:
            break
        cost, images = rung.cost, len(rung.table.where(split="train"))
        trials = run_rung(course, rung)
        if not ranked(trials):
            first = trials[0]
            raise DataError(
                f"no candidate could train. {first.candidate}: {first.error}", where=str(course.folder), code="search"
            )


def prepared(
    course: Course, number: int, names: list[str], fraction: float, rungs_left: int, before: Cost | None, least: int
) -> Rung | None:  # fmt: skip
    """The next rung, as it was logged or by measuring; None where the time that is left does for no more.

    Where it does not do for an epoch of every candidate there are fewer of them, and of two, fewer images, though not
    fewer than `least`, those of the rung before.  UsageError (code budget) where the first rung cannot have two.
    """
    for event in course.of_rung("rung", number):
        table = part(course.rows, event["fraction"], course.config.seed)
        return Rung(number, event["candidates"], table, event["share_s"], Cost(*event["cost"]))
    began = time.monotonic()
    table = part(course.rows, fraction, course.config.seed)
    cost = measured(course, number, names, table, max(0.0, course.left) / (rungs_left * len(names)), before)
    seconds = max(0.0, course.left) / rungs_left
    images = len(table.where(split="train"))
    able = affordable(len(names), seconds, cost, images)
    if able < 2 and number == 1:
        need = 2 * cost.epoch(images) * rungs_left + course.spent
        raise UsageError(
            f"{course.config.minutes:g} minutes are too few: an epoch of {images:,} images with its validation takes "
            f"about {cost.epoch(images):.1f} s, and {rungs_left} rung(s) of two candidates {need / 60:.1f} minutes.",
            where="--minutes", remedy="Allow more, or set a smaller --fraction or fewer --rungs.", code="budget",
        )  # fmt: skip
    if able < 2:
        fewer = images_within(seconds / 2, cost)
        if fewer < max(1, least):
            warn(f"the time that is left does not do for rung {number}; the result is that of the one before")
            return None
        fraction, able = fraction * fewer / images, 2
        table = part(course.rows, fraction, course.config.seed)
        images = len(table.where(split="train"))
        warn(f"the time does for {images:,} images in rung {number}")
    if able < len(names):
        warn(f"the time does for {able} of {len(names)} candidates in rung {number}; left out: {names[able:]}")
    rung = Rung(number, names[:able], table, seconds / able, cost)
    course.events.log(
        "rung", rung=number, candidates=rung.names, fraction=fraction, images=images, share_s=rung.share,
        cost=list(cost), seconds=round(time.monotonic() - began, 3),
    )  # fmt: skip
    if (epochs := (rung.share - cost.set_up - cost.validate) / (cost.image * images)) < FEW:
        warn(f"about {epochs:.1f} epochs are few to tell candidates apart; more --minutes, fewer --candidates or a "
             "smaller --fraction tell more")  # fmt: skip
    say(f"rung {number}: {able} candidates, {images:,} training images, {rung.share:.0f} s each")
    return rung


def measured(course: Course, number: int, names: list[str], table: Table, seconds: float, before: Cost | None) -> Cost:
    """What a trial of this rung costs, by the first candidate that can train; the plan is kept for all trials."""
    first: AnmokError | None = None
    for name in names:
        task = course.task(number, name, table, seconds)
        try:
            cost, plan = measure(task, before.validate if before else None)
        except (UsageError, DataError, MachineError) as error:
            if not of_candidate(error):
                raise
            first = first or error
            continue
        if task.plan is None:
            write_json(course.folder / "plan.json", plan)
        return cost
    raise DataError(f"no candidate can train. {names[0]}: {first}", where=str(course.folder), code="search")


def run_rung(course: Course, rung: Rung) -> list[Trial]:
    """Its trials, those that were logged and those that are missing; no more is spent than the search has left."""
    trials = [from_event(event) for event in course.of_rung("trial", rung.number)]
    missing = [name for name in rung.names if name not in {trial.candidate for trial in trials}]
    for count, name in enumerate(missing):
        seconds = min(rung.share, max(0.0, course.left) / (len(missing) - count))
        trial = tried(course, course.task(rung.number, name, rung.table, seconds), rung.cost)
        course.events.log("trial", **trial._asdict())
        course.events.sync()
        trials.append(trial)
        result = trial.error or f"{score_text(trial)}, {trial.epochs} epoch(s), {trial.seconds:.0f} s"
        say(f"  {trial.candidate}: {result}")
    return trials


def tried(course: Course, task: Task, cost: Cost) -> Trial:
    """The trial; where the candidate could not train, one that says why."""
    began = time.monotonic()
    try:
        slower = median([pace.slower for pace in course.paces.values()] or [1.0])
        trial, course.paces[task.candidate] = run_trial(task, cost, course.stop, slower)
        return trial
    except (UsageError, DataError, MachineError) as error:
        if not of_candidate(error):
            raise
        images = len(task.table.where(split="train"))
        return Trial(task.rung, task.candidate, images, 0, 0, round(time.monotonic() - began, 3), error=str(error))


def of_candidate(error: AnmokError) -> bool:
    """Whether it is the candidate's own failure, so that others may go on."""
    return not isinstance(error, MachineError) or error.code in OWN
