"""What an image is called in a cache on disk: a digest that changes whenever its file may have changed."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from anmok.core.errors import DataError
from anmok.core.machine import cores
from anmok.data.storage import file_name, parse
from anmok.data.table import Table

CHUNK = 1024  # rows that a thread looks up at a time
KEY_BYTES = 16


def image_keys(table: Table) -> np.ndarray:
    """uint64[N, 2]: BLAKE2b-16 of where an image lies, its content hash, and its file's state; 0, 0 where unknown.

    The state is size, modification time and change time of the file that holds it, an archive's for a member or a row
    of one: a table's hash is as old as the table, and says nothing of what became of the file since. The change time
    tells an edit that kept the size and restored the modification time. Where a hash is known an image is named below
    the table's root, so that a copied data set keeps its names; else by its whole path. Unknown: the file is missing.
    """
    images, hashes = table.rows["image"].to_list(), table.rows["hash"].to_list()
    root = os.fspath(table.root.resolve())
    seen: dict[str, bytes | None] = {}

    def some(start: int) -> bytes:
        end = start + CHUNK
        pairs = zip(images[start:end], hashes[start:end], strict=True)
        return b"".join(_key(root, image, known, seen) for image, known in pairs)

    with ThreadPoolExecutor(min(16, 4 * cores()), thread_name_prefix="anmok-keys") as pool:
        found = b"".join(pool.map(some, range(0, len(images), CHUNK)))
    return np.frombuffer(found, np.uint64).reshape(-1, 2)


def _key(root: str, image: str, known: str | None, seen: dict[str, bytes | None]) -> bytes:
    """The digest of one image; archives are looked up once and kept in `seen`."""
    name = file_name(image)
    if name is not None:
        state = _state(root, name)
    else:
        try:
            archive = parse(image).file
        except DataError:
            return bytes(KEY_BYTES)
        if archive not in seen:
            seen[archive] = _state(root, archive)
        state = seen[archive]
    if state is None:
        return bytes(KEY_BYTES)
    place = known.encode() if known else os.fsencode(root)
    # Lengths stand before the parts, so that no two lists of parts read the same.
    parts = (place, image.encode(), state)
    text = b"".join(len(part).to_bytes(4, "little") + part for part in parts)
    return hashlib.blake2b(text, digest_size=KEY_BYTES).digest()


def _state(root: str, name: str) -> bytes | None:
    try:
        found = os.stat(os.path.join(root, name))  # noqa: PTH116, PTH118 - three times as fast
    except (OSError, ValueError):
        return None
    return b"%d %d %d" % (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
