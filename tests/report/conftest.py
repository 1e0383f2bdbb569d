"""Contents of a report for tests: real evaluations of made-up predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from anmok.core.types import Predictions
from anmok.evaluate.baselines import majority
from anmok.evaluate.metrics import evaluate, evaluate_baselines, evaluate_without
from anmok.report.content import Mistake, ReportContent
from anmok.report.thumbnails import thumbnail


def made_up(classes: list[str], n: int, task: str = "multiclass") -> Predictions:
    rng, k = np.random.default_rng(0), len(classes)
    if task == "multilabel":
        targets: Any = (rng.random((n, k)) < 0.4).astype(np.float32)
        probs = 1 / (1 + np.exp(-rng.normal(size=(n, k)) - 3 * targets + 1.5))
    else:
        targets = rng.integers(0, k, n)
        logits = rng.normal(size=(n, k)) * 1.5
        logits[np.arange(n), targets] += 3
        probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ids = [f"{classes[0]}/{i}.jpg" for i in range(n)]
    return Predictions(ids, classes, probs.astype(np.float32), targets, task, ["test"] * n)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def content() -> Callable[..., ReportContent]:
    """A function (classes, n, task, texts=..., pictures=...) -> ReportContent with every part filled."""

    def build(
        classes: list[str],
        n: int = 80,
        task: str = "multiclass",
        text: str = "a text",
        pictures: int = 3,
        side: int = 64,
    ) -> ReportContent:
        p = made_up(classes, n, task)
        evaluation = evaluate(p, "test")
        assert p.targets is not None
        base = {"majority": majority(p.targets, n, len(classes))}
        evaluation.data["baselines"] = evaluate_baselines(p, base, "test")
        evaluation.data["looks"] = 3
        evaluation.data["leaked"] = evaluate_without(p, p.ids[:5])
        rng = np.random.default_rng(1)
        thumbs = [thumbnail(rng.integers(0, 256, (side, side, 3), dtype=np.uint8), side, 90) for _ in range(pictures)]
        history = [
            {
                "epoch": e,
                "loss": 2 / e,
                "lr": 0.1 / e,
                "images_per_s": 90.0 + e,
                "val": {"loss": 3 / e, "accuracy": 0.1 * e},
            }
            for e in range(1, 6)
        ]
        return ReportContent(
            title=f"A report: {text}",
            subtitle=text,
            evaluation=evaluation,
            history=history,
            best_epoch=4,
            counts={"train": dict.fromkeys(classes, 1234), "test": dict.fromkeys(classes, 56)},
            notes=[text],
            warnings=[text],
            mistakes=[Mistake(f"{text}/{i}", classes[0], classes[-1], 0.987, t) for i, t in enumerate([*thumbs, b""])],
            model={"parameters": "11,179,590", text: text},
            settings={"optim.lr": "0.1", text: text},
            facts={"seed": "0", text: text},
        )

    return build
