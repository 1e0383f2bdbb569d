"""What the page of an inspection shows: everything arrives computed and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class View(NamedTuple):
    """A picture uint8[H, W, 1 | 3] and what it is."""

    title: str
    image: Any


class Looked(NamedTuple):
    """An image and where the network looked: answers: (label, probability), best first.

    truth: '' where it is not known; wrong: whether the answer is another.
    """

    name: str
    truth: str
    answers: Sequence[tuple[str, float]]
    wrong: bool
    views: Sequence[View]


class Error(NamedTuple):
    """A mistake that the network was surest of, of all those that take `truth` for `predicted` (`alike` many)."""

    name: str
    truth: str
    predicted: str
    alike: int
    answers: Sequence[tuple[str, float]]
    image: Any


class Layer(NamedTuple):
    """A layer's name, its map's size as text, and some of its channels as pictures."""

    name: str
    size: str
    channels: Sequence[Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class InspectContent:
    """The content of one page. Texts are plain: the page escapes them.

    title, subtitle: of what; headline: what was found, in sentences; looked: images; layer: whose map Grad-CAM is of;
    rollout: '' or why there is none. embedding: an Altair figure, or None; embedding_text: what it shows, or why there
    is none. errors: galleries; errors_of: of how many images. reach: picture of the receptive field, or None;
    reach_text: what it says, or why there is none. filters: pictures; filters_text. layers: of the first image.
    facts: {name: text}.
    """

    title: str
    subtitle: str = ""
    headline: Sequence[str] = ()
    looked: Sequence[Looked] = ()
    layer: str = ""
    rollout: str = ""
    embedding: Any = None
    embedding_text: str = ""
    errors: Sequence[Error] = ()
    errors_of: str = ""
    reach: Any = None
    reach_text: str = ""
    filters: Sequence[Any] = ()
    filters_text: str = ""
    layers: Sequence[Layer] = ()
    layers_text: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
