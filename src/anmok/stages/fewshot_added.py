"""What adding classes gives back: the new model's folder, and what is known of it."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anmok.core.text import printable
from anmok.report.words import count, percent


@dataclass(frozen=True, eq=False)
class Added:
    """path: the new model folder; data: classes, added {class: images, recognised}, old {images, before, after, taken}
    (None: no image of the old classes was at hand), reset (whether a decision was not carried)."""

    path: Path
    data: dict[str, Any] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """What was done and is known, a sentence a line."""
        d = self.data
        out = [f"{self.path}: {count(len(d['classes']), 'class', 'classes')}, {', '.join(d['added'])} new."]
        for name, one in d["added"].items():
            m = one["recognised"]
            if m["value"] is None:
                out.append(f"{name}: learned from one image; whether others like it are recognised is not known.")
            else:
                out.append(
                    f"{name}: of {count(one['images'], 'image')} given, each left out in turn, {percent(m['value'])} "
                    f"are recognised ({percent(m['low'])} to {percent(m['high'])})."
                )
        old = d["old"]
        if old is None:
            out.append("Old classes: what the new ones take from them is not known.")
        else:
            out.append(
                f"Old classes, on {count(old['images'], 'image')} that also chose how often the new ones win: accuracy "
                f"{percent(old['before']['value'])} before, {percent(old['after']['value'])} after; "
                f"{old['taken']:,} taken for a new class."
            )
        if d["reset"]:
            out.append("Costs and thresholds of the old model were for its classes and are not carried over.")
        return [printable(line) for line in out]

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in self.lines()) + "</ul>"
