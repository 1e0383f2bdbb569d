"""Test-time views: several pictures of one image, made of one decoded image, whose answers are averaged.

The first view is always the plain one, which the model is evaluated on without them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from anmok.augment.preprocess import Preprocess
from anmok.core.errors import UsageError, did_you_mean

FLIPS, SHIFTS, CROPS, SCALES, ATTENTION, RANDOM = (
    "flips", "shifts", "five-crop", "scales", "attention", "randaugment",
)  # fmt: skip
KINDS = (FLIPS, SHIFTS, CROPS, SCALES, ATTENTION, f"{RANDOM}:8")
SHIFT = 1 / 32  # of the side, that shifts move by: a pixel of CIFAR's
LARGER = 1.15  # times the model's side: the picture that five crops are taken from, and the largest scale
SMALLER = 0.9
MOST = 64  # views of randaugment
OPERATIONS, MAGNITUDE = 2, 9  # of RandAugment, as its paper has them for ImageNet
PLAIN = "plain"
Make = Callable[[np.ndarray, str], list[np.ndarray]]
Look = Callable[[np.ndarray], np.ndarray]  # uint8[B, S, S, C] to how active a network is where, float[B, h, w]


class Sizes(NamedTuple):
    """Square images that a network takes: other sides than its own at all, from `minimum` on, multiples of `multiple`.

    By default its own size alone.
    """

    variable: bool = False
    minimum: int = 1
    multiple: int = 1


@dataclass(frozen=True)
class ImageViews:
    """`views(image, id)` gives the views of uint8[H, W, C], as decoded: uint8[S, S, C] each.

    Of a batch of them the network answers what `shown` gives: here the same, of `augment.attention` what the network
    itself decides.  names: of the views, `plain` first; sizes: the side of each, pixels.  make: the views of a picture
    that `preprocess.prepare` has seen, before its `finish`.
    """

    preprocess: Preprocess
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    make: Make

    def __len__(self) -> int:
        return len(self.names)

    def __call__(self, image: np.ndarray, identity: str) -> list[np.ndarray]:
        pre = self.preprocess
        return [np.ascontiguousarray(pre.finish(view)) for view in self.make(pre.prepare(image), identity)]

    @property
    def passes(self) -> int:
        """How often the network sees an image."""
        return len(self)

    def shown(self, views: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What the network is asked about, of a batch's views uint8[B, S, S, C]."""
        return list(views)


def build_views(
    tta: str | None, preprocess: Preprocess, takes: Sizes | None = None, seed: int = 0, look: Look | None = None
) -> ImageViews:
    """The views by their name; None: the plain one alone.

    flips: the picture and its mirror image.  shifts: both, and both moved by 1/32 of the side to the lower right and to
    the upper left, edges reflected (the six views of airbench94, Jordan 2024, arXiv:2404.00498).  five-crop: plain, and
    of the picture at 1.15 times the size the four corners and the centre (Krizhevsky et al. 2012; nothing is mirrored).
    scales: 0.9, 1 and 1.15 times the model's size where the network `takes` it, else at its own size: the centre of the
    larger picture, the smaller one with its edges reflected.  attention: plain, and what of it the network is most
    active in, enlarged, see `augment.attention`; needs `look`.  randaugment:N: plain, and N - 1 drawn by
    RandAugment(2, 9), a pure function of (seed, view, id).  UsageError: no such views, or no look.
    """
    kind, number = parse_tta(tta)
    size = preprocess.image_size
    if kind is None:
        return ImageViews(preprocess, (PLAIN,), (size,), lambda image, _: [preprocess.square(image)])
    if kind == FLIPS:
        return ImageViews(preprocess, (PLAIN, "mirrored"), (size, size), lambda image, _: _flips(preprocess, image))
    if kind == SHIFTS:
        return _shifts(preprocess)
    if kind == CROPS:
        return _five_crop(preprocess)
    if kind == SCALES:
        return _scales(preprocess, takes or Sizes())
    if kind == ATTENTION:
        return _attention(preprocess, look)
    return _random(preprocess, number, seed)


def parse_tta(tta: str | None) -> tuple[str | None, int]:
    """('randaugment', 8) of 'randaugment:8', ('flips', 0) of 'flips'.  UsageError: no such views."""
    if tta is None:
        return None, 0
    name, colon, rest = str(tta).partition(":")
    if name == RANDOM:
        if not (rest.isdecimal() and 2 <= int(rest) <= MOST):
            raise UsageError(
                f"{RANDOM} needs the number of views, from 2 to {MOST}, found {rest or 'none'}.", where="--tta",
                remedy=f"As in {RANDOM}:8.", code="setting",
            )  # fmt: skip
        return RANDOM, int(rest)
    if name not in KINDS or colon:
        raise UsageError(
            f"no such test-time views as {tta}.", where="--tta", remedy=did_you_mean(name, KINDS), code="setting"
        )
    return name, 0


