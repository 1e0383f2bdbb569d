"""How long, in the unit that comes to mind: steps, epochs, a share of the whole, minutes."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(steps?|epochs?|%|s|sec|min|minutes?|h)\s*", re.I)
_SECONDS = {"s": 1, "sec": 1, "min": 60, "minute": 60, "minutes": 60, "h": 3600}


@dataclass(frozen=True)
class Duration:
    """A number and its unit: step, epoch, % or seconds."""

    value: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> Duration:
        """'500 steps', '3 epochs', '5%', '90 s', '5 min'; ValueError otherwise."""
        match = _FORM.fullmatch(text)
        if not match:
            raise ValueError("expected a duration such as '500 steps', '3 epochs', '5%' or '5 min'")
        unit = match[2].lower()
        if unit in _SECONDS:
            return cls(float(match[1]) * _SECONDS[unit], "seconds")
        return cls(float(match[1]), unit.rstrip("s"))

    def steps(self, per_epoch: int, total: int) -> int:
        """In optimizer steps; ValueError for a duration in time."""
        if self.unit == "seconds":
            raise ValueError("a duration in time cannot be counted in steps")
        scale = {"step": 1.0, "epoch": per_epoch, "%": total / 100}[self.unit]
        return round(self.value * scale)


def share_of(text: str, per_epoch: int, total: int) -> float:
    """A duration of steps, epochs or % as a share of a course of `total` steps, in [0, 1]; ValueError otherwise."""
    return min(1.0, Duration.parse(text).steps(per_epoch, total) / max(1, total))
