"""Operations on single values as tables of 256 entries, clamped and cut as Pillow does; tables compose exactly."""

from __future__ import annotations

import numpy as np

LUMA = (0.299, 0.587, 0.114)
_LEVELS = np.arange(256)
_FLOATS = _LEVELS.astype(np.float32)  # products are cut, so they must round as the float32 of Pillow and torchvision
_IDENTITY = np.arange(256, dtype=np.uint8)


def brightness(factor: float) -> np.ndarray:
    """uint8[256]: every value times the factor."""
    return _cut(_FLOATS * np.float32(factor))


def contrast(factor: float, mean: float) -> np.ndarray:
    """uint8[256]: distances from `mean`, the image's own grey mean, times the factor."""
    return _cut(np.float32(factor) * _FLOATS + np.float32((1 - factor) * mean))


def posterize(bits: int) -> np.ndarray:
    """uint8[256]: the highest `bits` bits of 8 kept."""
    return (_LEVELS & (0xFF00 >> bits & 0xFF)).astype(np.uint8)


def solarize(threshold: float) -> np.ndarray:
    """uint8[256]: values from the threshold on inverted (compared in float32, as torchvision does)."""
    return np.where(np.float32(threshold) <= _FLOATS, 255 - _LEVELS, _LEVELS).astype(np.uint8)


def solarize_add(amount: float, threshold: int = 128) -> np.ndarray:
    """uint8[256]: `amount` is added to values below the threshold."""
    return _cut(np.where(threshold > _LEVELS, _LEVELS + amount, _LEVELS))


def invert() -> np.ndarray:
    """uint8[256]: 255 minus the value."""
    return _IDENTITY[::-1].copy()


def autocontrast(counts: np.ndarray) -> np.ndarray:
    """uint8[256, C] of the image's histogram [C, 256]: each channel stretched to 0 to 255."""
    tables = []
    for channel in counts:
        (found,) = np.nonzero(channel)
        low, high = (int(found[0]), int(found[-1])) if len(found) else (0, 0)
        tables.append(_cut((_LEVELS - low) * (255 / (high - low))) if high > low else _IDENTITY)
    return np.stack(tables, 1)


def equalize(counts: np.ndarray) -> np.ndarray:
    """uint8[256, C] of the image's histogram [C, 256]: each channel's equalised, as Pillow's ImageOps.equalize."""
    tables = []
    for channel in counts.astype(np.int64):
        (found,) = np.nonzero(channel)
        step = (int(channel.sum()) - int(channel[found[-1]])) // 255 if len(found) > 1 else 0
        if not step:
            tables.append(_IDENTITY)
            continue
        before = np.concatenate([[0], np.cumsum(channel)[:-1]])
        tables.append(np.minimum((step // 2 + before) // step, 255).astype(np.uint8))
    return np.stack(tables, 1)


def after(first: np.ndarray | None, second: np.ndarray) -> np.ndarray:
    """The one table, uint8[256] or uint8[256, C], that does the first and then the second."""
    if first is None:
        return second
    if second.ndim == 1:
        return second[first]
    first = np.broadcast_to(first[:, None], second.shape) if first.ndim == 1 else first
    return np.take_along_axis(second, first.astype(np.intp), 0)


def carried(counts: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The histogram [C, 256] of an image of histogram `counts` once the table has been applied."""
    columns = np.broadcast_to(table[:, None], (256, len(counts))) if table.ndim == 1 else table
    return np.stack([np.bincount(columns[:, c], row, 256) for c, row in enumerate(counts)])


def _cut(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)
