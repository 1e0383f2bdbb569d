"""The last steps of `anmok auto`: the best candidates trained to the end, together where that gains, and decided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anmok.augment.accept import keep
from anmok.core.config import dump_toml
from anmok.core.errors import DataError, Interrupted, MachineError, UsageError
from anmok.core.files import locked, make_folder, write_atomic
from anmok.core.progress import say, warn
from anmok.data.table import Table
from anmok.stages.auto_candidates import Candidate, by_name
from anmok.stages.auto_diary import Diary
from anmok.stages.auto_rungs import cached
from anmok.stages.auto_settings import AutoTree
from anmok.stages.run import Run
from anmok.stages.score import quick_score
from anmok.stages.tune_result import standing
from anmok.stages.tune_rungs import Cost, Trial, better
from anmok.stages.tune_search import of_candidate

ENOUGH = 40  # epochs over all training images, beyond which the time goes to another candidate
MOST = 200  # epochs that a training is given at most
CLOSE = 0.1  # below the best trial's score, from which a candidate is no member
RESERVE = 0.03  # of the time, for the ensemble and the report
TEST = 1.5  # times an image's share of a validation that one of the test takes, with its preparation


class Finalist:
    """A candidate that is trained to the end: seconds of an epoch of all images, and of its validation."""

    def __init__(self, candidate: Candidate, cost: Cost, images: int):
        self.candidate, self.epoch_s = candidate, cost.image * images


def finalists(
    trials: list[Trial], candidates: list[Candidate], costs: dict[str, Cost], images: int, seconds: float, most: int
) -> list[Finalist]:  # fmt: skip
    """Who is trained to the end: the best, and as many next ones as can have ENOUGH epochs each in the seconds.

    images: training images of an epoch; most: how many at most.
    """
    order = [trial for trial in standing(trials) if trial.score is not None]
    best, known = order[0], by_name(candidates)
    out: list[Finalist] = []
    needed = 0.0
    for trial in order:
        if len(out) == most or better(trial) < better(best) - CLOSE:
            break
        one = Finalist(known[trial.candidate], costs[trial.candidate], images)
        needed += ENOUGH * one.epoch_s
        if out and needed > seconds:
            break
        out.append(one)
    return out


def train_all(diary: Diary, table: Table, chosen: list[Finalist], reserve: float) -> list[Run]:
    """The finished runs in models/, each an ordinary run; those that there are go on where they were.

    reserve: seconds that are kept for what comes after them.  DataError where none could train.
    """
    runs: list[Run] = []
    failed: list[str] = []
    for number, one in enumerate(chosen):
        name = one.candidate.name
        folder = diary.folder / "models" / one.candidate.place
        event = diary.of("train", candidate=name)
        if event is None:
            weights = [ENOUGH * other.epoch_s for other in chosen[number:]]
            seconds = max(one.epoch_s, (diary.left - reserve) * weights[0] / sum(weights))
            with diary.step("train", candidate=name) as event:
                event |= {"error": _trained(folder, one, table, seconds)}
        if event["error"]:
            failed.append(f"{name}: {event['error']}")
        else:
            runs.append(Run(folder))
    if not runs:
        raise DataError(f"no candidate could train. {failed[0]}", where=str(diary.folder), code="search")
    return runs


def _trained(folder: Path, one: Finalist, table: Table, seconds: float) -> str:
    """Train a run, or go on with it; '' or why that could not be."""
    from anmok.stages.learn import learn
    from anmok.stages.run_calls import logged

    config = cached(one.candidate)
    if seconds > MOST * one.epoch_s:
        config = config.model_copy(update={"epochs": MOST})
    else:
        config = config.model_copy(update={"minutes": seconds / 60})
    say(f"{one.candidate.name}: trained for {seconds / 60:.1f} minutes")
    make_folder(folder)
    try:
        with locked(folder):
            if not (folder / "table.parquet").is_file():
                write_atomic(folder / "config.toml", "# anmok auto\n" + dump_toml(config))
                keep(config.augment, folder)
                table.save(folder / "table.parquet")
            run = Run(folder)
            if not run.finished:
                logged(folder, run.config, lambda events, stop: learn(folder, run.config, None, events, stop))
    except (UsageError, DataError, MachineError) as error:
        if isinstance(error, Interrupted) or not of_candidate(error):
            raise
        warn(f"{one.candidate.name}: {error}")
        return str(error)
    return ""


def together(diary: Diary, runs: list[Run]) -> tuple[Run, dict[str, Any]]:
    """The run to use, and {members, chosen, score, best, gain}: the mean of all of them only where that scores better.

    Scores are of the validation images, by the figure that chose the runs' own weights.
    """
    from anmok.stages.ensemble import ensemble, named_runs, validation
    from anmok.stages.ensemble_gain import held_out
    from anmok.stages.ensemble_run import find_run

    select = runs[0].config.training.select
    scored = {run.path.name: quick_score(run.predictions("val"), select)["select"] for run in runs}
    best = max(scored, key=lambda name: scored[name])
    single = next(run for run in runs if run.path.name == best)
    facts: dict[str, Any] = {"members": list(scored), "scores": scored, "best": best, "chosen": best, "gain": None}
    if len(runs) < 2:
        return single, facts
    mean = quick_score(held_out(validation(named_runs(runs)), "soft"), select)["select"]
    facts["gain"] = mean - scored[best]
    if mean <= scored[best]:
        say(f"together they score {mean:.3f} on validation, {best} alone {scored[best]:.3f}: it stays alone")
        return single, facts
    folder = diary.folder / "ensemble"
    made = find_run(folder) if (folder / "ensemble.toml").is_file() else ensemble(runs, how="soft", out=folder)
    facts["chosen"] = "ensemble"
    say(f"together they score {mean:.3f} on validation, {best} alone {scored[best]:.3f}: the ensemble is taken")
    return made, facts


def decided(run: Run, config: AutoTree) -> dict[str, Any]:
    """{text} of the decision by the costs that were given; {text: ''} where none were."""
    if config.cost is None:
        return {"text": ""}
    from anmok.stages.decide import decide

    return {"text": repr(decide(run, cost=config.cost, positive=config.positive))}


def tested(run: Run, table: Table) -> dict[str, Any]:
    """{accuracy, …}: the one look at the test split; {} where it has no labelled image."""
    from anmok.stages.evaluate import evaluate

    if not len(table.labelled().where(split="test")):
        return {}
    if (run.path / "evaluation-test.json").is_file():
        return dict(run.evaluation("test")["metrics"])
    return dict(evaluate(run, split="test")["metrics"])


def reserve(total: float, cost: Cost, table: Table, scored: int, members: int) -> float:
    """Seconds kept for what comes after the trainings: the test's predictions of every member, and the rest.

    scored: images that the cost's validation has.
    """
    tests = len(table.labelled().where(split="test"))
    return RESERVE * total + members * TEST * cost.validate * tests / max(1, scored)
