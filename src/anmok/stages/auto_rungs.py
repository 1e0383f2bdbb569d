"""Candidates of `anmok auto` by measured promise: short trainings of all, longer ones of the better half.

Each rung is one of successive halving (Jamieson & Talwalkar 2016, arXiv:1502.07943): the same seconds and the same
images for everybody, whose number is what the candidates can learn from in that time; so a slow network competes by
what it reaches in the time there is.
"""

from __future__ import annotations

import math
import time
from typing import Any

from anmok.core.errors import DataError, MachineError, UsageError
from anmok.core.files import read_json, write_json
from anmok.core.progress import say, warn
from anmok.data.table import Table
from anmok.stages.auto_candidates import Candidate, by_name
from anmok.stages.auto_diary import Diary
from anmok.stages.tune_result import score_text
from anmok.stages.tune_rungs import LEAST_IMAGES, Cost, Trial, from_event, ranked, reasons, stratified
from anmok.stages.tune_search import of_candidate, part, used
from anmok.stages.tune_trial import Task, measure, run_trial

RUNGS = (0.15, 0.2)  # share of the whole time of each rung
PROBING = 0.1  # of the whole time, at most, to measure the candidates' speeds
PASSES = 3  # epochs that the slowest candidate has of the first rung's images
LEAST_PASSES = 3  # of all images in the last training, below which a candidate is too slow
VALIDATION = 2000  # images, at most, that trials are scored on: enough for a standard error of 0.01


def rung_table(table: Table, fraction: float, seed: int, most: int = VALIDATION) -> Table:
    """A share of each class to train on, and the validation images, about `most` of them at most."""
    import polars as pl

    small = part(used(table), fraction, seed)
    val = small.where(split="val")
    if len(val) <= most:
        return small
    chosen = val.take(stratified(val, most / len(val), seed)).rows["id"].implode()
    return small.take((pl.col("split") == "train") | pl.col("id").is_in(chosen))


def climb(diary: Diary, table: Table, candidates: list[Candidate], seed: int) -> list[Trial]:
    """The trials of every rung, those that were logged and those that are missing.

    DataError where no candidate can train.
    """
    costs = speeds(diary, table, candidates, seed)
    known, images = by_name(candidates), len(used(table).where(split="train"))
    names = fast_enough(costs, images, (1 - sum(RUNGS) - PROBING) * diary.total)
    trials: list[Trial] = []
    for number, share in enumerate(RUNGS, 1):
        if number > 1:
            if len(names) < 3:
                break
            names = [trial.candidate for trial in ranked(trials)][: max(2, math.ceil(len(names) / 2))]
        seconds = share * diary.total / len(names)
        planned = diary.of("rung", rung=number)
        if planned is None:
            fraction = min(1.0, images_for(seconds, [costs[name] for name in names]) / images)
            with diary.step("rung", rung=number, names=names, fraction=fraction, each=seconds) as planned:
                pass
        names, small = planned["names"], rung_table(table, planned["fraction"], seed)
        n = len(small.where(split="train"))
        say(f"rung {number}: {len(names)} candidates, {n:,} training images, {planned['each']:.0f} s each")
        trials = [
            _tried(diary, number, known[name], small, min(planned["each"], max(1.0, diary.left / 2)), costs[name])
            for name in names
        ]
        if not ranked(trials):
            first = trials[0]
            raise DataError(
                f"no candidate could train. {first.candidate}: {first.error}", where=str(diary.folder), code="search"
            )
    return [from_event(event) for event in diary.done if event["event"] == "trial"]


def images_for(seconds: float, costs: list[Cost]) -> int:
    """Training images from which every candidate learns PASSES epochs in the seconds, LEAST_IMAGES at least."""
    each = [(seconds - cost.set_up - cost.validate) / (PASSES * cost.image) for cost in costs]
    return max(LEAST_IMAGES, int(min(each)))


def speeds(diary: Diary, table: Table, candidates: list[Candidate], seed: int) -> dict[str, Cost]:
    """What each candidate's training costs, of those that can train; who cannot is said."""
    train = used(table).where(split="train")
    small = rung_table(table, min(1.0, 2 * LEAST_IMAGES / len(train)), seed)
    for candidate in candidates:
        if diary.of("speed", candidate=candidate.name) is None:
            with diary.step("speed", candidate=candidate.name) as found:
                found |= _speed(diary, candidate, small, PROBING * diary.total / len(candidates))
    events = [event for event in diary.done if event["event"] == "speed"]
    costs = {event["candidate"]: Cost(*event["cost"]) for event in events if event["cost"]}
    if not costs:
        told = reasons((event["candidate"], event["error"]) for event in events)
        raise DataError(f"no candidate can train. {told}", where=str(diary.folder), code="search")
    return costs


def fast_enough(costs: dict[str, Cost], images: int, seconds: float) -> list[str]:
    """Those that have LEAST_PASSES epochs of the images in the seconds; if none has, the fastest.  It is said aloud."""
    passes = {name: seconds / (cost.image * images) for name, cost in costs.items()}
    able = [name for name, n in passes.items() if n >= LEAST_PASSES] or [max(passes, key=lambda name: passes[name])]
    if slow := [f"{name} ({n:.1f} epochs)" for name, n in passes.items() if name not in able]:
        warn(f"too slow for the time: {', '.join(slow)}")
    return able


def _speed(diary: Diary, candidate: Candidate, table: Table, seconds: float) -> dict[str, Any]:
    """{cost, error, per_s} of a candidate; its plan is kept."""
    try:
        cost, plan = measure(_task(diary, 0, candidate, table, seconds))
    except (UsageError, DataError, MachineError) as error:
        if not of_candidate(error):
            raise
        warn(f"{candidate.name}: {error}")
        return {"cost": None, "error": str(error)}
    write_json(diary.folder / "plans" / f"{candidate.place}.json", plan)
    say(f"  {candidate.name}: {1 / cost.image:.0f} images/s")
    return {"cost": list(cost), "error": ""}


def _tried(diary: Diary, rung: int, candidate: Candidate, table: Table, seconds: float, cost: Cost) -> Trial:
    logged = diary.of("trial", rung=rung, candidate=candidate.name)
    if logged is not None:
        return from_event(logged)
    began = time.monotonic()
    with diary.step("trial") as found:
        try:
            trial, _ = run_trial(_task(diary, rung, candidate, table, seconds), cost, diary.stop)
        except (UsageError, DataError, MachineError) as error:
            if not of_candidate(error):
                raise
            took, n = round(time.monotonic() - began, 3), len(table.where(split="train"))
            trial = Trial(rung, candidate.name, n, 0, 0, took, error=str(error))
        found |= {name: value for name, value in trial._asdict().items() if name != "seconds"}
    say(f"  {candidate.name}: {trial.error or f'{score_text(trial)}, {trial.epochs} epoch(s), {trial.seconds:.0f} s'}")
    return trial


def _task(diary: Diary, rung: int, candidate: Candidate, table: Table, seconds: float) -> Task:
    folder = diary.folder / "trials" / f"{rung}-{candidate.place}"
    path = diary.folder / "plans" / f"{candidate.place}.json"
    plan = read_json(path) if path.is_file() else None
    return Task(folder, rung, candidate.name, cached(candidate), table, seconds, plan)


def cached(candidate: Candidate) -> Any:
    """Its settings; pixels are kept on disk unless it is said where: there the next training finds them."""
    data = candidate.config.data
    kept = "disk" if data.cache == "auto" else data.cache
    return candidate.config.model_copy(update={"data": data.model_copy(update={"cache": kept})})
