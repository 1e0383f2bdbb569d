"""A classifier on features made by hand, as the mark that networks have to beat in `anmok auto`."""

from __future__ import annotations

import importlib.util
from typing import Any

from anmok.core.errors import DataError, UsageError
from anmok.core.progress import say
from anmok.data.table import Table
from anmok.stages.auto_rungs import rung_table
from anmok.stages.auto_settings import AutoTree
from anmok.stages.config import TrainConfig
from anmok.stages.tune_search import used

IMAGES = 500  # to learn from, and to be scored on, at most: it is a mark, and takes seconds


def mark(table: Table, config: AutoTree) -> dict[str, Any]:
    """{name, images, metric, score, low, high, error} of hog/logistic, or colors/logistic where HOG is not there."""
    from anmok.stages.baseline import build_features, compute, fitted_on
    from anmok.stages.tune_trial import scores

    name = "hog/logistic" if importlib.util.find_spec("skimage") else "colors/logistic"
    train = len(used(table).where(split="train"))
    small = rung_table(table, min(1.0, IMAGES / train), config.seed, most=IMAGES)
    facts: dict[str, Any] = {"name": name, "images": len(small.where(split="train")), "error": ""}
    settings = TrainConfig(data=config.data, runtime=config.runtime, seed=config.seed)
    try:
        features = build_features(name, small, settings)
        model = fitted_on(name, features, small, compute(features, small, settings), settings)
        metric, found, _ = scores(model.predict(small.where(split="val")), config.training.select)
    except (UsageError, DataError) as error:  # a task or images that the features do not take
        return {**facts, "metric": "", "score": None, "low": None, "high": None, "error": str(error)}
    facts |= {"metric": metric, "score": found["value"], "low": found.get("low"), "high": found.get("high")}
    say(f"  {name}, for comparison: {metric} {found['value']:.3f}")
    return facts
