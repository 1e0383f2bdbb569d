"""One file of decoded pixels: images back to back, then an index of them, then a footer that seals it.

pixels | ENTRY × count | FOOTER. Little-endian. Every byte is under a checksum: an image's own CRC-32, and the footer's
over index and footer. The file gets its name only when it is complete and on the disk.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import struct
import zlib
from pathlib import Path

import numpy as np

from anmok.core.errors import DataError
from anmok.core.files import fsync_folder

VERSION = 1
MAGIC = b"anmok px"
SUFFIX = ".shard"
TEMPORARY = ".tmp"
ENTRY = np.dtype(
    [("key", "<u8", (2,)), ("offset", "<u8"), ("height", "<u4"), ("width", "<u4"), ("channels", "<u4"), ("crc", "<u4")]
)
FOOTER = struct.Struct("<8sIIQ32sI")  # magic, version, count, start of the index, cache key, CRC-32


class ShardWriter:
    """A shard that is being written under a temporary name. Not safe for threads; OSError as the system gives it."""

    def __init__(self, folder: Path, key: str):
        name = secrets.token_hex(8)
        self.path, self._temporary = folder / f"{name}{SUFFIX}", folder / f".{name}{TEMPORARY}"
        self._key, self._end = key, 0
        self._entries: list[tuple] = []
        self.rows: list[int] = []
        self._file = self._temporary.open("xb")

    @property
    def bytes(self) -> int:
        """Size of the file if it were sealed now."""
        return self._end + ENTRY.itemsize * len(self._entries) + FOOTER.size

    def add(self, row: int, key: np.ndarray, image: np.ndarray) -> None:
        """Append an image, uint8[H, W, C], under its key, uint64[2]; `rows` remembers whose it was."""
        pixels = np.ascontiguousarray(image).data.cast("B")
        self._file.write(pixels)
        self._entries.append((key, self._end, *image.shape, zlib.crc32(pixels)))
        self.rows.append(row)
        self._end += len(pixels)

    def commit(self) -> Path:
        """Seal the file, bring it to the disk and give it its name; returns that."""
        index = np.array(self._entries, ENTRY).tobytes()
        head = FOOTER.pack(MAGIC, VERSION, len(self._entries), self._end, self._key.encode(), 0)[:-4]
        self._file.write(index + head + zlib.crc32(head, zlib.crc32(index)).to_bytes(4, "little"))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.rename(self.path)
        fsync_folder(self.path.parent)
        return self.path

    def abort(self) -> None:
        """Remove what was written."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def __del__(self) -> None:
        if hasattr(self, "_file") and not self._file.closed:
            self.abort()


class Shard:
    """A complete shard, mapped into memory; its pages are read when they are needed and shared between processes."""

    def __init__(self, path: Path, pixels: np.ndarray, index: np.ndarray, size: int):
        self.path, self.size, self.keys = path, size, index["key"]
        self._pixels, self._checked = pixels, bytearray(len(index))
        counts = index["height"].astype(np.int64) * index["width"] * index["channels"]
        self._start = index["offset"].astype(np.int64)
        self._end, self._crc = self._start + counts, index["crc"].copy()
        self._shape = np.stack([index["height"], index["width"], index["channels"]], 1).astype(np.int64)

    def image(self, item: int) -> np.ndarray | None:
        """uint8[H, W, C], read-only, of an item of the index; None where the pixels are not those that were written.

        They are compared with their checksum the first time that this process asks.
        """
        flat = self._pixels[self._start[item] : self._end[item]]
        if not self._checked[item]:
            if zlib.crc32(flat.data) != self._crc[item]:
                return None
            self._checked[item] = 1
        return flat.reshape(self._shape[item])


def open_shard(path: Path, key: str) -> Shard:
    """Map a shard.  DataError (code damaged) where it is cut, changed, of another version or another cache's."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < FOOTER.size + ENTRY.itemsize:
            raise _damaged(path, "it is cut off")
        mapped = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    tail = mapped[-FOOTER.size :].tobytes()
    magic, version, count, start, found, crc = FOOTER.unpack(tail)
    if magic != MAGIC:
        raise _damaged(path, "it is cut off or its end is damaged")
    if version != VERSION:
        raise _damaged(path, f"its format is version {version}, not {VERSION}")
    if start + count * ENTRY.itemsize + FOOTER.size != size:
        raise _damaged(path, "it has not the length that it should have")
    index = mapped[start : size - FOOTER.size].tobytes()
    if zlib.crc32(tail[:-4], zlib.crc32(index)) != crc:
        raise _damaged(path, "its index is damaged")
    if found != key.encode():
        raise _damaged(path, "it belongs to another cache")
    entries = np.frombuffer(index, ENTRY)
    return Shard(path, mapped[:start], entries, size)


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"{what}.", where=str(path), code="damaged")
