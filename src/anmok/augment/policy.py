"""A policy: steps, drawn one after the other for each image as a pure function of (seed, epoch, row id)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anmok.augment import steps as s
from anmok.augment.draws import row_keys, spread
from anmok.augment.params import Params
from anmok.augment.steps import Step
from anmok.core.errors import UsageError

_VIEW = 0x9E3779B9  # epochs lie closer together than the views of one epoch
_ALL = 1 << 62  # in the place of an epoch, of what is drawn once for all of them


@dataclass(frozen=True)
class Policy:
    """What is drawn for an image, and how batches are mixed.

    steps: in their order. border, fill: see Params. mixup, cutmix: their alphas, 0 for none; mix: the share of batches
    that is mixed. size: side of the output where nobody else says it, None for the images' own.
    """

    steps: tuple[Step, ...] = ()
    border: str = "reflect"
    fill: tuple[int, int, int] = (0, 0, 0)
    mixup: float = 0.0
    cutmix: float = 0.0
    mix: float = 1.0
    size: int | None = None

    @property
    def neutral(self) -> bool:
        """Whether nothing is ever changed."""
        return not self.steps and not self.mixes

    @property
    def mixes(self) -> bool:
        """Whether batches are mixed, so that targets become soft."""
        return self.mix > 0 and (self.mixup > 0 or self.cutmix > 0)

    @property
    def crops(self) -> bool:
        """Whether a random-resized-crop of an aspect of its own gives the square."""
        return any(step.name == "crop" and step.settings[2] is not None for step in self.steps)

    def check(self, depth: int) -> None:
        """UsageError where a step makes no sense for images of `depth` channels."""
        colored = [step.name for step in self.steps if step.colored]
        if depth == 1 and colored:
            raise UsageError(
                f"{colored[0]} changes colours, and the images have one channel.", where="augment", code="setting",
                remedy="Leave saturation and hue out, or train with --channels rgb.",
            )  # fmt: skip

    def draw(self, ids: Sequence[str], epoch: int, seed: int, view: int = 0) -> Params:
        """The parameters of N images, plain arrays. view: which, where an image is shown more than once."""
        keys = row_keys(ids, epoch + _VIEW * view, seed)
        u = spread(keys, max(1, sum(step.columns for step in self.steps)))
        drawn, start = [s.Drawn(np.zeros((len(ids), 0), np.int8), np.zeros((len(ids), 0, s.VALUES), np.float32))], 0
        if any(step.alternating for step in self.steps):
            once = spread(row_keys(ids, _ALL + _VIEW * view, seed), u.shape[1])
            once = np.nextafter(1.0, 0.0) - once if epoch % 2 else once
        for step in self.steps:
            part = (once if step.alternating else u)[:, start : start + step.columns]
            drawn.append(step.draw(part))
            start += step.columns
        return Params(*s.joined(drawn)[:2], keys, s.joined(drawn).chains, self.border, self.fill, size=self.size)


def compose(*steps: Step, border: str = "reflect", fill: tuple[int, int, int] = (0, 0, 0), **mixing: Any) -> Policy:
    """A policy of steps in this order: `compose(flip(), rotate(15), color_jitter(.2, .2, .2, .02), crop(224))`.

    border: `reflect`, or `fill` with the colour `fill` for what a warp uncovers. mixing: mixup, cutmix, mix of Policy.
    """
    if border not in ("reflect", "fill"):
        raise UsageError(f"border must be reflect or fill, found {border}.", code="setting")
    if sum(step.name == "augmix" for step in steps) > 1:
        raise UsageError("a policy holds at most one augmix.", code="setting")
    sizes = [step.settings[0] for step in steps if step.name == "crop" and step.settings[0] is not None]
    size: Any = sizes[-1] if sizes else None
    return Policy(tuple(step for step in steps if step.ops), border, fill, size=size, **mixing)


def ranges(
    *, hflip: float = 0.0, vflip: float = 0.0, scale: tuple[float, float] = (1.0, 1.0),
    ratio: tuple[float, float] | None = None, relative: bool = True, rotate: float = 0.0, shear: float = 0.0,
    translate: float = 0.0, perspective: float = 0.0, brightness: float = 0.0, contrast: float = 0.0,
    saturation: float = 0.0, hue: float = 0.0, blur: float = 0.0, noise: float = 0.0, elastic: float = 0.0,
    erase: float = 0.0, flip: str = "random", inner: Sequence[Step] = (), **rest: Any,
) -> Policy:  # fmt: skip
    """A policy of quantities in the usual order: crop, flips, geometry, `inner`, colour, blur, noise, erasing.

    relative: `ratio` multiplies the image's own aspect, as fits a model that sees images squashed to a square;
    otherwise it is the crop's width / height in pixels, as torchvision's RandomResizedCrop has it. blur, noise,
    elastic, perspective: the probability of each. flip: `alternating` mirrors left to right in every other epoch,
    see `steps.flip`, whatever hflip is. rest: border, fill, mixup, cutmix, mix of Policy.
    """
    steps = [
        *([s.flip(alternating=True)] if flip == "alternating" else [s.flip(hflip)] if hflip else []),
        *([s.flip(vflip, vertical=True)] if vflip else []),
        *([s.perspective(0.3, perspective)] if perspective else []),
        *([s.translate(translate)] if translate else []),
        *([s.rotate(rotate)] if rotate else []),
        *([s.shear(shear)] if shear else []),
        *([s.elastic(p=elastic)] if elastic else []),
        *inner,
        s.color_jitter(brightness, contrast, saturation, hue),
        *([s.blur(p=blur)] if blur else []),
        *([s.noise(p=noise)] if noise else []),
        *([s.erase(erase)] if erase else []),
    ]
    steps = [step for step in steps if step.ops]
    if steps or ratio is not None or scale != (1.0, 1.0):  # whatever is drawn is drawn in the model's square
        steps.insert(0, s.crop(None, scale, ratio, relative))
    return compose(*steps, **rest)
