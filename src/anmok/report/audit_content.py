"""What the page of an audit shows: everything arrives chosen and computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Picture(NamedTuple):
    """A small picture: WebP bytes (b'': there is none) and its size in pixels."""

    webp: bytes = b""
    width: int = 0
    height: int = 0


class Image(NamedTuple):
    """An image that is shown: its name, label and split as text ('': none), its picture, and its row of measurements.

    facts: one text for each of AuditContent.fields, '' where it was not measured; findings: (kind, evidence) of it.
    """

    name: str
    label: str = ""
    split: str = ""
    picture: Picture = Picture()
    facts: Sequence[str] = ()
    findings: Sequence[tuple[str, str]] = ()


class Sheet(NamedTuple):
    """A contact sheet: what it shows, how many images there are of it, and the keys of those shown."""

    title: str
    total: int
    keys: Sequence[str]


class Mean(NamedTuple):
    """The mean picture of a class, over so many images of it."""

    label: str
    images: int
    picture: Picture


class Row(NamedTuple):
    """One finding: keys of its images, score, evidence, proposed decision ('': none), the names of its images."""

    keys: Sequence[str]
    score: float
    evidence: str
    decision: str = ""
    names: Sequence[str] = ()


class Listed(NamedTuple):
    """The findings of one kind, worst first: how many there are in all, those with pictures, those as text."""

    kind: str
    total: int
    shown: Sequence[Row]
    told: Sequence[Row] = ()


class Group(NamedTuple):
    """Images that are the same: members as (key, [(what, value)] of what differs), how many in all, the evidence."""

    members: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    total: int
    evidence: Sequence[str]


class Spread(NamedTuple):
    """5 %, 50 % and 95 % quantile of a measurement."""

    low: float
    median: float
    high: float


class Histogram(NamedTuple):
    """Counts of a measurement between edges (one more than counts); logarithmic: edges grow by a factor."""

    measure: str
    edges: Sequence[float]
    counts: Sequence[int]
    logarithmic: bool
    spread: Spread
    by_class: Mapping[str, Spread]


class Sizes(NamedTuple):
    """(width, height, images) of each size; distinct: how many there are, where not all are listed."""

    points: Sequence[tuple[int, int, int]]
    distinct: int


class Shortcut(NamedTuple):
    """A property that may predict the label, and how it lies class by class.

    score: how often it is right (balanced accuracy), beside chance; p: corrected; label: the class that it tells from
    the rest, '' where it is told of all; evidence: '' where it is no finding.  by_class: of a number; shares: of a
    name, {class: {name: share of its images}}.
    """

    measure: str
    score: float
    chance: float
    p: float
    label: str
    evidence: str
    by_class: Mapping[str, Spread]
    shares: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, eq=False, kw_only=True)
class AuditContent:
    """The content of one page.  Texts are plain: the page escapes them.

    title: which set; task: as the table has it, '' where nothing is labelled.  images, readable: how many; duplicates:
    images beyond the first of each duplicate group; groups: how many of these; seconds: what the audit took.  classes:
    {label: images}; counts: {split: {label: images}}, labels in class order; splits: {split: images}.  found:
    {kind: findings}; alike: of these, of the kinds that make a set unsafe, those of images not quite the same.  shown:
    the images of the page by key; fields: names of their facts.  listed: kind by kind.
    forms: {what: {value: images}} of the files.  memory: {what: bytes}, of the set and free; fits: what fits.  notes,
    warnings: sentences about the source; facts: what else is worth keeping.
    """

    title: str
    task: str
    images: int
    readable: int
    classes: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    splits: Mapping[str, int] = field(default_factory=dict)
    duplicates: int = 0
    groups: int = 0
    seconds: float = 0.0
    found: Mapping[str, int] = field(default_factory=dict)
    alike: Mapping[str, int] = field(default_factory=dict)
    shown: Mapping[str, Image] = field(default_factory=dict)
    fields: Sequence[str] = ()
    sheets: Sequence[Sheet] = ()
    means: Sequence[Mean] = ()
    listed: Sequence[Listed] = ()
    same: Sequence[Group] = ()
    sizes: Sizes = field(default_factory=lambda: Sizes((), 0))
    histograms: Sequence[Histogram] = ()
    forms: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    shortcuts: Sequence[Shortcut] = ()
    memory: Mapping[str, int] = field(default_factory=dict)
    fits: str = ""
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def kinds(self) -> dict[str, Listed]:
        """The findings by kind."""
        return {listed.kind: listed for listed in self.listed}
