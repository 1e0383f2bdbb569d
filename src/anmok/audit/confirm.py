"""Look at two pictures themselves: are they one, and what sets them apart?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from anmok.audit.align import Laid, align_all, refine_all
from anmok.audit.hashes import SPANS, TURNS
from anmok.audit.likeness import Likeness, likenesses
from anmok.audit.near_config import NearConfig
from anmok.audit.picture import SIDE, Picture
from anmok.audit.warp import IDENTITY
from anmok.core.errors import DataError
from anmok.data.decode import decode

_WORTH = 0.7  # likeness at 48 pixels below which no pair is looked at closer: nine of ten end here
_PLAIN, _FLAT = 0.02, 3.0  # structure, and deviation in levels, below which pictures are compared by their shade alone
_SHADE = 2.0  # levels by which plain pictures may differ
_MORE = 0.04  # likeness asked for beyond the usual where a picture is small: there is less in it that could differ
_COLOURED, _COLOURLESS = 6.0, 2.0  # levels between the channels of a pixel, on average
_TILT, _SLANT = math.radians(12), math.radians(10)  # how far the axes may turn, and from each other
_CODING = 0.97  # likeness below which coding alone seldom brings two pictures
_SAME_PIXELS = 1.0  # levels by which a JPEG's scaled decode may differ from the same pixels out of another format


@dataclass(frozen=True)
class Look:
    """A picture as it is compared: its luma in a square; width and height of its pixels in the file; the mean of each
    channel, float64[3], and of the range of the channels in a pixel, in levels of 255; whether it is a JPEG.
    """

    picture: Picture
    width: int
    height: int
    mean: np.ndarray
    chroma: float
    jpeg: bool


class Verdict(NamedTuple):
    """kind: near-duplicate or exact-pixels; score in (0, 1]; evidence in words."""

    kind: str
    score: float
    evidence: str


def look(data: bytes, width: int, height: int) -> Look:
    """Decode a picture small; ImageError where it cannot be."""
    import cv2

    pixels = decode(data, min_side=SIDE)
    some = cv2.resize(pixels, (SIDE // 4, SIDE // 4), interpolation=cv2.INTER_NEAREST)
    chroma = float((some.max(axis=2) - some.min(axis=2)).mean())
    picture = Picture.of(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
    jpeg = data[:2] == b"\xff\xd8"
    return Look(picture, width, height, np.asarray(cv2.mean(pixels)[:3]), chroma, jpeg)


class Pair(NamedTuple):
    """Two pictures; fit: how the first may become the second, of candidates.FITS; read: the bytes of both, asked for
    only where they may be the same pixel by pixel.
    """

    first: Look
    second: Look
    fit: str
    read: Callable[[], tuple[bytes, bytes]]


def confirm(
    first: Look, second: Look, fit: str, config: NearConfig, read: Callable[[], tuple[bytes, bytes]]
) -> Verdict | None:
    """Whether two pictures are near duplicates; None if not.  See `Pair`."""
    return confirm_all([Pair(first, second, fit, read)], config)[0]


def confirm_all(pairs: Sequence[Pair], config: NearConfig) -> list[Verdict | None]:
    """`confirm` of each pair; None also where its bytes can no longer be read."""
    verdicts: list[Verdict | None] = [None] * len(pairs)

    def look_at(some: _Some) -> None:
        for small in (False, True):  # a small one, enlarged, shows the coding's noise
            rows = [k for k in some if _is_small(pairs[k]) is small]
            for k, found in zip(rows, likenesses([some[k] for k in rows], halved=small), strict=True):
                if found is not None:
                    verdicts[k] = _verdict(pairs[k], some[k].where, found, config, small)

    laid = {k: _laid(pair) for k, pair in enumerate(pairs)}
    plain = {k: one._replace(where=IDENTITY) for k, one in laid.items() if _is_plain(one)}
    aligned = _mapped(align_all, {k: one for k, one in laid.items() if k not in plain})
    look_at(plain | _mapped(refine_all, _worth(aligned)))
    # A mark laid over a plain picture, or another light, can pull the alignment off.
    look_at(_worth({k: laid[k] for k in aligned if verdicts[k] is None}))
    return verdicts


_Some = dict[int, Laid]  # pairs by their place


def _mapped(how: Callable[[Sequence[Laid]], list[np.ndarray | None]], some: _Some) -> _Some:
    """Those for which a map was found, with it."""
    found = zip(some.items(), how(list(some.values())), strict=True)
    return {k: one._replace(where=where) for (k, one), where in found if where is not None}


def _worth(some: _Some) -> _Some:
    """Those that are worth a closer look."""
    halves = zip(some.items(), likenesses(list(some.values()), halved=True), strict=True)
    return {k: one for (k, one), half in halves if half and (half.score >= _WORTH or half.structure < _PLAIN)}


def _is_plain(one: Laid) -> bool:
    return max(one.first.deviation, one.second.deviation) < _FLAT


def _laid(pair: Pair) -> Laid:
    """One picture over the other, as the fit has them at first: a border must not be in the one that is laid over."""
    one, two, start = pair.first.picture.turned(_turn(pair.fit)), pair.second.picture, _start(pair.fit)
    return Laid(two, one, start) if pair.fit in SPANS else Laid(one, two, start)


def _turn(fit: str) -> str:
    return fit if fit in TURNS else "upright"


def _is_small(pair: Pair) -> bool:
    return min(pair.first.width, pair.first.height, pair.second.width, pair.second.height) < SIDE


def _verdict(pair: Pair, where: np.ndarray, found: Likeness, config: NearConfig, small: bool) -> Verdict | None:
    """Of a likeness under a map between the pictures of `_laid`."""
    first, second, fit, read = pair
    turn = _turn(fit)
    if fit in SPANS:
        where = np.linalg.inv(where)
        found = found._replace(light=1 / found.light)
    pixels = _in_pixels(first, second, turn, where)
    if not _plausible(pixels) or not _is_one(first, second, found, config, small):
        return None
    if turn == "upright" and _may_be_equal(first, second, found):
        try:
            if _equal(*read()):
                return Verdict("exact-pixels", 1.0, "other bytes, the same pixels")
        except DataError:  # gone since it was decoded
            return None
    if found.structure < _PLAIN:
        score = 1 - found.difference / 16
        return Verdict("near-duplicate", score, f"both plain, of one shade: {score:.3f} alike")
    changes = [*_changes(turn, where, pixels), *_light(first, second, found, config)]
    words = ", ".join(changes) or ("re-encoded" if found.score >= _CODING else "re-encoded, or taken twice")
    return Verdict("near-duplicate", found.score, f"{words}: {found.score:.3f} alike")


def _start(fit: str) -> np.ndarray:
    """Where a fit has the one picture in the other."""
    window = SPANS.get(fit.removeprefix("in "))
    if window is None:
        return IDENTITY
    (top, bottom), (left, right) = window
    return np.array([[right - left, 0, left + right - 1], [0, bottom - top, top + bottom - 1], [0, 0, 1]])


def _is_one(first: Look, second: Look, found: Likeness, config: NearConfig, small: bool) -> bool:
    if found.structure < _PLAIN:
        return found.difference <= _SHADE and bool(np.abs(first.mean - second.mean).max() <= 2 * _SHADE)
    alike, covered = config.alike + _MORE * small, config.covered + _MORE * small
    return found.score >= alike or (found.covered >= covered and found.score >= alike - 0.15)


def _may_be_equal(first: Look, second: Look, found: Likeness) -> bool:
    if (first.width, first.height) != (second.width, second.height):
        return False
    most = 0.0 if first.jpeg == second.jpeg else _SAME_PIXELS
    return found.difference <= most and bool(np.abs(first.mean - second.mean).max() <= most)


def _equal(first: bytes, second: bytes) -> bool:
    return np.array_equal(decode(first), decode(second))


def _in_pixels(first: Look, second: Look, turn: str, where: np.ndarray) -> np.ndarray:
    """The linear part of a map, float64[2, 2], in pixels of the files instead of shares of a side."""
    width, height = (first.height, first.width) if turn in _SIDEWAYS else (first.width, first.height)
    return where[:2, :2] * np.array([[second.width], [second.height]]) / np.array([[width, height]])


def _plausible(pixels: np.ndarray) -> bool:
    """Whether a map is what is done to pictures: cut, resized, turned a little, not much slanted."""
    (a, b), (c, d) = pixels.tolist()
    one, other = math.atan2(c, a), math.atan2(-b, d)
    return max(abs(one), abs(other)) < _TILT and abs(one - other) < _SLANT


def _changes(turn: str, where: np.ndarray, pixels: np.ndarray) -> Iterator[str]:
    """What was done to the first picture to make the second, or the other way round."""
    if turn != "upright":
        yield _TURNED[turn]
    (a, b), (c, d) = pixels.tolist()
    angle = math.degrees(math.atan2(c - b, a + d))
    if abs(angle) >= 1:
        yield f"turned by {abs(angle):.0f} degree{'s' if abs(angle) >= 1.5 else ''}"
    across, along = math.hypot(*where[:2, 0]), math.hypot(*where[:2, 1])
    if max(across, along) > 1.025:
        yield f"cropped to {_percent(min(1 / across, 1))} × {_percent(min(1 / along, 1))}"
    elif min(across, along) < 0.975:
        least = f"{_percent(min(across, 1))} × {_percent(min(along, 1))}"
        yield f"{least} of the second, which has a border or was not cropped"
    scale = math.sqrt(abs(a * d - b * c))
    if abs(math.log(scale)) > 0.03:
        yield f"resized to {_percent(scale)}"
    if abs(math.log(math.hypot(a, c) / math.hypot(b, d))) > 0.05:
        yield "stretched"


def _light(first: Look, second: Look, found: Likeness, config: NearConfig) -> Iterator[str]:
    if min(first.chroma, second.chroma) < _COLOURLESS and max(first.chroma, second.chroma) > _COLOURED:
        yield "without colour"
    elif np.abs((first.mean - first.mean.mean()) - (second.mean - second.mean.mean())).max() > 2 * _COLOURED:
        yield "in other colours"
    if abs(math.log(found.light)) > 0.07:
        yield "brighter" if found.light > 1 else "darker"
    if found.score < config.alike:
        yield "in part covered or changed"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


_SIDEWAYS = ("transposed", "right", "anti-transposed", "left")
_TURNED = {
    "mirrored": "mirrored",
    "half-turn": "turned by 180 degrees",
    "upside-down": "mirrored upside down",
    "transposed": "mirrored along the diagonal",
    "right": "turned by 90 degrees clockwise",
    "anti-transposed": "mirrored along the other diagonal",
    "left": "turned by 90 degrees anticlockwise",
}
