"""Decoded pixels in memory-mapped files, built by the first epoch itself and there again for the next run.

Images are known by content keys (see cache_keys.py), so a changed one is not found. What is being written has a
temporary name: a process that is killed leaves whole shards and perhaps a temporary, which the next writer removes. One
process writes at a time, under a lock it holds from its first image of an epoch to the epoch's end; others read what is
complete, and look again at each end of an epoch.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from anmok.core.errors import DataError
from anmok.core.progress import warn
from anmok.data.cache import Kind, PixelCache
from anmok.data.cache_folder import WRITING, FileLock, default_limit, enter
from anmok.data.cache_shard import SUFFIX, TEMPORARY, Shard, ShardWriter, open_shard

SHARD_BYTES = 64 << 20
SHARDS = 128  # of equal size; beyond them shards grow with what is held, as each takes a file handle
RESERVE = 1 << 30  # bytes of the disk that stay free
ABSENT, PENDING = -1, -2  # places of rows that lie in no shard, or in one that is not complete
_ITEM = (1 << 32) - 1


class FileCache(PixelCache):
    """The images of a table's rows in the shards of `root`/`key`.

    images: uint64[N, 2], the key of each row, as `image_keys` gives them (0, 0: never kept); limit_bytes: of all
    shards in the folder (default: see `default_limit`); a full disk, or less than reserve_bytes free, ends the writing
    and nothing else.  warn(text) is told once of each damaged shard, and of the disk.
    """

    kind: Kind = "disk"

    def __init__(
        self, root: Path, key: str, images: np.ndarray, *, limit_bytes: int | None = None,
        shard_bytes: int = SHARD_BYTES, reserve_bytes: int = RESERVE, warn: Callable[[str], None] = warn,
    ):  # fmt: skip
        self.folder, self._in_use = enter(root, key)
        self.limit_bytes = default_limit(root) if limit_bytes is None else limit_bytes
        self._key, self._shard_bytes, self._reserve, self._warn = key, shard_bytes, reserve_bytes, warn
        self._keys = np.ascontiguousarray(images, np.uint64)
        self._order = np.lexsort((self._keys[:, 1], self._keys[:, 0]))
        self._sorted = self._keys[self._order, 0]
        self._place = np.full(len(images), ABSENT, np.int64)  # number of the shard << 32 | item
        self._place[(self._keys == 0).all(1)] = PENDING
        self._shards: list[Shard | None] = []
        self._sizes: dict[Path, int] = {}  # every complete shard in the folder, 0 where it cannot be used
        self._unwanted: list[Path] = []  # those without an image of these rows
        self._lock, self._sealing = threading.RLock(), threading.Lock()
        self._write_lock = FileLock(self.folder / WRITING)
        self._writer: ShardWriter | None = None
        self._may_write = True  # until the writer is another, or the disk is full
        self._stopped = False
        self._refresh()

    @property
    def held_bytes(self) -> int:
        """Bytes of the folder's shards, the one being written included."""
        with self._lock:
            return sum(self._sizes.values()) + (self._writer.bytes if self._writer else 0)

    def get(self, row: int) -> np.ndarray | None:
        """The image of a row out of the mapped file, without a lock; its checksum is looked at the first time."""
        place = int(self._place[row])
        if place < 0:
            return None
        shard = self._shards[place >> 32]
        if shard is None:
            return None
        image = shard.image(place & _ITEM)
        if image is None:
            self._drop(place >> 32)
        return image

    def put(self, row: int, image: np.ndarray) -> None:
        """Append an image to the shard that is being written; it can be had once that is complete."""
        if self._place[row] != ABSENT or not self._may_write:
            return
        full = None
        with self._lock:
            if not self._ready(row, image.nbytes) or self._writer is None:
                return
            try:
                self._writer.add(row, self._keys[row], image)
            except OSError as error:
                self._stop(self._writer, error)
                return
            self._place[row] = PENDING
            if self._writer.bytes >= self._shard_size():
                full, self._writer = self._writer, None
        if full:
            self._seal(full)

    def end_epoch(self) -> None:
        """Complete what was written, let another process write, and take up what others have completed."""
        with self._lock:
            last, self._writer = self._writer, None
        if last:
            self._seal(last)
        with self._sealing, self._lock:
            self._write_lock.release()
            self._may_write = not self._stopped
            self._refresh()

    def close(self) -> None:
        """Complete what was written and leave the folder."""
        self.end_epoch()
        with self._lock:
            self._stopped, self._may_write = True, False
            self._place[:] = ABSENT
            self._shards, self._sizes = [None] * len(self._shards), {}
            self._in_use.release()

    def _ready(self, row: int, more: int) -> bool:
        """Whether this row's `more` bytes may be written now; starts a shard where there is none."""
        if not self._write_lock.held:
            if not self._write_lock.acquire():
                self._may_write = False  # till the end of the epoch
                return False
            for left in self.folder.glob(f".*{TEMPORARY}"):  # its writer is dead, or it would have the lock
                left.unlink(missing_ok=True)
            self._refresh()
        if self._place[row] != ABSENT:
            return False
        if self.held_bytes + more > self.limit_bytes and not self._make_room(more):
            return False
        if self._writer is None:
            try:
                free = shutil.disk_usage(self.folder).free
                if free < self._reserve + self._shard_size():
                    self._stop(None, f"{free / 1e9:.1f} GB of the disk are free, which are left to others")
                    return False
                self._writer = ShardWriter(self.folder, self._key)
            except OSError as error:
                self._stop(None, error)
                return False
        return True

    def _shard_size(self) -> int:
        return max(self._shard_bytes, sum(self._sizes.values()) // SHARDS)

    def _make_room(self, more: int) -> bool:
        """Remove shards without an image of these rows, of images that have changed since, say."""
        while self._unwanted and self.held_bytes + more > self.limit_bytes:
            path = self._unwanted.pop()
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
                self._sizes.pop(path, None)
        return self.held_bytes + more <= self.limit_bytes

    def _seal(self, writer: ShardWriter) -> None:
        """Bring a shard to the disk, while other threads may fill the next one."""
        with self._sealing:
            try:
                path = writer.commit()
            except OSError as error:
                with self._lock:
                    self._stop(writer, error)
                return
            with self._lock:
                self._release_rows(writer)
                self._take(path)

    def _release_rows(self, writer: ShardWriter) -> None:
        self._place[writer.rows] = ABSENT

    def _stop(self, writer: ShardWriter | None, why: OSError | str) -> None:
        """Write no more; what is complete stays."""
        if writer is not None:
            writer.abort()
            self._release_rows(writer)
        if writer is self._writer:
            self._writer = None
        self._may_write = False
        if not self._stopped:
            self._stopped = True
            reason = why if isinstance(why, str) else (os.strerror(why.errno).lower() if why.errno else str(why))
            kept = f"{(self._place >= 0).sum():,} of {len(self._place):,} images are kept"
            self._warn(f"the cache in {self.folder} does not grow any more ({reason}); {kept}, training goes on")

    def _refresh(self) -> None:
        """Take up the complete shards that are not known yet."""
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            if path not in self._sizes:
                self._take(path)

    def _take(self, path: Path) -> None:
        try:
            shard = open_shard(path, self._key)
        except DataError as error:
            self._remove(path, error.message)
            return
        except FileNotFoundError:
            return
        except OSError as error:  # no more file handles, an unreadable disk: the file itself may be sound
            self._sizes[path] = 0
            self._warn(f"{path}: cannot be used ({error}); its images are decoded again")
            return
        self._sizes[path] = shard.size
        if not self._locate(shard):
            self._unwanted.append(path)

    def _locate(self, shard: Shard) -> bool:
        """Note which rows a shard holds; whether it holds any."""
        first, second = shard.keys[:, 0], shard.keys[:, 1]
        low, high = (np.searchsorted(self._sorted, first, side) for side in ("left", "right"))
        count = high - low
        items = np.repeat(np.arange(len(first)), count)
        rows = self._order[np.arange(len(items)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)]
        same = self._keys[rows, 1] == second[items]
        self._shards.append(shard)  # before any row points to it
        self._place[rows[same]] = (len(self._shards) - 1 << 32) | items[same]
        if not same.any():
            self._shards[-1] = None
        return bool(same.any())

    def _drop(self, number: int) -> None:
        """An image is not what was written: nothing of its shard is trusted any more."""
        with self._lock:
            shard = self._shards[number]
            if shard is None:
                return
            self._shards[number] = None
            self._place[self._place >> 32 == number] = ABSENT
            self._remove(shard.path, "its pixels are damaged")

    def _remove(self, path: Path, why: str) -> None:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        self._sizes.pop(path, None)
        if path.exists():
            self._sizes[path] = 0  # on a read-only disk: known, and never used
        self._warn(f"{path}: dropped, as {why}; its images are decoded again")
