"""What the page of a pretraining shows: everything arrives computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


class Pictured(NamedTuple):
    """A picture uint8[H, W, 1 | 3] and what stands under it."""

    image: np.ndarray
    caption: str


class Done(NamedTuple):
    """What an objective did with one image: its id, and pictures side by side."""

    id: str
    pictures: Sequence[Pictured]


@dataclass(frozen=True, eq=False, kw_only=True)
class PretrainContent:
    """The content of one page.  Texts are plain: the page escapes them.

    headline: sentences that say how it went. history: the run's epoch events, in order. done, done_of: pictures, and
    of which images they are. counts: {split: images}. best_epoch: whose weights were kept. notes: sentences about the
    data. model, settings, facts: {name: text} rows, as of a report of a training.
    """

    title: str
    subtitle: str = ""
    headline: Sequence[str] = ()
    history: Sequence[Mapping[str, Any]] = ()
    best_epoch: int | None = None
    done: Sequence[Done] = ()
    done_of: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    model: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
