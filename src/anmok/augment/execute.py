"""One call for both executors: numpy arrays are augmented on the host, tensors where they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anmok.augment import host
from anmok.augment.params import Params


def apply(images: Any, params: Params, size: int | None = None, threads: int = 1) -> Any:
    """The augmented images, uint8[N, S, S, C], of uint8[N, H, W, C] or a sequence of arrays [H, W, C] of any sizes.

    A torch tensor comes back as one, on its own device. size: of the output, by default the params', else the images'
    own. The pictures of the two executors differ by at most 1 of 255 in the mean.
    """
    if isinstance(images, np.ndarray) or (isinstance(images, Sequence) and not hasattr(images, "device")):
        return host.apply(images, params, size, threads)
    from anmok.augment import device

    return device.apply(images, params, size)
