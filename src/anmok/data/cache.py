"""Decoded pixels kept between epochs, by row number of a Table: what a cache is, none at all, and one in RAM.

A cache that is full keeps what it holds and takes no more. Where every epoch reads all rows once in an order of its
own, that beats forgetting the least recently used: room for a share f of the rows answers f of the reads, LRU only
f + (1 − f) ln(1 − f), which for half the rows is 15 % instead of 50 %.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Literal, Protocol, Self

import numpy as np

Kind = Literal["none", "ram", "disk", "device"]
OVERHEAD = 256  # bytes of an array's object and its place in the dictionary


class PixelCache(Protocol):
    """A store of uint8[H, W, C] by row, used by many threads at once; closed at the end of its `with` block."""

    @property
    def kind(self) -> Kind:
        """Where the pixels lie."""

    @property
    def held_bytes(self) -> int:
        """Bytes that are taken up now."""

    def get(self, row: int) -> np.ndarray | None:
        """The image of a row, uint8[H, W, C], read-only; None where it is not held."""

    def put(self, row: int, image: np.ndarray) -> None:
        """Keep a copy of an image, uint8[H, W, C], if there is room; of a row that is held already nothing is kept."""

    def end_epoch(self) -> None:
        """Every row of an epoch has been asked for."""

    def close(self) -> None:
        """Let go of everything; `get` answers None from now on."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class NoCache(PixelCache):
    """Holds nothing: every image is decoded each time."""

    kind: Kind = "none"
    held_bytes = 0

    def get(self, row: int) -> np.ndarray | None:
        """None."""
        return None

    def put(self, row: int, image: np.ndarray) -> None:
        """Nothing is kept."""

    def end_epoch(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class RamCache(PixelCache):
    """Arrays in memory, together never more than `limit_bytes`, the objects around them included."""

    kind: Kind = "ram"

    def __init__(self, limit_bytes: int):
        self.limit_bytes = limit_bytes
        self._images: dict[int, np.ndarray] = {}
        self._held = 0
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """Bytes of the arrays and the objects around them."""
        return self._held

    def get(self, row: int) -> np.ndarray | None:
        """The image of a row, without a lock: looking into a dictionary is one step of the interpreter."""
        return self._images.get(row)

    def put(self, row: int, image: np.ndarray) -> None:
        """Keep a copy if it fits: a view would keep alive whatever larger array it was cut from, uncounted."""
        size = image.nbytes + OVERHEAD
        with self._lock:
            if row in self._images or self._held + size > self.limit_bytes:
                return
            self._held += size
            kept = np.array(image, order="C")
            kept.flags.writeable = False
            self._images[row] = kept

    def end_epoch(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Forget all images."""
        with self._lock:
            self._images, self._held, self.limit_bytes = {}, 0, 0
