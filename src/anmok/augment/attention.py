"""Attention crops: the part of a picture that a network is active in, seen again with more pixels.

Of a map of activity the largest connected part above a threshold is boxed (Wei et al. 2017, SCDA, arXiv:1604.04994),
the threshold a share of the map's maximum; what lies in the box is enlarged to the model's size and answered beside the
whole picture (Hu et al. 2019, WS-DAN, arXiv:1901.09891).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from anmok.augment.preprocess import Preprocess, resize
from anmok.augment.tta import PLAIN, ImageViews, Look

SHARE = 0.5  # of the way from a map's smallest value to its largest: what counts as active
MARGIN = 0.1  # of the box's side, added on each of its sides
FEWEST = 3  # a crop's side is at least 1 / FEWEST of the picture's: so many times the model's side holds all its pixels
GRID = 96  # places a side that a map is interpolated to before it is boxed


class Box(NamedTuple):
    """A square in shares of the picture's side."""

    top: float
    left: float
    side: float


WHOLE = Box(0.0, 0.0, 1.0)


def box_of(activity: np.ndarray, share: float = SHARE) -> Box:
    """The square around the largest connected part of float[h, w] that is above a share of the maximum, with a margin.

    The map's smallest value counts as 0. The square has at least a third of the picture's side, lies inside it, and is
    all of it where the map is flat or not finite.
    """
    import cv2

    low, high = float(activity.min()), float(activity.max())
    if not (np.isfinite(low) and np.isfinite(high) and high > low):
        return WHOLE
    scaled = ((activity - low) / (high - low)).astype(np.float32)
    active = cv2.resize(scaled, (GRID, GRID), interpolation=cv2.INTER_LINEAR) >= share
    _, _, found, _ = cv2.connectedComponentsWithStats(active.astype(np.uint8))
    if len(found) < 2:  # no place but between the map's own is so active
        return WHOLE
    x, y, width, height, _ = (int(n) for n in found[1 + int(found[1:, cv2.CC_STAT_AREA].argmax())])
    side = min(1.0, max(1 / FEWEST, (1 + 2 * MARGIN) * max(width, height) / GRID))
    top, left = (
        min(max(0.0, (start + length / 2) / GRID - side / 2), 1 - side) for start, length in ((y, height), (x, width))
    )
    return Box(top, left, side)


def crop_of(picture: np.ndarray, box: Box, size: int, resample: str = "bilinear") -> np.ndarray:
    """What of uint8[L, L, C] lies in the box, whole pixels, resized to uint8[size, size, C]."""
    length = picture.shape[0]
    side = max(1, round(box.side * length))
    top, left = (min(round(at * length), length - side) for at in (box.top, box.left))
    part = np.ascontiguousarray(picture[top : top + side, left : left + side])
    return resize(part, size, size, resample=resample)


@dataclass(frozen=True)
class AttentionViews(ImageViews):
    """The plain view and the attention crop of it.

    What is made of an image is the plain view and its picture at three times the model's side, fitted to the square as
    the plain one is, so that both show the same and keep the same aspect; `shown` looks at the plain one and cuts the
    other. look: how active each place of a picture is, see `augment.tta.Look`.
    """

    look: Look

    @property
    def passes(self) -> int:
        """How often the network sees an image: it looks once before it answers."""
        return len(self) + 1

    def __call__(self, image: np.ndarray, identity: str) -> list[np.ndarray]:
        plain, large = self.make(self.preprocess.prepare(image), identity)
        return [np.ascontiguousarray(self.preprocess.finish(plain)), np.ascontiguousarray(large)]

    def shown(self, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The plain views uint8[B, S, S, C] and the crops; the crop of the whole picture is the plain view."""
        plain, large = parts
        crops = np.empty_like(plain)
        for i, activity in enumerate(self.look(plain)):
            box = box_of(activity)
            crops[i] = plain[i] if box.side >= 1 else self.preprocess.finish(
                crop_of(large[i], box, plain.shape[1], self.preprocess.resample)
            )  # fmt: skip
        return [plain, crops]


def attention_views(pre: Preprocess, look: Look) -> AttentionViews:
    """The two views of a model that preprocesses so and looks so."""
    sizes = (pre.image_size, FEWEST * pre.image_size)
    return AttentionViews(
        pre, (PLAIN, "attention crop"), sizes, lambda image, _: [pre.square(image, side) for side in sizes], look
    )
