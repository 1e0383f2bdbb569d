"""Random 64-bit hashes with near pairs planted among them."""

from __future__ import annotations

import numpy as np

SEED = 0


def planted(count: int, radius: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(hashes uint64[N], and the places of N / 100 pairs at a distance of 1 to `radius`, drawn evenly: int64 each)."""
    rng = np.random.default_rng(SEED)
    hashes = rng.integers(0, 2**64, count, np.uint64)
    pairs = count // 100
    places = rng.choice(count, 2 * pairs, replace=False)
    first, second = places[:pairs], places[pairs:]
    bits = rng.random((pairs, 64)).argsort(axis=1).astype(np.uint64)
    wanted = rng.integers(1, radius + 1, pairs)
    mask = np.zeros(pairs, np.uint64)
    for k in range(radius):
        mask |= np.where(k < wanted, np.uint64(1) << bits[:, k], np.uint64(0))
    hashes[second] = hashes[first] ^ mask
    return hashes, first, second
