"""A search in progress: what it is told, what it has logged, the time that is left, and its candidates by name."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from anmok.core.events import Events, read_events
from anmok.core.files import read_json, write_json
from anmok.data.table import Table
from anmok.stages.config import TrainConfig
from anmok.stages.tune_propose import propose, spread
from anmok.stages.tune_rungs import Cost, Trial, better, from_event, stratified
from anmok.stages.tune_settings import TuneTree
from anmok.stages.tune_space import ALONE, DEFAULT, Settings, build_space, configured, name_of, usual
from anmok.stages.tune_trial import Pace, Task

RESERVE = 0.02  # of the time, for the result at the end
DRAWING = 3.0  # seconds besides, where there are two figures to draw and the default to compare with


class Rung(NamedTuple):
    """A rung that is to run: its number from 1 on, candidates, rows, seconds of each trial, costs of each network's."""

    number: int
    names: list[str]
    table: Table
    share: float
    costs: dict[str, Cost]

    @property
    def images(self) -> int:
        """Training images."""
        return len(self.table.where(split="train"))


class Course:
    """A search in progress.

    began: time.monotonic() of this process's start; before: seconds that the processes before it have logged. bracket:
    the one that runs, from 1 on; brackets: how many there are, as far as the time does. settings: of each candidate, in
    the order in which they were drawn. rungs: of the first bracket, which the others repeat.
    """

    def __init__(self, folder: Path, config: TuneTree, table: Table, began: float, stop: Callable[[], bool]):
        self.folder, self.config, self.began, self.stop = folder, config, began, stop
        self.rows = used(table)
        self.events = Events(folder / "trials.jsonl")
        self.logged = list(read_events(folder / "trials.jsonl"))
        self.before = sum(event.get("seconds", 0.0) for event in self.logged)
        self.total = 60 * config.minutes
        self.usable = self.total * (1 - RESERVE) - (0.0 if self.alone else DRAWING)
        self.paces: dict[str, Pace] = {}  # of each candidate, in its last trial of this process
        self.bracket, self.brackets = 1, config.brackets or 1
        self.settings: dict[str, Settings] = {}
        self.rungs: list[Rung] = []
        self.trials = [from_event(event) for event in self.logged if event["event"] == "trial"]

    @property
    def alone(self) -> bool:
        """Whether policies alone are compared, which are given."""
        return self.config.search == ALONE

    @property
    def spent(self) -> float:
        """Seconds since the start, those of interrupted trials not counted."""
        return self.before + time.monotonic() - self.began

    @property
    def left(self) -> float:
        """Seconds that trials may still take."""
        return self.usable - self.spent

    @property
    def left_here(self) -> float:
        """Seconds that those of the first bracket may still take, none at least."""
        return max(0.0, self.left - self.usable * (1 - 1 / self.brackets))

    def of_rung(self, event: str, number: int) -> list[dict[str, Any]]:
        """What was logged of a rung of this bracket before this process began."""
        return [
            one for one in self.logged
            if one["event"] == event and one["rung"] == number and one.get("bracket", 1) == self.bracket
        ]  # fmt: skip

    def drawn(self, count: int) -> list[str]:
        """The names of this bracket's candidates, as they were logged or drawn now: of the first, the default leads."""
        if self.alone:
            self.settings = {name: {"augment": name} for name in self.config.candidates}
            return list(self.settings)
        for event in self.logged:
            if event["event"] == "propose" and event["bracket"] == self.bracket:
                found = event["candidates"]
                break
        else:
            found = self._proposed(count)
            self.events.log("propose", bracket=self.bracket, candidates=found)
        self.settings |= found
        return list(found)

    def _proposed(self, count: int) -> dict[str, Settings]:
        space, default, seed = build_space(self.config), usual(self.config), self.config.seed
        if self.bracket == 1:
            drawn = spread(space, default, count - 1, seed)
            return {DEFAULT: default} | {name_of(settings): settings for settings in drawn}
        known = [
            (self.settings[trial.candidate], None if trial.score is None else better(trial))
            for trial in self.trials if trial.rung == 1
        ]  # fmt: skip
        return {name_of(settings): settings for settings in propose(space, known, count, seed + self.bracket)}

    def network(self, name: str) -> str:
        """The network of a candidate, '' where all have the same one."""
        return str(self.settings[name].get("model", ""))

    def task(self, rung: int, name: str, table: Table, seconds: float) -> Task:
        """A candidate's trial. Pixels are kept on disk, unless it is said where: there the next trial finds them."""
        base = configured(self.config, self.settings[name])
        kept = "disk" if base.data.cache == "auto" else base.data.cache
        config: TrainConfig = base.model_copy(
            update={"epochs": None, "data": base.data.model_copy(update={"cache": kept})}
        )
        path, pace = self._plan(name), self.paces.get(name)
        plan = read_json(path) if path.is_file() else None
        return Task(self.place(rung, name), rung, name, config, table, seconds, plan, pace.image_s if pace else None)

    def place(self, rung: int, name: str) -> Path:
        """The folder of a candidate's trial."""
        return self.folder / "trials" / f"{rung}-{list(self.settings).index(name):02d}-{_plain(name)}"

    def keep_plan(self, name: str, plan: dict[str, Any]) -> None:
        """Keep the form of computing that was chosen for a candidate's network, for all trials of it."""
        write_json(self._plan(name), plan)

    def _plan(self, name: str) -> Path:
        network = self.network(name)
        return self.folder / (f"plan-{_plain(network)}.json" if network else "plan.json")

    def log_trial(self, trial: Trial) -> None:
        """Keep a trial; it is safe on the disk when this returns."""
        self.events.log("trial", **trial._asdict(), **self.mark)
        self.events.sync()
        self.trials.append(trial)

    @property
    def mark(self) -> dict[str, int]:
        """What an event of a later bracket says besides."""
        return {} if self.bracket == 1 else {"bracket": self.bracket}


def _plain(name: str) -> str:
    """A name as a part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[-60:]


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
