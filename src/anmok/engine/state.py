"""Where a run is, as plain values that a checkpoint keeps."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class State:
    """Where a run is: the epoch, the batch in it, totals of the epoch so far, what validation said before.

    total: steps of the whole course as decided last; first: as laid out at the start; anchor, anchored: the step of
    the last decision, and where in the course as first laid out it was (see `pace.position`). spent: seconds of the
    run, over all its sittings. account: seconds by what they went to, of the epoch and of those before it. side: of the
    epoch's images, pixels, where they grow.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    images: int = 0
    loss: float = 0.0
    correct: float = 0.0
    lr: float = 0.0
    seconds: float = 0.0
    wait: float = 0.0
    best: float | None = None
    best_epoch: int | None = None
    val_losses: list[float] = field(default_factory=list)
    stopped_early: bool = False
    parts: int = 1  # that a batch went in when memory was last short
    skipped: int = 0  # steps of the epoch left out, as their fp16 gradient overflowed
    total: int = 0
    first: int = 0
    anchor: int = 0
    anchored: float = 0.0
    spent: float = 0.0
    val_s: float | None = None
    side: int | None = None
    account: dict[str, float] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return asdict(self)

    def book(self, seconds: dict[str, float]) -> None:
        """Add to the epoch's account."""
        for name, value in seconds.items():
            self.account[name] = self.account.get(name, 0.0) + value

    def close_account(self) -> None:
        """Put the epoch's account to those before it."""
        for name, value in self.account.items():
            self.before[name] = self.before.get(name, 0.0) + value
        self.account = {}
