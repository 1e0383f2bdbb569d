"""A user's own transform as the policy: Albumentations, torchvision or a plain function, as it is.

What it draws is a pure function of (seed, epoch, row id), as with a Policy; what it does is its own matter.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from anmok.augment.guest_calls import Call, build_call
from anmok.augment.guest_parts import Kind, colored_part, kind_of, name_of, resizes_crops
from anmok.augment.guest_pixels import pixels
from anmok.augment.policy import Policy
from anmok.core.errors import UsageError

# What a transform may fail with; another error is none that we could explain, and passes as it is.
_FAILURES = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_GIVEN = {
    "albumentations": "an array uint8[H, W, {depth}]", "callable": "an array uint8[H, W, {depth}]",
    "torchvision": "a PIL image of mode {mode}", "module": "a tensor uint8[{depth}, H, W]",
}  # fmt: skip


@dataclass(frozen=True)
class GuestParams:
    """What a guest draws from for N images. ids: whose they are; seeds uint64[N]. size: None, the output says it."""

    guest: Guest
    ids: tuple[str, ...]
    seeds: np.ndarray
    size: int | None = None

    def __len__(self) -> int:
        return len(self.seeds)

    def take(self, index: Any) -> GuestParams:
        """The parameters of some of the images: a slice, or an array of indices."""
        ids = tuple(np.array(self.ids, object)[index].tolist())
        return replace(self, ids=ids, seeds=self.seeds[index])


@dataclass(frozen=True)
class Guest:
    """A transform of the user's where a Policy is expected; made by `guest`.

    transform: the user's; mixup, cutmix, mix: as Policy's, of the batches it has changed.
    """

    transform: Any
    mixup: float = 0.0
    cutmix: float = 0.0
    mix: float = 1.0
    _free: list[Call] = field(default_factory=list, init=False, repr=False, compare=False)

    neutral = False
    border = "reflect"
    size = None

    @property
    def kind(self) -> Kind:
        """Whose transform it is."""
        return kind_of(self.transform)

    @property
    def name(self) -> str:
        """What a reader calls it."""
        return name_of(self.transform)

    @property
    def mixes(self) -> bool:
        """Whether batches are mixed, so that targets become soft."""
        return self.mix > 0 and (self.mixup > 0 or self.cutmix > 0)

    @property
    def crops(self) -> bool:
        """Whether a random-resized-crop of an aspect of its own is inside."""
        return resizes_crops(self.transform)

    def check(self, depth: int) -> None:
        """UsageError where a part is known to make no sense for images of `depth` channels."""
        if depth == 1 and (part := colored_part(self.transform)):
            raise UsageError(
                f"{part} changes colours, and the images have one channel.", where="augment", code="setting",
                remedy="Leave it out, or train with --channels rgb.",
            )  # fmt: skip

    def draw(self, ids: Sequence[str], epoch: int, seed: int, view: int = 0) -> GuestParams:
        """The seeds of N images. view: which, where an image is shown more than once."""
        return GuestParams(self, tuple(ids), Policy().draw(ids, epoch, seed, view).keys)

    def apply_into(self, out: np.ndarray, image: np.ndarray, params: GuestParams, index: int = 0) -> None:
        """Write what becomes of uint8[H, W, C] `image` into `out` uint8[S, T, C]; index: whose of the params.

        A result of another size is squashed by the deterministic resize.  UsageError that names the transform and the
        image's id where it fails, or gives what is no image.
        """
        from anmok.augment.preprocess import resize

        depth = image.shape[2]
        try:
            result = self._call(image, int(params.seeds[index]))
        except _failures() as error:
            given = _GIVEN[self.kind].format(depth=depth, mode="RGB" if depth == 3 else "L")
            raise UsageError(
                f"{self.name} failed on {params.ids[index]} ({type(error).__name__}: {error}).", where="augment",
                remedy=f"It is given {given}, here with H = {image.shape[0]}, W = {image.shape[1]}: run it alone on "
                "such an image.", code="augment",
            ) from error  # fmt: skip
        found = pixels(result, depth, self.name)
        out[:] = resize(np.ascontiguousarray(found), out.shape[1], out.shape[0])

    def _call(self, image: np.ndarray, seed: int) -> Any:
        """The transform on a copy of the image, which is the cache's: a function may write into what it gets."""
        try:
            call = self._free.pop()  # a thread takes one that no other has, and puts it back
        except IndexError:
            call = build_call(self.transform)
        try:
            return call(image.copy(), seed)
        finally:
            self._free.append(call)


def guest(transform: Any) -> Guest:
    """The Guest of a transform.

    Transforms of Albumentations are called by keyword with an array uint8[H, W, C] in RGB (C = 1 for gray), several at
    a time; torchvision's (v1 or v2) with a PIL image of mode RGB or L, as its datasets give; any other torch module
    with a tensor uint8[C, H, W]; any other callable with an array uint8[H, W, C]. They give an image in any of these
    forms, of any size, uint8 or floats in [0, 1]; normalisation is anmok's, on the device.

    Transforms of the last three kinds draw from the generators of random, numpy and torch. Those are seeded for each
    image and set back after it, so such transforms run one at a time: threads do not make them faster. A transform
    that carries something from one image to the next cannot be repeated.

    UsageError where it is no such thing.
    """
    if isinstance(transform, Guest):
        return transform
    if isinstance(transform, type):
        raise UsageError(
            f"{transform.__name__} is a class.", where="augment", remedy=f"Give a transform: {transform.__name__}(…).",
            code="augment",
        )  # fmt: skip
    if not callable(transform):
        raise UsageError(
            f"{type(transform).__name__} is no augmentation.", where="augment", code="augment",
            remedy="Give a policy's name, a Policy, a transform of Albumentations or torchvision, or a function.",
        )  # fmt: skip
    return Guest(transform)


def _failures() -> tuple[type[Exception], ...]:
    """What counts as a failure of the transform, with the errors that the libraries derive from Exception itself."""
    import cv2

    crops = sys.modules.get("albumentations.augmentations.crops.transforms")
    return (*_FAILURES, cv2.error, *([crops.CropSizeError] if crops else []))
