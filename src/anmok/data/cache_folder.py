"""Where decoded pixels lie on disk: a folder for each way of preparing a data set, locks, a bound on them all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anmok.core.files import make_folder
from anmok.core.machine import versions
from anmok.data.cache_shard import VERSION

LIMIT = 50 << 30  # bytes of all caches together
IN_USE, WRITING = "in-use.lock", "writing.lock"
_DECODERS = ("pillow", "simplejpeg", "opencv-python-headless", "opencv-python", "pi-heif", "numpy")
_KEY = re.compile("[0-9a-f]{32}")
_EVICTED = ".evicted-"


def cache_root() -> Path:
    """$ANMOK_CACHE, else anmok/pixels in the user's cache folder ($XDG_CACHE_HOME, ~/.cache and the like)."""
    if own := os.environ.get("ANMOK_CACHE"):
        return Path(own).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        given = os.environ.get("XDG_CACHE_HOME", "")
        base = given if given.startswith("/") else "~/.cache"  # the specification has a relative one ignored
    return Path(base).expanduser() / "anmok" / "pixels"


def cache_key(settings: Mapping[str, Any], root: Path | str) -> str:
    """BLAKE2b-16 (hex) over all that pixels depend on besides the image: the name of a cache's folder.

    settings: plain values (working size, preprocessing, channels, background, allow_truncated, …); the versions of the
    decoders and of the shards' format are added, and the data set's root: each has a folder, and so a writer, of its
    own.  TypeError for a value that JSON does not know.
    """
    about = {
        "settings": settings, "root": os.fsencode(Path(root).resolve()).hex(), "format": VERSION,
        "versions": {k: v for k, v in versions(_DECODERS).items() if k != "python"},
    }  # fmt: skip
    return hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=16).hexdigest()


def free_disk_bytes(folder: Path) -> int:
    """Bytes that can be written below `folder`, which need not exist yet; 0 where nothing may be written."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free if os.access(place, os.W_OK | os.X_OK) else 0


def default_limit(root: Path) -> int:
    """Bytes that all caches below `root` may take: 50 GiB, or half of what the disk has for them if that is less."""
    return min(LIMIT, (free_disk_bytes(root) + sum(_size(f) for f in _folders(root))) // 2)


class FileLock:
    """An operating-system lock on a file, which the system frees when the process dies, however it does."""

    def __init__(self, path: Path):
        self.path = path
        self._file: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object has it."""
        return self._file is not None

    def acquire(self, shared: bool = False) -> bool:
        """Take it if it can be had at once.  False where another has it, or the file system knows no locks."""
        while self._file is None:
            try:
                file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError:
                return False
            try:
                _lock(file, shared)
                if os.path.samestat(self.path.stat(), os.fstat(file)):
                    self._file = file
                    break
            except FileNotFoundError:
                pass  # removed between the two: what is locked has no name any more
            except OSError:
                os.close(file)
                return False
            os.close(file)
        return True

    def release(self) -> None:
        """Let it go, if it is held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    __del__ = release


def _lock(file: int, shared: bool) -> None:
    if sys.platform == "win32":  # has no shared locks here; there a file in use cannot be moved away anyway
        import msvcrt

        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def enter(root: Path, key: str) -> tuple[Path, FileLock]:
    """The folder of a key, made if need be, with the lock that keeps others from evicting it; marks it as used now."""
    folder = root / key
    for _ in range(10):  # an eviction may take the folder away between making and locking it
        make_folder(folder)
        lock = FileLock(folder / IN_USE)
        if lock.acquire(shared=True):
            break
        time.sleep(0.01)
    with contextlib.suppress(OSError):
        os.utime(folder / IN_USE)
    return folder, lock


def evict(root: Path, limit_bytes: int, keep: str = "", need_bytes: int = 0) -> list[str]:
    """Remove the least recently used caches below `root` until all hold at most limit_bytes; returns their keys.

    Never the one called `keep`, which counts as need_bytes if it is smaller, nor one that a living process has entered.
    """
    if not root.is_dir():
        return []
    for left in root.glob(f"{_EVICTED}*"):  # by a process that was killed meanwhile
        shutil.rmtree(left, ignore_errors=True)
    sizes = {folder: _size(folder) for folder in _folders(root)}
    growth = max(0, need_bytes - sizes.get(root / keep, 0))
    held, gone = sum(sizes.values()) + growth, []
    for folder in sorted(sizes, key=_used):
        if held <= limit_bytes:
            break
        if folder.name != keep and _remove(folder):
            held -= sizes[folder]
            gone.append(folder.name)
    return gone


def _remove(folder: Path) -> bool:
    """Move a folder out of the way, then remove it: nobody ever enters half of one."""
    lock = FileLock(folder / IN_USE)
    if not lock.acquire():
        return False
    away = folder.with_name(_EVICTED + secrets.token_hex(8))
    try:
        if sys.platform == "win32":
            lock.release()
        folder.rename(away)
    except OSError:
        return False
    finally:
        lock.release()
    shutil.rmtree(away, ignore_errors=True)
    return True


def _folders(root: Path) -> list[Path]:
    """Folders of caches: by their name and their lock file, so that nothing else is ever touched."""
    try:
        return [f for f in root.iterdir() if _KEY.fullmatch(f.name) and (f / IN_USE).is_file()]
    except OSError:
        return []


def _size(folder: Path) -> int:
    total = 0
    with contextlib.suppress(OSError), os.scandir(folder) as found:
        for entry in found:
            total += entry.stat().st_size
    return total


def _used(folder: Path) -> float:
    try:
        return (folder / IN_USE).stat().st_mtime
    except OSError:
        return 0.0
