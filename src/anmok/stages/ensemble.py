"""`anmok ensemble`: several runs as one, that predicts, evaluates and decides as any run does."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anmok.core.artifacts import save_predictions
from anmok.core.config import dump_toml
from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.core.files import MANIFEST, new_folder, read_json, sha256, write_atomic, write_json, write_manifest
from anmok.core.types import Evaluation, Predictions
from anmok.data.table import Table, split_counts
from anmok.evaluate.ensemble import FITTED, WAYS, Ensemble, How, fit_ensemble
from anmok.report.ensemble_text import ensemble_lines
from anmok.stages import run_folder
from anmok.stages.decide_calibrate import of_model
from anmok.stages.ensemble_gain import gain, held_out, latency
from anmok.stages.ensemble_model import FILE
from anmok.stages.ensemble_run import CONFIG, EnsembleRun, find_run, report_of_any
from anmok.stages.hierarchy_scores import fitted_decision
from anmok.stages.judge import groups_of, judge, scores, write_evaluation
from anmok.stages.run import Run

SOUPS = ("soup", "greedy-soup")


def ensemble(members: Sequence[Any], *, how: str = "soft", out: Path | str | None = None) -> EnsembleRun:
    """Make one run of several and return it.

    members: runs or their paths, two or more, of the same classes and the same split.  how: soft (mean), hard (votes),
    weighted, greedy, stack (fitted on the validation split), or of runs of one network soup or greedy-soup (the mean of
    their weights); soft and hard also take runs that have no validation split.  out: its folder, which must not exist
    yet (default: runs/ensemble-N).  It names its members, by path and hash, and does not hold them, but for a soup,
    whose model/ is an ordinary model folder.

    UsageError for what does not fit together; DataError for other classes (class-map), ids or splits (ids).
    """
    known = (*WAYS, *SOUPS)
    if how not in known:
        raise UsageError(f"no such way as {how}.", where="--how", remedy=did_you_mean(how, known), code="setting")
    runs = named_runs(members)
    require_same_split(runs)
    validated = any("val" in split_counts(run.table) for run in runs.values())
    stored = validation(runs) if validated or how in (*FITTED, *SOUPS) else {}
    folder = run_folder.new_folder(out, "ensemble", "ensemble")
    with run_folder.begun_in(folder):
        if how in SOUPS:
            from anmok.stages.ensemble_soup import write_soup

            write_soup(folder, runs, stored, greedy=how == "greedy-soup")
        else:
            way = next(w for w in WAYS if w == how)
            _write_fitted(folder, runs, stored, way)  # type: ignore[arg-type]
    return EnsembleRun(folder)


def named_runs(members: Sequence[Any]) -> dict[str, Run]:
    """The runs by name: that of their folder, or their path where two are alike."""
    runs = [find_run(member) for member in members]
    if len(runs) < 2:
        raise UsageError("an ensemble has two members or more.", where="members", code="setting")
    for run in runs:
        if isinstance(run, EnsembleRun):
            raise UsageError(
                "an ensemble is no member of another.", where=str(run.path), remedy="Name its members.", code="setting"
            )
    names = [run.path.name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.path) for run in runs]
    if len(set(names)) < len(names):
        raise UsageError("a run is named twice.", where="members", code="setting")
    return dict(zip(names, runs, strict=True))


def require_same_split(runs: Mapping[str, Run]) -> None:
    """DataError (code ids) where what tests one run has trained another, or classes differ (code class-map)."""
    names = list(runs)
    tables = {name: run.table for name, run in runs.items()}
    first = tables[names[0]]
    tests = set(first.where(split="test").rows["id"].to_list())
    for name in names[1:]:
        table = tables[name]
        if (table.task, table.classes) != (first.task, first.classes):
            raise DataError(
                f"the classes of {name} are not those of {names[0]}.", where=str(runs[name].path), code="class-map",
                remedy="Train the members on the same classes.",
            )  # fmt: skip
        if set(table.where(split="test").rows["id"].to_list()) != tests:
            raise DataError(
                f"the test images of {name} are not those of {names[0]}: together they would have been trained on what "
                "tests them.", where=str(runs[name].path), code="ids",
                remedy="Split once, with `anmok split DATA --out table.parquet`, and train every member on that table.",
            )  # fmt: skip


def validation(runs: Mapping[str, Run]) -> dict[str, Predictions]:
    """The validation predictions of each run's model as it is now."""
    out = {}
    for name, run in runs.items():
        folder = run.path / "model"
        if not (run.path / "predictions" / "val.parquet").is_file() or not folder.is_dir():
            raise UsageError(
                "it has no model with validation predictions.", where=str(run.path), code="run",
                remedy="Finish it, or train with a validation split; --how soft does without, if no member has one.",
            )  # fmt: skip
        out[name] = of_model(
            run.predictions("val"), sha256(folder / MANIFEST), read_json(folder / "decision.json"),
            f"Predict them anew: anmok evaluate {run.path} --split val.",
        )  # fmt: skip
    return out


