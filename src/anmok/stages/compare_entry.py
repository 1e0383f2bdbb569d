"""A model that takes part in a comparison: where it lies, how it trains, and on which parts of the data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anmok.core.types import Evaluation
from anmok.data.table import Table, class_counts
from anmok.stages.compare_measure import (
    accuracy,
    at_scale,
    latency_ms,
    look,
    probabilities,
    shuffled,
    throughput,
)
from anmok.stages.compare_row import Row
from anmok.stages.compare_settings import CompareTree
from anmok.stages.config import TrainConfig
from anmok.stages.tune_rungs import LEAST_EACH, stratified

CHECKPOINT = "1 min"  # how often a state to resume from is stored, unless the settings say it


@dataclass(frozen=True)
class Entry:
    """name: as given; folder: its own, in the comparison's; config: the comparison's; table: the locked one."""

    name: str
    folder: Path
    config: CompareTree
    table: Table

    @property
    def training(self) -> TrainConfig:
        """The settings of its training. Pixels are kept on disk unless it is said where: there the next finds them."""
        own = self.config
        values: dict[str, Any] = {name: getattr(own, name) for name in TrainConfig.model_fields}
        if own.epochs is not None:
            values["minutes"] = None
        kept = "disk" if own.data.cache == "auto" else own.data.cache
        set_by_user = "checkpoint_every" in own.training.model_fields_set
        often = own.training.checkpoint_every if set_by_user else CHECKPOINT
        return TrainConfig(**values | {
            "model": own.model.model_copy(update={"name": self.name}),
            "data": own.data.model_copy(update={"cache": kept}),
            "training": own.training.model_copy(update={"checkpoint_every": often}),
        })  # fmt: skip

    @property
    def looking(self) -> dict[str, Any]:
        """The options of `look`."""
        own = self.config
        return {
            "most": own.compare.images, "seed": own.seed, "threads": own.runtime.threads,
            "truncated": own.data.allow_truncated,
        }  # fmt: skip


def share_of(table: Table, share: float, seed: int) -> Table:
    """The table with a share of each class to train on; val and test are whole. Larger shares hold the smaller ones."""
    import polars as pl

    train = table.labelled().where(split="train")
    chosen = train.take(stratified(train, share, seed)).rows["id"].implode()
    return table.take((pl.col("split") != "train") | pl.col("id").is_in(chosen))


def too_few(table: Table, share: float) -> str:
    """Why a share of the table's training images is no set to learn from, '' where it is."""
    counts = [n for n in class_counts(table.labelled().where(split="train")).values() if n]
    wanted = share * sum(counts)
    if wanted >= LEAST_EACH * len(counts):
        return ""
    return (
        f"{share:.0%} of {sum(counts):,} training images are {wanted:.0f}, fewer than {LEAST_EACH} for each of "
        f"{len(counts)} classes"
    )


def with_scores(row: Row, evaluation: Evaluation) -> Row:
    """The row with the scores of the test."""
    metrics, kept = evaluation["metrics"], ("value", "low", "high", "reason")
    accuracy, macro_f1 = (
        {key: metrics[name][key] for key in kept if key in metrics[name]} for name in ("accuracy", "macro_f1")
    )
    guess = evaluation["baselines"]["majority"]["accuracy"]["value"]
    return row.with_(accuracy=accuracy, macro_f1=macro_f1, guess=guess)


def with_measures(row: Row, model: Any, entry: Entry, multiple: int = 1) -> Row:
    """The row with what is measured alike of a network and of a baseline, see `compare_measure`; speed is apart."""
    own, rows = entry.config.compare, entry.table.labelled().where(split="test")
    test = look(rows, model.preprocess, **entry.looking)
    train = look(entry.table.where(split="train"), model.preprocess, **entry.looking)
    plain = accuracy(probabilities(model, test.images), test.targets, model.task)
    return row.with_(
        image_size=model.preprocess.image_size,
        train_accuracy=accuracy(probabilities(model, train.images), train.targets, model.task),
        shuffled=shuffled(model, test, plain, own.grid, entry.config.seed),
        sizes=tuple(at_scale(model, rows, plain, scale, multiple, entry.looking) for scale in own.sizes),
    )  # fmt: skip


def with_speed(row: Row, model: Any, entry: Entry) -> Row:
    """The row with the speed of a model as it answers in Python."""
    own, rows = entry.config.compare, entry.table.labelled().where(split="test")
    images = look(rows, model.preprocess, **entry.looking | {"most": own.batch}).images
    batch = images.repeat(-(-own.batch // len(images)), axis=0)[: own.batch]
    return row.with_(latency_ms=latency_ms(model, images[:1]), throughput=throughput(model, batch), batch=own.batch)
