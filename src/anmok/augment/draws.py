"""Uniform numbers as a pure function of (seed, epoch, row id), so that any epoch can be replayed.

The draws are counter-based: every (row, quantity) hashes to its own number (splitmix64, Steele et al. 2014), so neither
the batch an image falls into nor the number of threads or ranks changes what happens to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_U64 = np.uint64


def uniform(ids: Sequence[str], epoch: int, seed: int, draws: int) -> np.ndarray:
    """float64[N, draws] in [0, 1), a pure function of (seed, epoch, id, column)."""
    return spread(row_keys(ids, epoch, seed), draws)


def row_keys(ids: Sequence[str], epoch: int, seed: int) -> np.ndarray:
    """uint64[N]: the start of each row's stream of numbers in this epoch."""
    digest = b"".join(hashlib.blake2b(i.encode("utf-8", "surrogatepass"), digest_size=8).digest() for i in ids)
    stream = _mix64(_mix64(np.array([seed % 2**64], _U64)) ^ np.array([epoch], _U64))
    return _mix64(np.frombuffer(digest, "<u8") ^ stream)


def spread(keys: np.ndarray, draws: int) -> np.ndarray:
    """float64[N, draws] in [0, 1) of uint64[N] keys."""
    counter = keys[:, None] + _GOLDEN * np.arange(1, draws + 1, dtype=_U64)
    return (_mix64(counter) >> _U64(11)) * (1.0 / (1 << 53))


def _mix64(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> _U64(30))) * _U64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> _U64(27))) * _U64(0x94D049BB133111EB)
    return x ^ (x >> _U64(31))
