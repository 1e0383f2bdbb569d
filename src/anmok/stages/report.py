"""What a run knows, gathered for its report; the report room draws it and computes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from anmok.core.config import Config, leaves
from anmok.core.events import read_events, redact
from anmok.core.files import read_json
from anmok.core.machine import versions
from anmok.core.types import Evaluation, Predictions
from anmok.data.table import Table, class_counts
from anmok.engine.account import told
from anmok.report.content import Mistake, ReportContent
from anmok.report.language import language_of
from anmok.report.page import write_report
from anmok.stages.judged import judged
from anmok.stages.pictures import Pictures
from anmok.stages.run import Run, kept_epoch

WORST = 24


def report_of(
    run: Run, split: str, evaluation: Evaluation, predictions: Predictions, out: Path | None = None,
    language: str | None = None,
) -> Path:  # fmt: skip
    """Write the report of a split: report.html for validation, report-<split>.html else, or `out`.

    language: en or ko, by default that of the environment (see `report.language`).
    """
    path = out or run.path / ("report.html" if split == "val" else f"report-{split}.html")
    table, config, said = run.table, run.config, language_of(language)
    pictures = Pictures(table)
    content = ReportContent(
        title=said.say("title", model=config.model.name, split=said.labels[f"split_{split}"], run=run.path.name),
        subtitle=said.say("subtitle", reason=table.reason),
        evaluation=evaluation,
        history=run.history,
        best_epoch=kept_epoch(run.path),
        counts={name: class_counts(rows) for name in ("train", "val", "test") if len(rows := table.where(split=name))},
        notes=[
            *(n for n in table.notes if not n.startswith("warning: ")),
            *(evaluation.data.get("hierarchy") or {}).get("text", ()),
        ],
        warnings=[n.removeprefix("warning: ") for n in table.notes if n.startswith("warning: ")],
        mistakes=mistakes(table, predictions, pictures, said.labels["none"]),
        judged=judged(table, predictions, evaluation, pictures),
        language=said.code,
        model=model_rows(run),
        settings=settings_rows(config),
        facts={
            "table fingerprint": table.fingerprint, "model hash": predictions.model_hash, "seed": str(config.seed),
            "versions": ", ".join(f"{k} {v}" for k, v in versions().items()),
        },
    )  # fmt: skip
    return write_report(path, content)


def mistakes(table: Table, p: Predictions, pictures: Pictures | None = None, none: str = "none") -> list[Mistake]:
    """The images that the model was surest of and wrong about, worst first, with thumbnails.

    none: what is said of an image without a label.
    """
    if p.targets is None:
        return []
    probs = np.nan_to_num(p.probs)
    if p.task == "multilabel":
        wrong = ((probs >= 0.5) != (p.targets > 0.5)) & ~np.isnan(p.targets)
        score = np.where(wrong, np.abs(probs - np.nan_to_num(p.targets)), 0).max(axis=1)
    else:
        best = probs.argmax(axis=1)
        score = np.where((best != p.targets) & (p.targets >= 0), probs.max(axis=1), 0)
    names = p.labels
    worst = [i for i in np.argsort(-score, kind="stable")[:WORST] if score[i] > 0]
    drawn = (pictures or Pictures(table)).large(p.ids[i] for i in worst)
    out = []
    for i in worst:
        truth = (
            [c for c, t in zip(p.classes, p.targets[i], strict=True) if t > 0.5]
            if p.task == "multilabel"
            else [p.classes[p.targets[i]]]
        )
        guess = names[i] if isinstance(names[i], list) else [str(names[i])]
        said = (", ".join(truth) or none, ", ".join(guess) or none)
        out.append(Mistake(p.ids[i], *said, float(score[i]), drawn[p.ids[i]]))
    return out


def model_rows(run: Run) -> dict[str, str]:
    """The network and how it was computed, as text."""
    plan = read_json(run.path / "plan.json")["plan"]
    start = next(read_events(run.path / "events.jsonl", "start"), {})
    seconds = sum(h.get("seconds", 0.0) for h in run.history)
    model = run.model
    seen = model.preprocess
    size = seen.image_size
    compiled = ", compiled" if plan.get("compiled") else ""
    form = f"{plan['dtype']}{', channels last' if plan['channels_last'] else ''}{compiled}, {plan['threads']} thread(s)"
    rows = {
        "model": run.config.model.name,
        "learning parameters": f"{start.get('parameters', 0):,}",
        "image": ", ".join([f"{size} × {size}", seen.channels, seen.fit, *seen.steps()]),
        "computed in": form,
        "training": f"{len(run.history)} epochs in {seconds / 60:.1f} min",
    }
    if plan["timings"]:
        rows["measured before"] = ", ".join(f"{name} {speed:.0f} images/s" for name, speed in plan["timings"].items())
    if plan.get("rejected"):
        rows["not taken"] = "; ".join(f"{name}: {reason}" for name, reason in plan["rejected"].items())
    if (account := last_account(run)) and (text := told(account)):
        rows["time went to"] = text
    return rows


def last_account(run: Run) -> dict[str, float]:
    """Seconds of the training by what they went to; empty for a run that did not come to its end."""
    events = list(read_events(run.path / "events.jsonl", "account"))
    return events[-1]["seconds"] if events else {}


def settings_rows(config: Config) -> dict[str, str]:
    """The settings of a tree that are not its default, as text."""
    out: dict[str, str] = {}
    for leaf in leaves(type(config)):
        node: Any = config
        for part in leaf.path.split("."):
            node = getattr(node, part)
        if node != leaf.default:
            out[leaf.path] = str(redact(node, leaf.path))
    return out


def show(evaluation: Evaluation, language: str | None = None) -> None:
    """The evaluation on the terminal."""
    from anmok.report.text import print_evaluation

    print_evaluation(evaluation, language=language_of(language))
