"""What the page of a comparison shows: everything arrives computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, eq=False, kw_only=True)
class CompareContent:
    """The content of one page.  Texts are plain: the page escapes them.

    rows: a mapping a model, as compare.json has them, best first, failed ones last. advice: sentences, the most
    important first; front: names that no other model beats in accuracy and latency both; best: name of the most
    accurate one. task, images, classes: of the test split. settings, facts: {name: text}.
    """

    title: str
    rows: Sequence[Mapping[str, Any]]
    advice: Sequence[str]
    front: Sequence[str]
    best: str
    task: str
    images: int
    classes: int
    subtitle: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
