"""The learning-rate range test: one step at each of growing rates, and what the losses say of them.

Smith 2017, arXiv:1506.01186; geometric growth, smoothing and the end at a multiple of the best loss as in fastai.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from anmok.core.errors import DataError
from anmok.core.events import Events
from anmok.core.types import Batch
from anmok.engine.gradients import gradients
from anmok.engine.loop import Batches
from anmok.engine.optim import set_lr
from anmok.engine.runtime import Runtime
from anmok.engine.state import State
from anmok.engine.totals import Totals

DIVERGED = 4.0  # times the best averaged loss, at which a sweep ends
DECAY = 0.9  # of the moving average by which it is told to end
SPREAD = 2.5  # steps: standard deviation of the weights by which the curve is smoothed
CLEAR = 1.5  # standard deviations of a batch's loss by which it has to fall
START = 10  # steps whose losses are those of a network that has learned nothing yet


class Suggestion(NamedTuple):
    """Rates read off the curve: where the loss falls fastest, where it is lowest, and a tenth of that.

    falling: the loss still fell at the end of the sweep, so that the lowest point may lie beyond.
    """

    steepest: float
    minimum: float
    falling: bool

    @property
    def tenth(self) -> float:
        """A tenth of the rate of the lowest loss, rounded to three digits: the one that is recommended."""
        return float(f"{self.minimum / 10:.3g}")


def geometric(lowest: float, highest: float, steps: int) -> list[float]:
    """Rates from `lowest` to `highest` by equal factors, one a step."""
    return [float(rate) for rate in np.geomspace(lowest, highest, steps)]


def sweep(
    learner: nn.Module, optimizer: torch.optim.Optimizer, batches: Batches, runtime: Runtime, base: float,
    rates: Sequence[float], *, whole: int = 1, accumulate: int = 1, clip: float | None = None,
) -> list[float]:  # fmt: skip
    """The loss before each step, one step a rate; fewer than rates where it diverged.

    base: the rate with which the optimizer was built; groups of other rates keep their shares of it. whole: images of a
    batch below which it is passed over, as its loss is too noisy. The learner is left as the last step made it.
    DataError where no loss is finite.
    """
    learner = runtime.wrap(learner)
    learner.train()
    state, events = State(), Events(None)
    losses: list[float] = []
    average, best = 0.0, math.inf
    feed = _endless(batches, runtime, whole)
    for number, rate in enumerate(rates, 1):
        batch = next(feed)
        set_lr(optimizer, rate / base)
        totals = Totals(State(), batches, runtime.device)
        state.parts = gradients(
            learner, optimizer, batch, len(batch), runtime, accumulate, state, totals, events
        )  # fmt: skip
        loss = float(totals.loss) / len(batch)
        if not math.isfinite(loss):
            break
        losses.append(loss)
        average = DECAY * average + (1 - DECAY) * loss
        told = average / (1 - DECAY**number)
        best = min(best, told)
        if told > DIVERGED * best:
            break
        runtime.update(optimizer, clip)
    feed.close()
    if not losses:
        raise DataError("the loss is not finite before the first step.", code="nan-loss")
    return losses


def smoothed(losses: Sequence[float]) -> np.ndarray:
    """float64[N]: each loss averaged with its neighbours on both sides, so that nothing moves along the rates.

    A loss counts for twice that of the start at most: the far end of a divergence says no more than its beginning.
    """
    values = np.asarray(losses, np.float64)
    values = np.minimum(values, 2 * values[:START].mean())
    place = np.arange(len(values))
    weights = np.exp(-0.5 * ((place[:, None] - place) / SPREAD) ** 2)
    return np.asarray(weights @ values / weights.sum(axis=1))


def suggest(rates: Sequence[float], losses: Sequence[float], planned: int) -> Suggestion:
    """What the losses of a sweep suggest; planned: steps that it would have had.

    DataError (code flat) where the loss falls at none of the rates, beyond what batches differ by.
    """
    curve, logs = smoothed(losses), np.log(np.asarray(rates[: len(losses)]))
    lowest = int(curve.argmin())
    start = np.asarray(losses[:START])
    differ = max(start.std(), np.std((np.asarray(losses) - curve)[: lowest + 1]))
    if lowest < 2 or start.mean() - curve[lowest] <= CLEAR * differ:
        raise DataError(
            f"the loss falls at none of the rates from {rates[0]:g} to {rates[len(losses) - 1]:g}.", code="flat",
            remedy="Try other rates (--lowest, --highest), more --steps or a larger --batch-size, or look at the data.",
        )  # fmt: skip
    slope = np.gradient(curve, logs)[:lowest]
    falling = len(losses) == planned and lowest >= planned - 2
    return Suggestion(float(f"{rates[int(slope.argmin())]:.3g}"), float(f"{rates[lowest]:.3g}"), falling)


def _endless(batches: Batches, runtime: Runtime, whole: int) -> Generator[Batch]:
    """Batches of one epoch after the other, those with images missing passed over.  DataError where all are so."""
    epoch = 0
    while True:
        found = False
        for batch in runtime.fed(batches.epoch(epoch, 0)):
            if len(batch) >= whole:
                found = True
                yield batch
        if not found:
            raise DataError(f"no batch has its {whole} images.", code="empty-table", remedy="Lower --batch-size.")
        epoch += 1
