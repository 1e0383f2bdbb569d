"""A row's pixels as they stand before the augmentation: kept ones, or decoded and prepared ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from anmok.augment.guests import Guest
from anmok.augment.params import smallest_side
from anmok.augment.policy import Policy
from anmok.augment.preprocess import MARGIN, Preprocess
from anmok.augment.resample import resized
from anmok.augment.tta import ImageViews
from anmok.augment.views import Views
from anmok.core.machine import free_memory_bytes
from anmok.core.progress import say
from anmok.data.cache import NoCache, PixelCache
from anmok.data.cache_account import choose_cache
from anmok.data.cache_build import build_cache
from anmok.data.cache_estimate import estimate_bytes
from anmok.data.cache_folder import cache_root, free_disk_bytes
from anmok.data.decode import decode
from anmok.data.table import Table

KEPT = 8 / 7  # times the model's side: the short side of kept pictures, as 256 for a model of 224


class Pixels:
    """`get(row)` gives uint8[H, W, C]: what the policy is applied to, or without one the finished square.

    cache: what keeps them. side: the short side to which training pictures are made smaller, aspect kept; without one,
    and where nothing is kept, a picture is decoded to what its own crop needs. notes: of which id the colour profile is
    broken and ignored, as a reader of the picture should know; the rest is for the audit. on_note(id, text) hears it.
    """

    def __init__(
        self, table: Table, preprocess: Preprocess, policy: Policy | Guest | Views | None, cache: PixelCache,
        side: int | None, allow_truncated: bool, on_note: Callable[[str, str], None] | None = None,
    ):  # fmt: skip
        self.preprocess, self.policy, self.cache, self.side, self.on_note = preprocess, policy, cache, side, on_note
        self.notes: dict[str, str] = {}
        self._ids: list[str] = table.rows["id"].to_list()
        self._read = table.storage.read
        self._images: list[str] = table.rows["image"].to_list()
        self._frame = None if policy is None else training_frame(preprocess, policy)
        self._decode = partial(
            decode, channels=preprocess.channels, background=preprocess.background, allow_truncated=allow_truncated
        )
        self._fixed = side  # the short side that any picture is decoded to; None: what its crop needs
        if self._frame is not None or preprocess.equalize != "none" or (side is None and cache.kind != "none"):
            self._fixed = round(preprocess.image_size * MARGIN)

    def get(self, row: int, program: list[Any] | None = None) -> np.ndarray:
        """The pixels of a row. program: what was drawn for it.  ImageError where it cannot be decoded."""
        image = self.cache.get(row)
        if image is None:
            image = self._made(row, program)
            self.cache.put(row, image)
        return image

    def seen(self, row: int, views: ImageViews) -> list[np.ndarray]:
        """The test-time views of a row, of one decoding.  ImageError where it cannot be decoded."""
        image = self._decode(self._read(self._images[row]), on_note=partial(self._note, row))
        return views(image, self._ids[row])

    def _made(self, row: int, program: list[Any] | None) -> np.ndarray:
        data, note = self._read(self._images[row]), partial(self._note, row)
        if self.policy is None:
            return self.preprocess.apply(self._decode(data, on_note=note))
        least = self._fixed
        if least is None and program is not None:
            least = smallest_side(program, self.preprocess.image_size)
        image = self.preprocess.prepare(self._decode(data, on_note=note, min_side=least))
        if self._frame is not None:
            return self.preprocess.square(image, self._frame)
        return image if self.side is None else shortened(image, self.side)

    def _note(self, row: int, text: str) -> None:
        identity = self._ids[row]
        if text.startswith("bad-profile") and identity not in self.notes:
            self.notes[identity] = text
            if self.on_note:
                self.on_note(identity, text)


def shortened(image: np.ndarray, side: int) -> np.ndarray:
    """uint8[H, W, C] made smaller, if it is larger, to a short side of `side` pixels, aspect kept."""
    height, width = image.shape[:2]
    short = min(height, width)
    if short <= side:
        return image
    return resized(image, max(side, round(width * side / short)), max(side, round(height * side / short)))


def training_frame(preprocess: Preprocess, policy: Policy | Guest | Views) -> int | None:
    """Side of the square that a training image becomes before it is augmented; None where the policy's crop does it.

    Without it a model that is to see padded or cropped squares would learn from squashed ones.
    """
    if preprocess.fit == "squash" or (preprocess.fit == "crop" and policy.crops):
        return None
    return round(preprocess.image_size * MARGIN)


def open_cache(
    wanted: str, table: Table, preprocess: Preprocess, policy: Policy | Guest | Views | None, *, side: int | None,
    allow_truncated: bool, share: float, epochs: int, processes: int = 1, device: str = "cuda", aloud: bool = True,
) -> PixelCache:  # fmt: skip
    """The cache that the memory account chooses for these rows, and says why it does (aloud).

    side: of kept pictures; share: of the free memory that may be taken.
    """
    if wanted == "none":
        return NoCache()
    fixed = preprocess.image_size if policy is None else training_frame(preprocess, policy)
    estimate = estimate_bytes(table, fixed or side or 0, preprocess.depth, square=fixed is not None)
    choice = choose_cache(
        wanted, estimate, free_ram=free_memory_bytes(), free_disk=free_disk_bytes(cache_root()),
        free_device=free_device_bytes(device) if wanted == "device" else None, share=share, epochs=epochs,
        processes=processes,
    )  # fmt: skip
    if aloud:
        say(choice.why)
    settings = {
        "preprocess": preprocess.to_dict(), "side": fixed or side, "square": fixed is not None,
        "training": policy is not None, "allow_truncated": allow_truncated,
    }  # fmt: skip
    return build_cache(choice, table, settings, device=device)


def free_device_bytes(device: str) -> int | None:
    """Free memory of a GPU, bytes; None where it is none that works."""
    from anmok.core.optional import need

    torch = need("torch", "train")
    if not device.startswith("cuda") or not torch.cuda.is_available():
        return None
    return int(torch.cuda.mem_get_info(torch.device(device))[0])
