"""Disjoint sets of whole numbers."""

from __future__ import annotations

import numpy as np


class Union:
    """Sets that grow together (Tarjan 1975, JACM 22(2)), each named by its smallest member; at first all are alone."""

    def __init__(self) -> None:
        self._above: dict[int, int] = {}

    def find(self, member: int) -> int:
        """The smallest member of the set."""
        above = self._above
        while (higher := above.get(member)) is not None:
            highest = above.get(higher)
            if highest is None:
                return higher
            above[member] = member = highest  # halves the way for the next time
        return member

    def join(self, one: int, other: int) -> None:
        """Make one set of two."""
        a, b = self.find(one), self.find(other)
        if a != b:
            self._above[max(a, b)] = min(a, b)

    def names(self, count: int) -> np.ndarray:
        """int64[count]: the set of each of 0 to count - 1, by its smallest member."""
        names = np.arange(count)
        for member in self._above:
            names[member] = self.find(member)
        return names
