"""The course of a search: rungs one after the other, each prepared by measuring, its trials kept as they complete."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

from anmok.core.errors import AnmokError, DataError, Interrupted, MachineError, UsageError
from anmok.core.progress import say, warn
from anmok.data.table import Table
from anmok.stages.signals import polite_stop
from anmok.stages.tune_against import against_default
from anmok.stages.tune_brackets import brackets_within, repeated_sizes, with_default
from anmok.stages.tune_course import Course, Rung, part, used
from anmok.stages.tune_result import Tuning, finish, score_text
from anmok.stages.tune_rungs import (
    Cost,
    Trial,
    affordable,
    from_event,
    images_within,
    ranked,
    reasons,
    rung_fractions,
    rung_sizes,
)
from anmok.stages.tune_settings import TuneTree
from anmok.stages.tune_trial import Task, measure, run_trial

__all__ = ["of_candidate", "part", "search", "used"]

FEW = 3  # epochs of a trial, below which it is said
OWN = ("missing-package", "memory")  # codes of a MachineError that only the candidate meets


def search(folder: Path, config: TuneTree, table: Table, began: float) -> Tuning:
    """Run what is missing of a search and write its result.  Interrupted (resumable) when asked to stop."""
    with polite_stop() as stop:
        course = Course(folder, config, table, began, stop)
        try:
            climb(course)
            while course.bracket < course.brackets:
                course.bracket += 1
                climb_again(course)
            if not course.alone and (found := against_default(course)):
                course.events.log("against", **found)
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
    """The trials of every rung of the first bracket.  DataError where no candidate of a rung could train."""
    names = course.drawn(course.config.proposals)
    if len(names) < 2:
        raise UsageError("there is one candidate alone: no search.", where="--search", code="setting")
    sizes = rung_sizes(len(names), course.config.rungs, course.config.keep)
    fractions = rung_fractions(course.config.fraction, len(sizes), len(course.rows.where(split="train")))
    trials: list[Trial] = []
    for number, (size, fraction) in enumerate(zip(sizes, fractions, strict=True), 1):
        if number > 1:
            names = with_default([trial.candidate for trial in ranked(trials)], size)
        if len(names) < 2:
            warn(f"only {names[0]} could train; there is nothing to compare it with")
            break
        rung = prepared(course, number, names, fraction, len(sizes) - number + 1)
        if rung is None:
            break
        course.rungs.append(rung)
        trials = run_rung(course, rung)
        if not ranked(trials):
            told = reasons((trial.candidate, trial.error) for trial in trials)
            raise DataError(f"no candidate could train. {told}", where=str(course.folder), code="search")


def climb_again(course: Course) -> None:
    """A later bracket: candidates proposed by what is known climb the rungs of the first, each trial as long as there.

    So all trials of a rung, of whichever bracket, have the same images and the same time. Where the time that is left
    does not do for one candidate to the last rung, nothing is done.
    """
    shares, keep = [rung.share for rung in course.rungs], course.config.keep
    logged = any(one["event"] == "propose" and one["bracket"] == course.bracket for one in course.logged)
    sizes = repeated_sizes(course.left, shares, course.config.proposals, keep)
    if not sizes and not logged:
        return
    names = course.drawn(sizes[0] if sizes else 0)
    if not names:  # there are no others
        return
    say(f"bracket {course.bracket} of {course.brackets}: {len(names)} candidates, proposed by what is known")
    for before in course.rungs:
        rung = before._replace(names=names)
        say(f"rung {rung.number}: {len(names)} candidates, {rung.images:,} training images, {rung.share:.0f} s each")
        trials = ranked(run_rung(course, rung))
        names = [trial.candidate for trial in trials[: -(-len(names) // keep)]]
        if not names:
            return


def prepared(course: Course, number: int, names: list[str], fraction: float, rungs_left: int) -> Rung | None:
    """The next rung, as it was logged or by measuring; None where the time that is left does for no more.

    Where it does not do for an epoch of every candidate there are fewer of them, and of two, fewer images, though not
    fewer than those of the rung before.  UsageError (code budget) where the first rung cannot have two.
    """
    for event in course.of_rung("rung", number):
        table = part(course.rows, event["fraction"], course.config.seed)
        course.brackets = event["brackets"]
        costs = {network: Cost(*cost) for network, cost in event["costs"].items()}
        return Rung(number, event["candidates"], table, event["share_s"], costs)
    began = time.monotonic()
    table = part(course.rows, fraction, course.config.seed)
    costs = measured(course, number, names, table, course.left_here / (rungs_left * len(names)))
    cost = costs[next(key for key in map(course.network, names) if key in costs)]
    images = len(table.where(split="train"))
    if number == 1 and not course.alone:
        course.brackets = course.config.brackets or brackets_within(course.left, len(names), rungs_left, cost, images)
    seconds = course.left_here / rungs_left
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
        if fewer < max(1, course.rungs[-1].images):
            warn(f"the time that is left does not do for rung {number}; the result is that of the one before")
            return None
        fraction, able = fraction * fewer / images, 2
        table = part(course.rows, fraction, course.config.seed)
        images = len(table.where(split="train"))
        warn(f"the time does for {images:,} images in rung {number}")
    if able < len(names):
        warn(f"the time does for {able} of {len(names)} candidates in rung {number}; left out: {names[able:]}")
    rung = Rung(number, names[:able], table, seconds / able, costs)
    course.events.log(
        "rung", rung=number, candidates=rung.names, fraction=fraction, images=images, share_s=rung.share,
        costs={network: list(cost) for network, cost in costs.items()}, brackets=course.brackets,
        seconds=round(time.monotonic() - began, 3),
    )  # fmt: skip
    if (epochs := (rung.share - cost.set_up - cost.validate) / (cost.image * images)) < FEW:
        warn(f"about {epochs:.1f} epochs are few to tell candidates apart; more --minutes, fewer candidates or a "
             "smaller --fraction tell more")  # fmt: skip
    say(f"rung {number}: {able} candidates, {images:,} training images, {rung.share:.0f} s each")
    return rung


def measured(course: Course, number: int, names: list[str], table: Table, seconds: float) -> dict[str, Cost]:
    """What a trial costs with each network, by its first candidate that can train; else as it was in the rung before.

    The plan that is chosen for a network is kept.
    """
    failed: list[tuple[str, str]] = []
    costs: dict[str, Cost] = {}
    before = course.rungs[-1].costs if course.rungs else {}
    for name in names:
        network = course.network(name)
        if network in costs:
            continue
        task = course.task(number, name, table, seconds)
        try:
            costs[network], plan = measure(task, before[network].validate if network in before else None)
        except (UsageError, DataError, MachineError) as error:
            if not of_candidate(error):
                raise
            failed.append((name, str(error)))
            continue
        if task.plan is None:
            course.keep_plan(name, plan)
    if not costs:
        raise DataError(f"no candidate can train. {reasons(failed)}", where=str(course.folder), code="search")
    return before | costs


def run_rung(course: Course, rung: Rung) -> list[Trial]:
    """Its trials, those that were logged and those that are missing; no more is spent than the search has left."""
    trials = [from_event(event) for event in course.of_rung("trial", rung.number)]
    missing = [name for name in rung.names if name not in {trial.candidate for trial in trials}]
    for count, name in enumerate(missing):
        seconds = min(rung.share, max(0.0, course.left) / (len(missing) - count))
        trial = tried(course, course.task(rung.number, name, rung.table, seconds), rung)
        course.log_trial(trial)
        trials.append(trial)
        result = trial.error or f"{score_text(trial)}, {trial.epochs} epoch(s), {trial.seconds:.0f} s"
        say(f"  {trial.candidate}: {result}")
    return trials


def tried(course: Course, task: Task, rung: Rung) -> Trial:
    """The trial; where the candidate could not train, one that says why."""
    began, network = time.monotonic(), course.network(task.candidate)
    cost = rung.costs.get(network) or next(iter(rung.costs.values()))
    try:
        if network in rung.costs and not course.alone and cost.epoch(rung.images) > max(rung.share, task.seconds):
            raise UsageError(
                f"too slow: an epoch takes about {cost.epoch(rung.images):.1f} s with its validation, and each "
                f"candidate has {rung.share:.1f} s.", code="budget",
            )  # fmt: skip
        slower = median([pace.slower for pace in course.paces.values()] or [1.0])
        trial, course.paces[task.candidate] = run_trial(task, cost, course.stop, slower)
        return trial
    except (UsageError, DataError, MachineError) as error:
        if not of_candidate(error):
            raise
        return Trial(task.rung, task.candidate, rung.images, 0, 0, round(time.monotonic() - began, 3), error=str(error))


def of_candidate(error: AnmokError) -> bool:
    """Whether it is the candidate's own failure, so that others may go on."""
    return not isinstance(error, MachineError) or error.code in OWN
