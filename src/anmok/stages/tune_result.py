"""What a search has found: its table, the sentence that says how sure it is, and the files that keep both."""

from __future__ import annotations

import html
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from anmok.core.config import dump_toml, resolve
from anmok.core.errors import UsageError
from anmok.core.events import read_events
from anmok.core.files import write_atomic
from anmok.core.text import visible
from anmok.report.halving import halving
from anmok.report.searched import searched
from anmok.report.words import NAMES, count
from anmok.stages.config import TrainConfig
from anmok.stages.tune_rungs import Trial, apart, better, from_event, ranked
from anmok.stages.tune_settings import TuneTree
from anmok.stages.tune_space import ALONE, DEFAULT, Settings, configured, name_of

SHORT = ("candidate", "rung", "images", "epochs", "seconds", "score", "95 % interval")


class Tuning:
    """A search's folder. Everything is read when it is asked for."""

    def __init__(self, path: Path | str):
        self.path = Path(path)
        if not (self.path / "trials.jsonl").is_file():
            raise UsageError(
                "no search here.", where=str(path), remedy="Expected a folder that `anmok tune` wrote.", code="run"
            )

    @cached_property
    def trials(self) -> list[Trial]:
        """Every trial, in the order in which they ran."""
        return [from_event(event) for event in read_events(self.path / "trials.jsonl", "trial")]

    @cached_property
    def settings(self) -> dict[str, Settings]:
        """Of each candidate what was searched; of a search among policies alone, the policy that it is."""
        drawn = list(read_events(self.path / "trials.jsonl", "propose"))
        if not drawn:
            return {trial.candidate: {"augment": trial.candidate} for trial in self.trials}
        return {name: settings for event in drawn for name, settings in event["candidates"].items()}

    @cached_property
    def against(self) -> dict[str, Any] | None:
        """The chosen less the default, see `tune_against`; None where there is none of it."""
        found = list(read_events(self.path / "trials.jsonl", "against"))
        return found[-1] if found else None

    @property
    def best(self) -> Trial:
        """The winner's last trial."""
        return standing(self.trials)[0]

    @property
    def config(self) -> TrainConfig:
        """The training that best.toml describes."""
        return resolve(TrainConfig, file=self.path / "best.toml")

    def __repr__(self) -> str:
        rows = [SHORT, *(_row(trial) for trial in standing(self.trials))]
        widths = [max(len(row[i]) for row in rows) for i in range(len(SHORT))]
        lines = ["  ".join(_cells(row, widths)).rstrip() for row in rows]
        drawn = DEFAULT in self.settings
        of_default = [of_the_default(self.against, self.best)] if drawn else []
        settings = (
            [f"Its settings: {name_of(self.settings[DEFAULT])}."] if drawn and self.best.candidate == DEFAULT else []
        )
        first, *others = sentences(self.trials)
        return "\n".join([f"Tuning {self.path}", *lines, first, *settings, *of_default, *others])

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"


def standing(trials: list[Trial]) -> list[Trial]:
    """The last trial of each candidate: those that came furthest first, by score; then those that failed."""
    out: list[Trial] = []
    for rung in sorted({trial.rung for trial in trials}, reverse=True):
        seen = {trial.candidate for trial in out}
        out += [trial for trial in ranked([t for t in trials if t.rung == rung]) if trial.candidate not in seen]
    seen = {trial.candidate for trial in out}
    return out + [trial for trial in trials if trial.error and trial.candidate not in seen]


def score_text(trial: Trial) -> str:
    """'accuracy 0.813 (0.784 to 0.839)'."""
    name = NAMES[trial.metric][0].lower() if trial.metric in NAMES else trial.metric
    if trial.score is None:
        return f"{name} undefined".strip()
    bounds = "" if trial.low is None or trial.high is None else f" ({trial.low:.3f} to {trial.high:.3f})"
    return f"{name} {trial.score:.3f}{bounds}"