def _write_fitted(folder: Path, runs: Mapping[str, Run], stored: Mapping[str, Predictions], how: How) -> None:
    table = next(iter(runs.values())).table
    if not stored:  # nothing to fit on, nothing to measure the gain on
        write_ensemble(folder, runs, Ensemble(how, tuple(runs), tuple(table.classes), table.task), {"gain": None}, {})
        return
    fitted = fit_ensemble(stored, how)
    together = held_out(stored, how)
    facts = {"gain": gain(stored, together, "val", how in FITTED, groups_of(table))}
    write_ensemble(folder, runs, fitted, facts, {"val": fitted.predict(stored)})


def write_ensemble(
    folder: Path, runs: Mapping[str, Run], fitted: Ensemble, facts: Mapping[str, Any],
    predictions: Mapping[str, Predictions], table: Table | None = None,
) -> EnsembleRun:  # fmt: skip
    """Write an ensemble's folder, whole or not at all, then its evaluation and report.

    facts: what ensemble.json says besides; predictions: the ensemble's, by split; table: by default
    the first member's.
    """
    first = next(iter(runs.values()))
    times = {name: latency(run.model) for name, run in runs.items()}
    content = {
        "version": 1, **fitted.to_dict(), **members_of(runs, folder / "model"), "latency_ms": times, **facts,
    }  # fmt: skip
    with new_folder(folder) as temporary:
        write_settings(temporary, first, content, table)
        model = temporary / "model"
        write_json(model / FILE, {k: v for k, v in content.items() if k not in ("gain", "latency_ms")})
        fitting = next(iter(predictions.values()), None)  # of validation, or out of fold
        decision = fitted_decision(first.table if table is None else table, fitting)
        write_json(model / "decision.json", decision)
        write_atomic(model / "README.md", _readme(folder.name, content))
        write_manifest(model)
    model_hash = sha256(folder / "model" / MANIFEST)
    run = EnsembleRun(folder)
    for split, p in predictions.items():
        judge_stored(run, split, p, model_hash, decision)
    return run


def write_settings(folder: Path, first: Run, content: Mapping[str, Any], table: Table | None = None) -> None:
    """ensemble.toml, ensemble.json and table.parquet."""
    write_atomic(folder / CONFIG, "# anmok ensemble: how images are read\n" + dump_toml(first.config))
    write_json(folder / FILE, dict(content))
    (first.table if table is None else table).save(folder / "table.parquet")


def members_of(runs: Mapping[str, Run], home: Path) -> dict[str, Any]:
    """{paths, hashes} of the members' model folders, relative to `home`."""
    folders = [run.path / "model" for run in runs.values()]
    return {
        "paths": [os.path.relpath(folder.resolve(), home.resolve()) for folder in folders],
        "hashes": [sha256(folder / MANIFEST) for folder in folders],
    }


def judge_stored(
    run: Run, split: str, p: Predictions, model_hash: str, decision: Mapping[str, Any] | None = None
) -> None:
    """Write a split's predictions, evaluation and report; decision: the content of decision.json."""
    marked = Predictions(
        p.ids, p.classes, p.probs, p.targets, p.task, [split] * len(p), model_hash, run.table.fingerprint, p.errors
    )
    save_predictions(marked, run.path / "predictions" / f"{split}.parquet")
    if split == "oof":
        evaluation = Evaluation(scores(run.table, split, marked, decision))
    else:
        evaluation = judge(run.table, split, marked, run.config.data, decision)
    write_evaluation(run.path, evaluation)
    report_of_any(run, split, evaluation, marked)


def _readme(name: str, content: Mapping[str, Any]) -> str:
    lines = [
        f"# {name}", "", f"An ensemble of {len(content['members'])} models, made with anmok. It names its members "
        "by path and hash and does not hold them.", "", "```", *ensemble_lines(content), "```", "", "## Use", "",
        '```python\nimport anmok\n\nprint(anmok.load("FOLDER").predict(["IMAGE"]))\n```', "",
    ]  # fmt: skip
    return "\n".join(lines)
