"""Where caches lie: names that tell settings apart, locks that die with their process, a bound on them all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from anmok.data import cache_folder
from anmok.data.cache_file import FileCache
from anmok.data.cache_folder import (
    IN_USE,
    FileLock,
    cache_key,
    cache_root,
    default_limit,
    enter,
    evict,
    free_disk_bytes,
)  # fmt: skip

A, B, C = "a" * 32, "b" * 32, "c" * 32
HOLD = """
import sys
from pathlib import Path
from anmok.data.cache_folder import FileLock
lock = FileLock(Path(sys.argv[1]))
print(lock.acquire(shared=sys.argv[2] == "shared"), flush=True)
sys.stdin.readline()
"""


def hold(path: Path, how: str) -> subprocess.Popen[str]:
    """Another process that has asked for a lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


def make(root: Path, key: str, size: int, used: float) -> None:
    folder, lock = enter(root, key)
    lock.release()
    (folder / "x.shard").write_bytes(bytes(size))
    os.utime(folder / IN_USE, (used, used))


def test_the_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANMOK_CACHE", str(tmp_path / "own"))
    assert cache_root() == tmp_path / "own"
    monkeypatch.delenv("ANMOK_CACHE")
    if sys.platform.startswith("linux"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache_root() == tmp_path / "anmok" / "pixels"
        for nothing in ("", "relative/path"):
            monkeypatch.setenv("XDG_CACHE_HOME", nothing)
            assert cache_root() == Path.home() / ".cache" / "anmok" / "pixels"


def test_a_key_for_each_way_of_making_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"side": 256, "channels": "rgb", "background": [255, 255, 255], "allow_truncated": False}
    key = cache_key(settings, tmp_path)
    assert key == cache_key(dict(reversed(settings.items())), tmp_path)
    assert len(key) == 32
    assert int(key, 16)
    others = {cache_key(settings | change, tmp_path) for change in (
        {"side": 224}, {"channels": "gray"}, {"background": [0, 0, 0]}, {"allow_truncated": True}, {"more": 1}
    )}  # fmt: skip
    others.add(cache_key(settings, tmp_path / "other"))
    monkeypatch.setattr(cache_folder, "versions", lambda names: {"pillow": "0.1"})
    others.add(cache_key(settings, tmp_path))
    monkeypatch.undo()
    monkeypatch.setattr(cache_folder, "VERSION", 99)
    others.add(cache_key(settings, tmp_path))
    assert len(others - {key}) == 8
    with pytest.raises(TypeError):
        cache_key({"preprocess": object()}, tmp_path)


def test_a_lock_is_one_process_at_a_time_and_dies_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    other = hold(path, "alone")
    lock = FileLock(path)
    assert not lock.acquire()
    assert not lock.acquire(shared=True)
    other.kill()
    other.communicate()
    assert lock.acquire()
    assert lock.held
    assert not FileLock(path).acquire()
    lock.release()
    assert FileLock(path).acquire(shared=True)


def test_a_shared_lock_is_for_many(tmp_path: Path) -> None:
    other = hold(tmp_path / "lock", "shared")
    lock = FileLock(tmp_path / "lock")
    assert lock.acquire(shared=True)
    assert not FileLock(tmp_path / "lock").acquire()
    other.communicate("\n")
    assert not FileLock(tmp_path / "missing" / "lock").acquire()


def test_a_lock_on_a_file_that_was_taken_away_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An eviction between opening and locking: what has been locked is no longer what is called so."""
    path = tmp_path / "lock"
    original, calls = cache_folder._lock, []

    def late(file: int, shared: bool) -> None:
        if not calls:
            path.unlink()
        calls.append(file)
        original(file, shared)

    monkeypatch.setattr(cache_folder, "_lock", late)
    lock = FileLock(path)
    assert lock.acquire()
    assert len(calls) == 2
    monkeypatch.undo()
    assert not FileLock(path).acquire()


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    for key, used in ((B, 100), (A, 300), (C, 200)):
        make(tmp_path, key, 1000, used)
    assert evict(tmp_path, 3000) == []
    assert evict(tmp_path, 2500) == [B]
    assert evict(tmp_path, 2500, need_bytes=1000) == [C]
    assert not (tmp_path / C).exists()
    assert evict(tmp_path, 0, keep=A) == []
    assert evict(tmp_path, 0) == [A]
    assert list(tmp_path.iterdir()) == []


def test_room_is_made_for_what_is_to_come(tmp_path: Path) -> None:
    make(tmp_path, A, 1000, 100)
    make(tmp_path, B, 400, 200)
    assert evict(tmp_path, 2000, keep=B, need_bytes=900) == []
    assert evict(tmp_path, 2000, keep=B, need_bytes=1100) == [A]


def test_nothing_in_use_and_nothing_of_others_is_removed(tmp_path: Path) -> None:
    make(tmp_path, A, 1000, 100)
    other = hold(tmp_path / A / IN_USE, "shared")
    cache = FileCache(tmp_path, B, np.ones((1, 2), np.uint64))
    cache.put(0, np.zeros((4, 4, 3), np.uint8))
    cache.end_epoch()
    (tmp_path / C).mkdir()
    (tmp_path / C / "photo.png").write_bytes(b"not a cache")
    (tmp_path / "thesis").mkdir()
    assert evict(tmp_path, 0) == []
    assert cache.folder.is_dir()
    other.kill()
    other.communicate()
    assert evict(tmp_path, 0) == [A]
    cache.close()
    assert evict(tmp_path, 0) == [B]
    assert sorted(p.name for p in tmp_path.iterdir()) == [C, "thesis"]
    assert evict(tmp_path / "missing", 0) == []


def test_what_a_killed_eviction_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".evicted-0").mkdir()
    (tmp_path / ".evicted-0" / "x.shard").write_bytes(b"0")
    evict(tmp_path, 1 << 40)
    assert list(tmp_path.iterdir()) == []


def test_the_default_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, A, 1000, 100)
    monkeypatch.setattr(cache_folder, "free_disk_bytes", lambda root: 9000)
    assert default_limit(tmp_path) == 5000
    monkeypatch.setattr(cache_folder, "free_disk_bytes", lambda root: 1 << 50)
    assert default_limit(tmp_path) == 50 << 30


def test_free_disk_of_a_folder_to_come(tmp_path: Path) -> None:
    import shutil

    found = free_disk_bytes(tmp_path / "a" / "b")
    assert found == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)
    assert not (tmp_path / "a").exists()
    if os.geteuid():
        tmp_path.chmod(0o500)
        assert free_disk_bytes(tmp_path / "a") == 0
        tmp_path.chmod(0o700)
