"""What a pretraining is watched by: its loss on validation images, and what labels the encoder's vectors hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from anmok.core.events import read_events
from anmok.data.batches import Loader
from anmok.data.table import Table
from anmok.engine.runtime import Runtime
from anmok.evaluate.probes import knn_accuracy, linear_probe
from anmok.models.classifier import evaluating
from anmok.objectives.objective import Objective
from anmok.stages.job import Job

SHARE = 0.1  # of the time that probes may take


class Monitor:
    """`monitor(job)` gives the validation figures of an epoch: loss, and knn and linear when they are due.

    known, asked: labelled images of train and of val, prepared as in use; None where there are no labels. every: epochs
    between two probes; None: as long as a tenth of the time is enough. They are taken in the last epoch in any case.
    """

    def __init__(
        self, known: Loader | None, asked: Loader | None, every: int | None, lowest: bool,
        clock: Callable[[], float] = time.perf_counter,
    ):  # fmt: skip
        self.known, self.asked, self.every, self.lowest, self.clock = known, asked, every, lowest, clock
        self._began, self._spent = clock(), 0.0

    def __call__(self, job: Job) -> dict[str, float]:
        """Scores of the judged weights; `select` keeps the last ones, or (lowest) those of the lowest loss."""
        epoch = 1 + sum(1 for _ in read_events(job.folder / "events.jsonl", "epoch"))
        out: dict[str, float] = {}
        if job.val is not None:
            out["loss"] = validation_loss(job.judged, job.val, job.runtime)
        if self.known is not None and self.asked is not None and self.due(epoch, job.epochs):
            began = self.clock()
            out |= probe(job.judged, self.known, self.asked, job.runtime)
            self._spent += self.clock() - began
        return out | {"select": -out["loss"] if self.lowest and "loss" in out else float(epoch)}

    def due(self, epoch: int, epochs: int) -> bool:
        """Whether this epoch (counted from 1) is probed."""
        if epoch == epochs:
            return True
        if self.every is not None:
            return epoch % self.every == 0
        return self._spent <= SHARE * (self.clock() - self._began)


def validation_loss(learner: Objective, batches: Loader, runtime: Runtime) -> float:
    """The mean loss over the images of a loader, with the same draws each time; the training's draws stay as they are.

    Views are those of epoch 0. A contrastive loss depends on the batch size.
    """
    total, images = 0.0, 0
    devices = [runtime.device] if runtime.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), evaluating(learner), runtime.autocast():
        torch.manual_seed(0)
        for batch in batches.epoch(0):
            if len(batch):
                total += float(learner(runtime.to_device(batch)).loss) * len(batch)
                images += len(batch)
    return total / max(1, images)


def probe(learner: Objective, known: Loader, asked: Loader, runtime: Runtime) -> dict[str, float]:
    """{'knn', 'linear'}: accuracy on the asked images of what the known ones' vectors tell."""
    vectors, labels = embedded(learner, known, runtime)
    queries, truth = embedded(learner, asked, runtime)
    return {
        "knn": knn_accuracy(vectors, labels, queries, truth),
        "linear": float((linear_probe(vectors, labels, queries) == truth).mean()),
    }


def embedded(learner: Objective, batches: Loader, runtime: Runtime) -> tuple[np.ndarray, np.ndarray]:
    """(vectors float32[N, D], targets int64[N]) of a loader's images."""
    vectors: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    with evaluating(learner), runtime.autocast():
        for batch in batches.epoch(0):
            if len(batch):
                vectors.append(learner.embed(runtime.to_device(batch).images).cpu().numpy())
                targets.append(batch.targets)
    return np.concatenate(vectors), np.concatenate(targets)


def probe_rows(table: Table, most: int, seed: int) -> Table | None:
    """At most so many of the labelled rows, drawn by the seed and in their order; None for tasks no probe is made for.

    Few rows of every class are taken before many of one, so that small classes stay among them.
    """
    labelled = table.labelled()
    if table.task == "multilabel" or not len(labelled):
        return None
    targets, rng = labelled.targets(), np.random.default_rng(seed)
    order = rng.permutation(len(labelled))
    turn = np.zeros(len(labelled), np.int64)  # how many of its class come before it in the drawn order
    for label in np.unique(targets):
        mine = order[targets[order] == label]
        turn[mine] = np.arange(len(mine))
    chosen = order[np.argsort(turn[order], kind="stable")][:most]
    return labelled.take(np.sort(chosen))


def probe_loader(table: Table | None, **common: Any) -> Loader | None:
    """The images of a table as they are prepared in use; None for none."""
    return None if table is None else Loader(table, **common)
