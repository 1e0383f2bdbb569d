"""Small arrays of the host, brought to the device together: one transfer for a batch, however many arrays it needs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch

_ALIGNED = 16  # bytes: every array begins where any number may


class Ref(NamedTuple):
    """An array in the pack: its first byte, its shape, its dtype's name."""

    start: int
    shape: tuple[int, ...]
    dtype: str


@dataclass
class Pack:
    """Arrays that wait for the transfer. `add` on the host; `sent` makes of it what `Sent.get` reads on the device."""

    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, array: Any, dtype: type[np.generic]) -> Ref:
        """Keep a copy of the array as that dtype: one that the device has too."""
        data = np.ascontiguousarray(array, dtype)
        ref = Ref(self.size, data.shape, dtype.__name__)
        padded = data.tobytes() + bytes(-data.nbytes % _ALIGNED)
        self.parts.append(padded)
        self.size += len(padded)
        return ref

    def sent(self, device: torch.device) -> Sent:
        """Start the one transfer, which on CUDA does not wait for the work before it."""
        import torch

        buffer = torch.frombuffer(bytearray(b"".join(self.parts) or bytes(_ALIGNED)), dtype=torch.uint8)
        if device.type == "cuda":
            buffer = buffer.pin_memory()
        return Sent(buffer.to(device, non_blocking=True))


class Sent(NamedTuple):
    """The pack on the device."""

    buffer: torch.Tensor

    def get(self, ref: Ref) -> torch.Tensor:
        """The array, a view of the buffer."""
        import torch

        count = math.prod(ref.shape) * np.dtype(ref.dtype).itemsize
        return self.buffer[ref.start : ref.start + count].view(getattr(torch, ref.dtype)).view(ref.shape)
