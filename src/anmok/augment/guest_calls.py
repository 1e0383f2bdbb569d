"""Calling a user's transform so that what it draws is a pure function of a seed."""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from anmok.augment.guest_parts import Kind, kind_of, parts
from anmok.augment.guest_torch import torch_draws

Call = Callable[[np.ndarray, int], Any]  # (uint8[H, W, C], seed in [0, 2^64)) -> whatever the transform gives
_GLOBAL = threading.Lock()  # held while the process's own generators are somebody's


def build_call(transform: Any) -> Call:
    """A call of the transform, for one thread at a time."""
    kind = kind_of(transform)
    return Albumentations(transform) if kind == "albumentations" else Plain(transform, kind)


class Albumentations:
    """A copy of a transform of Albumentations, whose parts all draw from one pair of generators.

    Draws what it draws after `set_random_state(np.random.default_rng(seed), random.Random(seed))`. Its own
    `set_random_seed` would give every part the same numbers, so that a flip left to right and a flip upside down came
    always together, and takes about five times as long.
    """

    def __init__(self, transform: Any):
        self.transform = copy.deepcopy(transform)
        own = all(type(part).__module__.startswith("albumentations.") for part in parts(transform))
        functions = any(type(part).__name__ == "Lambda" for part in parts(transform))
        self.shared = not own or functions  # a function of the user's may draw from anywhere

    def __call__(self, image: np.ndarray, seed: int) -> Any:
        self.transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
        with seeded(seed) if self.shared else nullcontext():
            return self.transform(image=image)["image"]


class Plain:
    """Any other transform, which draws from the process's generators: one call at a time, whatever the threads."""

    def __init__(self, transform: Any, kind: Kind):
        self.transform, self.kind = transform, kind

    def __call__(self, image: np.ndarray, seed: int) -> Any:
        given = presented(image, self.kind)
        with seeded(seed):
            return self.transform(given)


def presented(image: np.ndarray, kind: Kind) -> Any:
    """The image as a transform of this kind takes it: a PIL image for torchvision, uint8[C, H, W] for other modules."""
    if kind == "torchvision":
        from PIL import Image

        return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    if kind == "module":
        import torch

        return torch.from_numpy(image).permute(2, 0, 1).contiguous()
    return image


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """As after random.seed(seed), np.random.seed([seed % 2^32, seed // 2^32]) and torch.manual_seed(seed).

    All three are as before at the end. Torch's generator is not touched even meanwhile, as a network that trains in
    another thread may draw its dropout from it; see `guest_torch`.
    """
    with _GLOBAL, torch_draws(seed):
        python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002  that generator is what it draws from
        random.seed(seed)
        np.random.seed([seed % 2**32, seed >> 32])  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002
