"""What few-shot episodes give back: a table of methods and shots."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anmok.core.text import printable

NAMES = {
    "prototype": "prototypes", "nearest": "nearest neighbour", "logistic": "logistic probe",
    "cache": "cache over prototypes", "text": "names of the classes alone", "pixels": "raw pixels, nearest neighbour",
}  # fmt: skip


def names_of(data: Mapping[str, Any]) -> dict[str, str]:
    """The methods' names as shown; of a dual encoder the cache stands on its texts."""
    return NAMES | {"cache": "cache over names"} if data["text"] else NAMES


@dataclass(frozen=True, eq=False)
class FewShot:
    """path: the folder written, None where none was asked for; data: the content of fewshot.json."""

    path: Path | None
    data: dict[str, Any] = field(default_factory=dict)

    def accuracy(self, method: str, shots: int) -> Mapping[str, float]:
        """{value, low, high} of a method (or `pixels`, of a dual encoder `text`) from that many shots.

        KeyError where it was not measured.
        """
        for row in self.data["rows"]:
            if (row["method"], row["shots"]) == (method, shots):
                return row["accuracy"]
        raise KeyError((method, shots))

    def head(self) -> str:
        """What the table is of."""
        d = self.data
        return printable(
            f"{d['ways']}-way accuracy of {d['model']}, {d['episodes']:,} episodes over {len(d['classes'])} classes, "
            f"{d['queries']} questions a class; chance {100 / d['ways']:.1f} %"
        )

    def table(self) -> list[list[str]]:
        """Cells as text, the first row the head."""
        rows = self.data["rows"]
        out = [["method", *(f"{n} shot{'' if n == 1 else 's'}" for n in self.data["shots"])]]
        for method in dict.fromkeys(row["method"] for row in rows):
            out.append(
                [names_of(self.data)[method], *(cell(row["accuracy"]) for row in rows if row["method"] == method)]
            )
        return out

    def __repr__(self) -> str:
        cells = self.table()
        widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
        lines = ["  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip() for row in cells]
        return "\n".join([self.head(), *(f"  {line}" for line in lines)])

    def _repr_html_(self) -> str:
        body = "".join(
            "<tr>" + "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in row) + "</tr>"
            for tag, row in (("th" if i == 0 else "td", row) for i, row in enumerate(self.table()))
        )
        return f"<p>{html.escape(self.head())}</p><table>{body}</table>"


def cell(metric: Mapping[str, float]) -> str:
    """'62.1 %  [61.4, 62.8]'."""
    interval = f"  [{100 * metric['low']:.1f}, {100 * metric['high']:.1f}]" if "low" in metric else ""
    return f"{100 * metric['value']:.1f} %{interval}"
