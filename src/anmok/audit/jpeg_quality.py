"""The quality that a JPEG was saved at, from its quantisation tables: the formula of the Independent JPEG Group,
inverted.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

# ITU-T T.81, tables K.1 and K.2, row by row.
_LUMINANCE = """
    16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56  14 17 22 29 51 87 80 62
    18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92  49 64 78 87 103 121 120 101  72 92 95 98 112 100 103 99
"""
_CHROMINANCE = """
    17 18 24 47 99 99 99 99  18 21 26 66 99 99 99 99  24 26 56 99 99 99 99 99  47 66 99 99 99 99 99 99
    99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99
"""
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length


class Markers(NamedTuple):
    """What stands before a JPEG's first scan: the quantisation tables by number, 64 values each in the file's zigzag
    order (null bytes before each where they are of 16 bits), and whether there is EXIF.
    """

    tables: tuple[tuple[int, bytes], ...]
    exif: bool


def read_markers(data: bytes) -> Markers:
    """Walk the segments up to the first scan, as far as they follow the structure (ITU-T T.81, annex B)."""
    tables: dict[int, bytes] = {}
    exif, at = False, 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA or size < 2:
            break
        if marker == 0xDB:
            _read_tables(data[at + 4 : at + 2 + size], tables)
        elif marker == 0xE1:
            exif = exif or data[at + 4 : at + 10] == b"Exif\0\0"
        at += 2 + size
    return Markers(tuple(sorted(tables.items())), exif)


def _read_tables(body: bytes, tables: dict[int, bytes]) -> None:
    """Add the tables of one DQT segment."""
    while body:
        size = 128 if body[0] >> 4 else 64
        if len(body) <= size:
            break
        tables[body[0] & 15] = body[1 : 1 + size]
        body = body[1 + size :]


def jpeg_quality(data: bytes) -> int | None:
    """1 to 100: the quality of the IJG's encoder (libjpeg, libjpeg-turbo, Pillow, OpenCV) whose tables are those of a
    JPEG, or lie nearest to them (sum of absolute differences) where another encoder wrote it; None without tables.
    """
    return quality_of(read_markers(data).tables)


@lru_cache(maxsize=1024)
def quality_of(tables: tuple[tuple[int, bytes], ...]) -> int | None:
    """The same from the tables: number 0 is compared with luminance, any other with chrominance."""
    if not tables:
        return None
    distance = np.zeros(100, np.int64)
    for number, body in tables:
        values = np.frombuffer(body, ">u2" if len(body) == 128 else "u1").astype(np.int64)
        distance += np.abs(ijg_tables(number == 0) - np.minimum(values, 255)).sum(axis=1)
    return int(distance.argmin()) + 1


@lru_cache(maxsize=2)
def ijg_tables(luminance: bool) -> np.ndarray:
    """int64[100, 64], zigzag: the table of each quality from 1 to 100 (libjpeg's jcparam.c, baseline)."""
    base = np.array((_LUMINANCE if luminance else _CHROMINANCE).split(), np.int64)[_zigzag()]
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.clip((base * scale[:, None] + 50) // 100, 1, 255)


def _zigzag() -> np.ndarray:
    """int64[64]: where in a row-by-row 8 × 8 block each coefficient of the file stands (T.81, figure A.6)."""
    rows, columns = np.divmod(np.arange(64), 8)
    diagonal = rows + columns
    return np.lexsort((np.where(diagonal % 2, rows, columns), diagonal))
