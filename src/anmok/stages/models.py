"""`anmok models "coatnet*"`: the networks there are, what they cost, and whether their weights are here."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from anmok.core.errors import UsageError
from anmok.report.models_text import count_text, gmacs_text, html_table, text_table

if TYPE_CHECKING:
    from anmok.models.catalog import Entry

SHOWN = 40  # models, unless more are asked for: each is built, without memory, to be counted


@dataclass(frozen=True)
class ModelTable:
    """The models that a pattern means: the entries of those shown, and how many more there are."""

    pattern: str
    entries: tuple[Entry, ...]
    more: int = 0

    @property
    def title(self) -> str:
        """What the table holds."""
        n = len(self.entries) + self.more
        what = "model" if n == 1 else "models"
        return f"{n:,} {what} for {self.pattern!r}; parameters with 1,000 classes, GMACs of one image of so many pixels"

    @property
    def note(self) -> str:
        """How to see the others; '' where all are shown."""
        return f"{self.more:,} more: --all lists them, a narrower pattern finds them sooner." if self.more else ""

    def cells(self) -> list[tuple[str, ...]]:
        """The rows as text."""
        return [
            (
                e.name, e.family, count_text(e.parameters), gmacs_text(e.macs), str(e.image_size), e.weights or "none",
                (e.licence or "not stated") if e.weights else "", ("yes" if e.cached else "no") if e.weights else "",
            )
            for e in self.entries
        ]  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return {"pattern": self.pattern, "models": [asdict(e) for e in self.entries], "more": self.more}

    def __repr__(self) -> str:
        return "\n".join(filter(None, [self.title, text_table(self.cells()), self.note]))

    def _repr_html_(self) -> str:
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        return f"<p>{html.escape(self.title)}</p>{html_table(self.cells())}{note}"


def models(pattern: str = "*", everything: bool = False, limit: int = SHOWN) -> ModelTable:
    """The networks whose names a pattern with * and ? means, at most `limit` of them unless `everything` is asked for.

    A pattern with a dot ("resnet18.*") lists sets of weights. Nothing is fetched.  UsageError naming the nearest names
    where none is meant, or for a limit below 1; MachineError without the packages that training needs.
    """
    from anmok.core.optional import need

    if limit < 1:
        raise UsageError(f"expected at least 1, found {limit}.", where="--limit", code="limit")
    need("torch", "train")
    need("timm", "train")
    from anmok.models.catalog import entries, names_like

    names = names_like(pattern)
    shown = names if everything else names[:limit]
    return ModelTable(pattern, tuple(entries(shown)), len(names) - len(shown))
