"""What of a network learns: everything, its head, its last stages, or low-rank additions; all at once or by and by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from anmok.core.errors import UsageError
from anmok.models.depth import Stage, stages_of
from anmok.models.heads import in_head


class Part(NamedTuple):
    """A line of the table of what learns.

    name: of a stage, or of the head; parameters: how many; learning: how many of them learn; rate: their share of the
    learning rate, None where none learns; since: the epoch from which they do, counted from 1.
    """

    name: str
    parameters: int
    learning: int
    rate: float | None
    since: int | None


def freeze(backbone: nn.Module, heads: tuple[str, ...], adapt: str) -> None:
    """Let learn: `full`, everything; `head`, the head; `last:N`, the head and the N stages before it.

    UsageError where the network has fewer stages, naming them.
    """
    if adapt == "full":
        return
    learns: set[str] = set()
    if adapt.startswith("last:"):
        learns = {n for stage in last_stages(backbone, heads, int(adapt.removeprefix("last:"))) for n in stage[1]}
    for name, parameter in backbone.named_parameters():
        if parameter.requires_grad:  # a fixed stem stays as it is
            parameter.requires_grad_(name in learns or in_head(name, heads))


def last_stages(backbone: nn.Module, heads: tuple[str, ...], count: int) -> list[Stage]:
    """The last `count` stages before the head.  UsageError where there are fewer."""
    stages = stages_of(backbone, heads)
    if count > len(stages):
        raise UsageError(
            f"the model has {len(stages)} stage(s) before its head ({'; '.join(s.name for s in stages)}), not {count}.",
            where=f"--adapt last:{count}", remedy="Take fewer, or --adapt full.", code="adapt",
        )  # fmt: skip
    return stages[len(stages) - count :]


def parts_of(
    backbone: nn.Module, heads: tuple[str, ...], rates: Mapping[str, float] | None = None, every: float | None = None
) -> list[Part]:
    """What learns, stage by stage and the head last.

    rates: shares of the learning rate (see `depth.rate_factors`); every: epochs from one stage's unfreezing to the
    next one's (see `Unfreezing`).
    """
    own = dict(backbone.named_parameters())
    stages = stages_of(backbone, heads)
    head = Stage(", ".join(heads), tuple(n for n in own if in_head(n, heads)))
    out = []
    for above, stage in zip(range(len(stages), -1, -1), [*stages, head], strict=True):
        sizes = [(own[n].numel(), own[n].requires_grad) for n in stage.parameters]
        learning = sum(n for n, learns in sizes if learns)
        rate = max(((rates or {}).get(n, 1.0) for n in stage.parameters if own[n].requires_grad), default=None)
        since = None if not learning else 1 if every is None else _first_epoch(above, every)
        out.append(Part(stage.name, sum(n for n, _ in sizes), learning, rate, since))
    return out


def parts_text(parts: list[Part]) -> str:
    """The table in plain text."""
    rows = [("stage", "parameters", "learning", "rate")]
    for p in parts:
        learning = "frozen" if not p.learning else f"{p.learning:,}" if p.learning < p.parameters else "all"
        late = f" from epoch {p.since}" if p.since and p.since > 1 else ""
        rows.append((p.name, f"{p.parameters:,}", learning + late, "" if p.rate is None else f"x {p.rate:.4g}"))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return "\n".join(
        f"  {a:<{widths[0]}}  {b:>{widths[1]}}  {c:<{widths[2]}}  {d:<{widths[3]}}".rstrip() for a, b, c, d in rows
    )


class Unfreezing:
    """Gradual unfreezing (Howard & Ruder 2018, arXiv:1801.06146): the head learns alone, stages join from the last on.

    every: epochs from one to the next. What learns is a pure function of the epoch, of the parameters that learned when
    this was made.
    """

    def __init__(self, backbone: nn.Module, heads: tuple[str, ...], every: float):
        own = dict(backbone.named_parameters())
        self.every = every
        self.stages: list[list[nn.Parameter]] = [
            [own[n] for n in stage.parameters if own[n].requires_grad] for stage in reversed(stages_of(backbone, heads))
        ]

    def begin(self, epoch: int) -> None:
        """Let those learn that do in this epoch, counted from 0."""
        for above, parameters in enumerate(self.stages, start=1):
            for parameter in parameters:
                parameter.requires_grad_(epoch + 1 >= _first_epoch(above, self.every))
                if not parameter.requires_grad:
                    parameter.grad = None


def _first_epoch(above: int, every: float) -> int:
    """The epoch, counted from 1, in which the stage with `above` stages and heads from it to the logits joins."""
    return 1 + math.ceil(above * every - 1e-9)


def as_plain(parts: list[Part]) -> list[dict[str, Any]]:
    """Plain values, for the event of the start."""
    return [p._asdict() for p in parts]
