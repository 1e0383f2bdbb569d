"""What an inspection gives back: its folder and its numbers."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anmok.core.text import printable


@dataclass(frozen=True, eq=False)
class Inspection:
    """path: the folder with inspect.html and the pictures; data: the content of inspect.json."""

    path: Path
    data: dict[str, Any] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """What was found, a sentence a line."""
        return [printable(line) for line in self.data["headline"]]

    def __repr__(self) -> str:
        return "\n".join([f"Inspection of {self.data['model']} ({self.path})", *(f"  {t}" for t in self.lines())])

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{html.escape(line)}</li>" for line in self.lines())
        head = html.escape(f"Inspection of {self.data['model']}")
        return f"<p>{head}</p><ul>{items}</ul>"
