"""Thumbnails for a page, each image decoded once however often it is shown."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from anmok.core.errors import ImageError
from anmok.data.decode import decode
from anmok.data.table import Table
from anmok.report.thumbnails import SIDE, thumbnail

SMALL = 112  # pixels: side of the pictures of a cell
SMALL_QUALITY = 60


class Pictures:
    """WebP thumbnails of a table's images by id; b'' of one that cannot be read."""

    def __init__(self, table: Table):
        self._storage = table.storage
        self._image = dict(zip(table.rows["id"], table.rows["image"], strict=True))

    def large(self, ids: Iterable[str]) -> dict[str, bytes]:
        """Of images shown one by one."""
        return self._made(ids, SIDE, 72)

    def small(self, ids: Iterable[str]) -> dict[str, bytes]:
        """Of images shown by the hundred."""
        return self._made(ids, SMALL, SMALL_QUALITY)

    def _made(self, ids: Iterable[str], side: int, quality: int) -> dict[str, bytes]:
        wanted = list(dict.fromkeys(ids))
        with ThreadPoolExecutor(4) as pool:
            return dict(zip(wanted, pool.map(lambda i: self._one(i, side, quality), wanted), strict=True))

    def _one(self, identity: str, side: int, quality: int) -> bytes:
        if identity not in self._image:
            return b""
        try:
            return thumbnail(decode(self._storage.read(self._image[identity]), min_side=side), side, quality)
        except ImageError:
            return b""
