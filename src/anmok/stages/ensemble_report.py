"""The report of what has no training of its own: an ensemble, the out-of-fold images of a cross-validation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from anmok.core.machine import versions
from anmok.core.types import Evaluation, Predictions
from anmok.data.table import Table, class_counts
from anmok.report.content import ReportContent
from anmok.report.ensemble_text import ensemble_rows
from anmok.report.language import language_of
from anmok.report.page import write_report
from anmok.stages.ensemble_run import EnsembleRun
from anmok.stages.judged import judged
from anmok.stages.pictures import Pictures
from anmok.stages.report import mistakes


def ensemble_report(
    run: EnsembleRun, split: str, evaluation: Evaluation, predictions: Predictions, out: Path | None = None,
    language: str | None = None,
) -> Path:  # fmt: skip
    """Write the report of an ensemble: report.html for validation, report-<split>.html else, or `out`."""
    path = out or run.path / ("report.html" if split == "val" else f"report-{split}.html")
    rows = ensemble_rows(run.facts)
    return plain_report(path, run.path.name, split, run.table, evaluation, predictions, rows, language)


def plain_report(
    path: Path, name: str, split: str, table: Table, evaluation: Evaluation, predictions: Predictions,
    model: Mapping[str, str], language: str | None = None,
) -> Path:  # fmt: skip
    """Write a page with scores, thresholds and mistakes; model: {name: text} rows."""
    said, pictures = language_of(language), Pictures(table)
    content = ReportContent(
        title=said.say("title_plain", run=name, split=said.labels[f"split_{split}"]),
        subtitle=said.say("subtitle", reason=table.reason),
        evaluation=evaluation,
        counts={s: class_counts(rows) for s in ("train", "val", "test") if len(rows := table.where(split=s))},
        notes=[n for n in table.notes if not n.startswith("warning: ")],
        warnings=[n.removeprefix("warning: ") for n in table.notes if n.startswith("warning: ")],
        mistakes=mistakes(table, predictions, pictures, said.labels["none"]),
        judged=judged(table, predictions, evaluation, pictures),
        language=said.code,
        model=dict(model),
        facts={
            "table fingerprint": table.fingerprint, "model hash": predictions.model_hash,
            "versions": ", ".join(f"{k} {v}" for k, v in versions().items()),
        },
    )  # fmt: skip
    return write_report(path, content)
