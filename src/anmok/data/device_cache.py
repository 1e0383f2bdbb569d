"""Decoded pixels in the memory of the device that augments them: one flat tensor, which a whole batch is cut from."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from anmok.core.errors import MachineError, UsageError
from anmok.core.optional import need
from anmok.data.cache import Kind, PixelCache

if TYPE_CHECKING:
    import torch


class DeviceCache(PixelCache):
    """uint8[limit_bytes] on `device`, taken at once, so that training finds out at its start whether it can be had.

    Images of any size lie in it back to back; one that does not fit is not kept.  MachineError (code memory) where the
    device has not that much.
    """

    kind: Kind = "device"
    _flat: torch.Tensor

    def __init__(self, limit_bytes: int, device: str = "cuda"):
        torch = need("torch", "train")
        self.limit_bytes, self._from_numpy = limit_bytes, torch.from_numpy
        try:
            self._flat = torch.empty(limit_bytes, dtype=torch.uint8, device=device)
        except torch.OutOfMemoryError as error:
            raise MachineError(
                f"{device} has no {limit_bytes / 1e9:.1f} GB free for pixels.", where="--cache", code="memory",
                remedy="Use --cache ram or disk.",
            ) from error  # fmt: skip
        self._places: dict[int, tuple[int, tuple[int, int, int]]] = {}
        self._end = 0
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """Bytes of the device's memory that are taken, used or not."""
        return self._flat.numel()

    def get(self, row: int) -> np.ndarray | None:
        """A copy in RAM, for whoever works on the host."""
        place = self._places.get(row)
        if place is None:
            return None
        start, (height, width, channels) = place
        flat = self._flat[start : start + height * width * channels]
        image: np.ndarray = flat.cpu().numpy().reshape(height, width, channels)
        if self._flat.device.type == "cpu":  # there it is a view of the cache
            image = image.copy()
        image.flags.writeable = False
        return image

    def put(self, row: int, image: np.ndarray) -> None:
        """Copy an image, uint8[H, W, C], to the device, if there is room."""
        height, width, channels = image.shape
        with self._lock:
            end = self._end + image.nbytes
            if row in self._places or end > self._flat.numel():
                return
            self._flat[self._end : end].copy_(self._from_numpy(np.array(image, order="C").reshape(-1)))
            self._places[row] = (self._end, (height, width, channels))  # only now: a reader finds it whole
            self._end = end

    def holds(self, rows: np.ndarray) -> np.ndarray:
        """bool[B]: which of these rows are held."""
        return np.array([int(row) in self._places for row in rows], bool)

    def rows(self, rows: np.ndarray) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """The flat tensor uint8[limit_bytes], and of each row where it begins, int64[B], and (H, W), int64[B, 2].

        UsageError for a row that is not held (see `holds`).
        """
        try:
            places = [self._places[int(row)] for row in rows]
        except KeyError as error:
            raise UsageError(f"row {error} is not in the cache.", code="setting") from error
        offsets = np.array([start for start, _ in places], np.int64)
        sizes = np.array([shape[:2] for _, shape in places], np.int64).reshape(-1, 2)
        return self._flat, offsets, sizes

    def end_epoch(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Give the memory back."""
        with self._lock:
            self._places, self._end, self._flat = {}, 0, self._flat[:0].clone()
