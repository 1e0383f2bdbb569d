"""What `anmok auto` has found: its folder, a short text, auto.json, the table of candidates and the page."""

from __future__ import annotations

import html
from functools import cached_property
from pathlib import Path
from typing import Any

from anmok.core.errors import UsageError
from anmok.core.events import read_events
from anmok.core.files import read_json, write_atomic, write_json
from anmok.report.words import NAMES, count
from anmok.stages.auto_diary import FILE, account
from anmok.stages.run import Run
from anmok.stages.tune_result import standing
from anmok.stages.tune_rungs import Trial, from_event

STEPS = {
    "look": "looking at the images", "split": "dividing them", "baseline": "the simple baseline",
    "speed": "measuring speeds", "rung": "planning", "trial": "short trainings", "train": "last trainings",
    "ensemble": "the ensemble", "decision": "the decision", "test": "the test",
}  # fmt: skip


class Auto:
    """A finished `anmok auto`: `best` is the run or ensemble to use; `facts` is auto.json."""

    def __init__(self, path: Path | str):
        self.path = Path(path)
        if not (self.path / "auto.json").is_file():
            raise UsageError(
                "nothing finished here.", where=str(path), code="run",
                remedy="Expected a folder that `anmok auto` wrote; go on with one by --resume.",
            )  # fmt: skip

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The content of auto.json."""
        found: dict[str, Any] = read_json(self.path / "auto.json")
        return found

    @property
    def best(self) -> Run:
        """The run or ensemble that was chosen."""
        from anmok.stages.ensemble_run import find_run

        return find_run(self.path / self.facts["best"])

    @property
    def trials(self) -> list[Trial]:
        """The short trainings, in the order in which they ran."""
        return [from_event(event) for event in read_events(self.path / FILE, "trial")]

    def __repr__(self) -> str:
        facts = self.facts
        lines = [f"Auto {self.path}: {facts['sentence']}"]
        lines += [f"  {name:<28} {minutes:5.1f} min" for name, minutes in facts["minutes_by_step"].items()]
        lines.append(f"  {'in all':<28} {facts['minutes_spent']:5.1f} of {facts['minutes']:g} min")
        return "\n".join([*lines, *([facts["decision"]] if facts["decision"] else [])])

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"


def finish(folder: Path, minutes: float, spent: float, best: Run, known: dict[str, Any]) -> Auto:
    """Write auto.json, candidates.csv, halving.png and report.html.

    known: look, baseline, ensemble, decision, test, as their steps gave them, and task.
    """
    import polars as pl

    from anmok.report.auto_page import AutoContent, write_auto_report
    from anmok.report.figures import save_png
    from anmok.report.halving import halving

    trials = [from_event(event) for event in read_events(folder / FILE, "trial")]
    rows = [trial._asdict() for trial in trials]
    write_atomic(folder / "candidates.csv", pl.DataFrame(rows, infer_schema_length=None).write_csv)
    order = [trial.candidate for trial in standing(trials)]
    save_png(halving(rows, order), folder / "halving.png")
    times = {STEPS.get(name, name): round(seconds / 60, 3) for name, seconds in account(folder)}
    val = best.evaluation("val")["metrics"]
    name = "macro_f1" if known["task"] == "multilabel" else "accuracy"
    facts: dict[str, Any] = {
        "best": str(best.path.relative_to(folder)), "sentence": sentence(known, name, val, known["test"]),
        "minutes": minutes, "minutes_spent": round(spent / 60, 3), "minutes_by_step": times, "candidates": rows,
        "baseline": known["baseline"], "ensemble": known["ensemble"], "decision": known["decision"]["text"],
        "look": known["look"], "val": {name: val[name]}, "test": {name: known["test"][name]} if known["test"] else {},
    }  # fmt: skip
    write_json(folder / "auto.json", facts)
    report = f"{facts['best']}/{'report-test.html' if known['test'] else 'report.html'}"
    write_auto_report(folder / "report.html", AutoContent(f"anmok auto: {folder.name}", facts, rows, order, report))
    return Auto(folder)


def sentence(known: dict[str, Any], metric: str, val: dict[str, Any], test: dict[str, Any]) -> str:
    """'resnet18 is taken: accuracy 0.91 (0.88 to 0.94) on 300 test images …' in one line."""
    ensemble = known["ensemble"]
    who = str(ensemble["chosen"])
    if who == "ensemble":
        who = f"{count(len(ensemble['members']), 'network')} together"
    split, found = ("test", test[metric]) if test else ("validation", val[metric])
    name = NAMES[metric][0].lower() if metric in NAMES else metric
    if found.get("value") is None:
        scored = f"{name} undefined"
    else:
        scored = f"{name} {found['value']:.3f}"
        if found.get("low") is not None:
            scored += f" ({found['low']:.3f} to {found['high']:.3f})"
    return f"{who}, {scored} on {split}" + ("" if test else "; chosen by these images, so it is kinder than a test's")