def sentences(trials: list[Trial]) -> list[str]:
    """What was chosen and by how much, how sure that is, and what failed; of the default `of_the_default` speaks."""
    first, *others = standing(trials)
    of = f"{count(first.epochs, 'epoch')} on {count(first.images, 'image')}"
    out = [f"Chosen: {first.candidate}, {score_text(first)} after {of}."]
    known = [trial for trial in others if trial.candidate != DEFAULT and trial.score is not None]
    rivals = [trial for trial in known if trial.rung == first.rung]
    if rivals:
        gap = better(first) - better(rivals[0])
        sure = (
            "their intervals do not overlap."
            if apart(first, rivals[0])
            else "their intervals overlap: no difference can be told between them on these validation images."
        )
        out.append(f"It is {gap:.3f} ahead of {rivals[0].candidate}, {score_text(rivals[0])}; {sure}")
        same = [trial.candidate for trial in rivals[1:] if not apart(first, trial)]
        if same:
            out.append(f"Nor can it be told from {', '.join(same)}.")
    out.append("The choice was made on these images, so the score is kinder than a test's.")
    cut = [trial for trial in trials if trial.epochs < trial.planned]
    out += [f"{t.candidate} was cut after {t.epochs} of {t.planned} epochs: the machine became slower." for t in cut]
    out += [f"{t.candidate} could not train: {t.error}" for t in others if t.error and t.score is None]
    return out


def of_the_default(against: Mapping[str, Any] | None, best: Trial) -> str:
    """What may be said of the chosen candidate and the settings as they are without a search."""
    if best.candidate == DEFAULT:
        return "Nothing that was tried is better than the settings as they are without a search."
    if against is None:
        return "The default could not train, so there is nothing to say of a gain over it."
    sign = -1 if against["metric"] == "log_loss" else 1
    low, high = sorted(sign * against[end] for end in ("low", "high"))
    gap, what = sign * against["value"], against["metric"].replace("_", " ")
    sure = "0 is outside it." if low > 0 or high < 0 else "0 is inside it: it may be chance."
    return (
        f"Against the default its {what} gains {gap:+.3f} in rung {against['rung']}, on the same images "
        f"(95 % interval {low:+.3f} to {high:+.3f}; {sure[:-1]})."
    )


def finish(folder: Path, config: TuneTree) -> Tuning:
    """Write trials.csv, best.toml and halving.png, and search.png where settings were drawn."""
    import polars as pl

    from anmok.report.figures import save_png

    result = Tuning(folder)
    rows = [trial._asdict() | dict(result.settings[trial.candidate]) for trial in result.trials]
    write_atomic(folder / "trials.csv", pl.DataFrame(rows, infer_schema_length=None).write_csv)
    best = result.best
    head = f"# anmok tune: {best.candidate}, {score_text(best)} on validation\n"
    write_atomic(folder / "best.toml", head + dump_toml(configured(config, result.settings[best.candidate])))
    order = [trial.candidate for trial in standing(result.trials)]
    save_png(halving([trial._asdict() for trial in result.trials], order), folder / "halving.png")
    if config.search != ALONE:
        on, marks = {trial.candidate for trial in result.trials if trial.rung > 1}, {DEFAULT: "default"}
        marks[best.candidate] = "default, chosen" if best.candidate == DEFAULT else "chosen"
        seen = [
            row | {"on": row["candidate"] in on, "mark": marks.get(row["candidate"], "")}
            for row in rows if row["rung"] == 1
        ]  # fmt: skip
        save_png(searched(seen, config.search, best.metric), folder / "search.png")
    return result


def _row(trial: Trial) -> tuple[str, ...]:
    name, score = visible(trial.candidate), "failed" if trial.score is None else f"{trial.score:.3f}"
    interval = "" if trial.low is None or trial.high is None else f"{trial.low:.3f} – {trial.high:.3f}"
    return (
        name, str(trial.rung), f"{trial.images:,}", str(trial.epochs), f"{trial.seconds:.1f}", score, interval,
    )  # fmt: skip


def _cells(row: tuple[str, ...], widths: list[int]) -> list[str]:
    first, *rest = zip(row, widths, strict=True)
    return [first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest)]
