"""The weights that are judged in the place of those that learn: a moving average, or Lookahead's slow ones."""

from __future__ import annotations

from torch import nn

from anmok.core.errors import UsageError
from anmok.engine.config import OptimConfig
from anmok.engine.lookahead import Lookahead
from anmok.models.average import EMA


def build_average(learner: nn.Module, config: OptimConfig, steps: int) -> EMA | Lookahead | None:
    """As set; None where the weights that learn are judged themselves.

    steps: of the course.  UsageError where slow weights would never move in it.
    """
    if config.lookahead is not None:
        if steps < config.lookahead_every:
            raise UsageError(
                f"the run has {steps} steps, and slow weights move after {config.lookahead_every}.",
                where="optim.lookahead_every", code="setting", remedy="Lower it, or train for more epochs.",
            )  # fmt: skip
        return Lookahead(learner, config.lookahead, config.lookahead_every, config.lookahead_power)
    return EMA(learner, config.ema) if config.ema else None