def _flips(pre: Preprocess, image: np.ndarray) -> list[np.ndarray]:
    plain = pre.square(image)
    return [plain, plain[:, ::-1]]


def _shifts(pre: Preprocess) -> ImageViews:
    size = pre.image_size
    by = max(1, round(SHIFT * size))

    def make(image: np.ndarray, _: str) -> list[np.ndarray]:
        plain = pre.square(image)
        around = np.pad(plain, ((by, by), (by, by), (0, 0)), mode="reflect" if size > by else "edge")
        moved = [plain, around[:size, :size], around[2 * by :, 2 * by :]]
        return [view for picture in moved for view in (picture, picture[:, ::-1])]

    names = [name for place in ("", "lower right", "upper left") for name in (place, f"{place} mirrored".strip())]
    return ImageViews(pre, (PLAIN, *names[1:]), (size,) * 6, make)


def _five_crop(pre: Preprocess) -> ImageViews:
    size = pre.image_size
    side = _larger(size)
    far, middle = side - size, (side - size) // 2
    corners = {
        "top left": (0, 0), "top right": (0, far), "bottom left": (far, 0), "bottom right": (far, far),
        "centre": (middle, middle),
    }  # fmt: skip

    def make(image: np.ndarray, _: str) -> list[np.ndarray]:
        large = pre.square(image, side)
        return [pre.square(image), *(large[y : y + size, x : x + size] for y, x in corners.values())]

    return ImageViews(pre, (PLAIN, *corners), (size,) * 6, make)


def _scales(pre: Preprocess, takes: Sizes) -> ImageViews:
    size = pre.image_size
    makers: list[tuple[str, int, Any]] = [(PLAIN, size, pre.square)]
    for scale, zoomed in ((SMALLER, _zoomed_out), (LARGER, _zoomed_in)):
        side = max(takes.minimum, round(scale * size / takes.multiple) * takes.multiple)
        if takes.variable and (side - size) * (scale - 1) > 0:
            makers.append((f"{side} pixels", side, lambda image, side=side: pre.square(image, side)))
        else:
            makers.append((f"zoom {scale:g}", size, lambda image, zoomed=zoomed: zoomed(pre, image)))
    names, sizes, calls = zip(*makers, strict=True)
    return ImageViews(pre, names, sizes, lambda image, _: [call(image) for call in calls])


def _zoomed_in(pre: Preprocess, image: np.ndarray) -> np.ndarray:
    """The centre of the picture at LARGER times the model's size."""
    size = pre.image_size
    start = (_larger(size) - size) // 2
    return pre.square(image, _larger(size))[start : start + size, start : start + size]


def _zoomed_out(pre: Preprocess, image: np.ndarray) -> np.ndarray:
    """The picture at SMALLER times the model's size, its edges reflected around it."""
    size = pre.image_size
    side = round(SMALLER * size)
    before = (size - side) // 2
    around = (before, size - side - before)
    return np.pad(pre.square(image, side), (around, around, (0, 0)), mode="reflect")


def _larger(size: int) -> int:
    return max(size + 1, round(LARGER * size))


def _attention(pre: Preprocess, look: Look | None) -> ImageViews:
    from anmok.augment.attention import attention_views

    if look is None:
        raise UsageError(
            "an exported graph does not show what the network is active in.", where="--tta", code="setting",
            remedy="Let torch run the model (--runtime torch).",
        )  # fmt: skip
    return attention_views(pre, look)


def _random(pre: Preprocess, number: int, seed: int) -> ImageViews:
    from anmok.augment.host import augment_into
    from anmok.augment.papers import randaugment
    from anmok.augment.policy import compose

    policy = compose(randaugment(OPERATIONS, MAGNITUDE))  # edges are reflected: no colour that training never showed

    def make(image: np.ndarray, identity: str) -> list[np.ndarray]:
        plain = pre.square(image)
        out = [plain]
        for view in range(1, number):
            drawn = np.empty_like(plain)
            augment_into(drawn, plain, policy.draw([identity], 0, seed, view))
            out.append(drawn)
        return out

    return ImageViews(pre, (PLAIN, *(f"draw {view}" for view in range(1, number))), (pre.image_size,) * number, make)
