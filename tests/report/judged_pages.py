"""Pages with all that can be moved and pressed: small images, real evaluations of made-up predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from anmok.core.types import Evaluation, Predictions
from anmok.data.table import Table
from anmok.evaluate.costs import ErrorCosts
from anmok.evaluate.decide import fit_decision
from anmok.report.content import ReportContent
from anmok.stages.judge import scores
from anmok.stages.judged import judged
from anmok.stages.pictures import Pictures
from anmok.stages.slices import divisions, sliced


def predictions(classes: list[str], n: int, task: str, split: str = "test", seed: int = 0) -> Predictions:
    rng, k = np.random.default_rng(seed), len(classes)
    if task == "multilabel":
        targets: Any = (rng.random((n, k)) < 0.4).astype(np.float32)
        probs = 1 / (1 + np.exp(-rng.normal(size=(n, k)) - 3 * targets + 1.5))
    else:
        targets = rng.integers(0, k, n)
        logits = rng.normal(size=(n, k)) * 1.5
        logits[np.arange(n), targets] += 1.5
        probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ids = [f"shelf {i % 2}/{i}.png" for i in range(n)]
    return Predictions(ids, classes, probs.astype(np.float32), targets, task, [split] * n)  # type: ignore[arg-type]


def table_of(p: Predictions, folder: Path, **columns: Any) -> Table:
    """A table whose image i is a square of its own grey, wider for every third."""
    for i, identity in enumerate(p.ids):
        path = folder / identity
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8 + 4 * (i % 3), 8), i % 256).save(path)
    assert p.targets is not None
    labels: list[Any]
    if p.task == "multilabel":
        labels = [[c for c, t in zip(p.classes, row, strict=True) if t > 0.5] for row in p.targets]
    else:
        labels = [p.classes[t] for t in p.targets]
    rows = pl.DataFrame({
        "id": p.ids, "image": p.ids, "label": labels, "split": p.split,
        "group": pl.Series([None] * len(p), dtype=pl.String), "hash": pl.Series([None] * len(p), dtype=pl.String),
        **columns,
    })  # fmt: skip
    return Table(rows, folder, tuple(p.classes), p.task)


def judged_case(
    folder: Path, classes: list[str], task: str, n: int = 90, language: str = "en", unknown: int | None = None,
    **asked: Any,
) -> Any:  # fmt: skip
    """(predictions, ReportContent) with slices; asked: a decision is fitted on other predictions (`fit_decision`).

    unknown: of multi-label, a label that nobody knows of any image.
    """
    p = predictions(classes, n, task)
    if unknown is not None:
        assert p.targets is not None
        p.targets[:, unknown] = np.nan
    table = table_of(p, folder)
    content = None
    if asked:
        decision = fit_decision(predictions(classes, 400, task, "val", seed=1), **asked)
        costs = asked.get("costs")
        named = {c: costs._asdict() for c in decision.thresholds or ()} if isinstance(costs, ErrorCosts) else None
        content = decision.to_dict() | ({"label_costs": named} if named else {})
    data = scores(table, "test", p, content)
    data["slices"] = sliced(divisions(table, "test", "folder,size"), p, "test")
    evaluation, pictures = Evaluation(data), Pictures(table)
    return p, ReportContent(
        title="a title", evaluation=evaluation, judged=judged(table, p, evaluation, pictures), language=language
    )
