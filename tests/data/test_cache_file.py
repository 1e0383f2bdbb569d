"""Pixels on disk: the bytes that were put there or nothing, whatever happens to processes, files and disks."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cache_worker import keys, pixels

from anmok.data.cache_file import FileCache
from anmok.data.cache_shard import ENTRY, FOOTER, VERSION, ShardWriter

KEY = "0123456789abcdef0123456789abcdef"
ROWS = 40
WORKER = Path(__file__).with_name("cache_worker.py")
Said = list[str]


def fill(root: Path, said: Said, rows: int = ROWS, **options: Any) -> FileCache:
    """A cache that has been through an epoch of `rows` rows."""
    cache = FileCache(root, KEY, keys(rows), warn=said.append, **{"shard_bytes": 20_000, **options})
    for row in range(rows):
        if cache.get(row) is None:
            cache.put(row, pixels(row))
    cache.end_epoch()
    return cache


def look(root: Path, said: Said, rows: int = ROWS) -> FileCache:
    return FileCache(root, KEY, keys(rows), warn=said.append)


def held(cache: FileCache, rows: int = ROWS) -> list[int]:
    """The rows that the cache answers, each compared with what belongs to it."""
    found = []
    for row in range(rows):
        image = cache.get(row)
        if image is not None:
            np.testing.assert_array_equal(image, pixels(row))
            found.append(row)
    return found


def shards(root: Path) -> list[Path]:
    return sorted((root / KEY).glob("*.shard"))


def start(root: Path, *what: str, rows: int = ROWS) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), str(root), KEY, str(rows), *what]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture
def said() -> Said:
    return []


def test_cached_equals_fresh_now_and_in_the_next_run(tmp_path: Path, said: Said) -> None:
    with fill(tmp_path, said) as cache:
        assert held(cache) == list(range(ROWS))
        image = cache.get(3)
        assert image is not None
        with pytest.raises(ValueError, match="read-only"):
            image[:] = 0
        assert cache.held_bytes == sum(p.stat().st_size for p in shards(tmp_path))
    assert cache.get(3) is None
    assert len(shards(tmp_path)) > 3
    with look(tmp_path, said) as again:
        assert held(again) == list(range(ROWS))
        assert again.kind == "disk"
        before = shards(tmp_path)
        for row in range(ROWS):
            again.put(row, pixels(row))
        again.end_epoch()
        assert shards(tmp_path) == before
    assert not said


def test_a_shard_is_seen_only_when_complete(tmp_path: Path, said: Said) -> None:
    cache = FileCache(tmp_path, KEY, keys(ROWS), warn=said.append)
    cache.put(0, pixels(0))
    assert cache.get(0) is None
    assert not shards(tmp_path)
    assert held(look(tmp_path, said)) == []
    cache.put(0, pixels(1))  # once is enough
    cache.end_epoch()
    assert held(cache) == [0]
    assert len(shards(tmp_path)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["write", "fsync", "rename", "renamed"])
def test_killed_at_a_moment(moment: str, tmp_path: Path, said: Said) -> None:
    """SIGKILL at the second image, or at the second shard before and after it gets its name."""
    worker = start(tmp_path, "die-at", moment)
    output, _ = worker.communicate(timeout=120)
    assert worker.returncode == -signal.SIGKILL, output
    left = list((tmp_path / KEY).glob(".*.tmp"))
    assert len(left) == (0 if moment == "renamed" else 1)
    with look(tmp_path, said) as cache:
        rows = held(cache)
        expected = {"write": 0, "fsync": 1, "rename": 1, "renamed": 2}[moment]
        assert len(shards(tmp_path)) == expected
        assert bool(rows) == bool(expected)
        for row in range(ROWS):
            cache.put(row, pixels(row))
        cache.end_epoch()
        assert held(cache) == list(range(ROWS))
    assert not list((tmp_path / KEY).glob(".*.tmp"))
    assert not said


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path: Path, said: Said) -> None:
    for _ in range(3):
        worker = start(tmp_path, "slow", rows=400)
        deadline = time.monotonic() + 60
        before = len(shards(tmp_path))
        while len(shards(tmp_path)) <= before and time.monotonic() < deadline:
            time.sleep(0.003)
        worker.kill()
        worker.communicate()
        with look(tmp_path, said, 400) as cache:
            assert held(cache, 400)
    with fill(tmp_path, said, 400) as cache:
        assert len(held(cache, 400)) == 400
    assert not said


@pytest.mark.slow
def test_two_processes_at_once(tmp_path: Path, said: Said) -> None:
    workers = [start(tmp_path, "slow") for _ in range(2)]
    for worker in workers:
        output, _ = worker.communicate(timeout=120)
        assert worker.returncode == 0, output
        assert "held" in output
        assert "dropped" not in output
    with fill(tmp_path, said) as cache:
        assert len(held(cache)) == ROWS
    stored = sum(_count(p) for p in shards(tmp_path))
    assert stored == ROWS  # nobody wrote what another had written
    assert not said


def _count(path: Path) -> int:
    return int(FOOTER.unpack(path.read_bytes()[-FOOTER.size :])[2])


@pytest.mark.slow
def test_another_reads_while_one_writes_and_writes_after(tmp_path: Path, said: Said) -> None:
    worker = start(tmp_path, "hold", rows=20)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    with look(tmp_path, said) as cache:
        complete = held(cache)
        assert 0 < len(complete) < 20
        temporary = list((tmp_path / KEY).glob(".*.tmp"))
        for row in range(ROWS):
            cache.put(row, pixels(row))
        cache.end_epoch()
        assert held(cache) == complete
        assert list((tmp_path / KEY).glob(".*.tmp")) == temporary  # that of a living writer
        assert worker.communicate("go on\n", timeout=60)[0] == "held 20\n"
        cache.end_epoch()
        assert held(cache) == list(range(20))
        for row in range(ROWS):
            cache.put(row, pixels(row))
        cache.end_epoch()
        assert held(cache) == list(range(ROWS))
    assert not said


def test_every_cut_is_found(tmp_path: Path, said: Said) -> None:
    fill(tmp_path, said, 3).close()
    (path,) = shards(tmp_path)
    whole = path.read_bytes()
    for size in {0, 1, FOOTER.size - 1, FOOTER.size, len(whole) // 2, *range(len(whole) - 90, len(whole))}:
        path.write_bytes(whole[:size])
        said.clear()
        with look(tmp_path, said, 3) as cache:
            assert held(cache, 3) == []
        assert len(said) == 1
        assert "dropped" in said[0]
        assert not path.exists()
    path.write_bytes(whole + b"\0")
    assert held(look(tmp_path, said, 3), 3) == []


def test_every_flipped_byte_is_found(tmp_path: Path, said: Said) -> None:
    """No byte of a shard can change without a word: every 97th of the pixels, and all of index and footer."""
    fill(tmp_path, said, 3).close()
    (path,) = shards(tmp_path)
    whole = path.read_bytes()
    index = len(whole) - FOOTER.size - 3 * ENTRY.itemsize
    for at in [*range(0, index, 97), *range(index, len(whole))]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        said.clear()
        with look(tmp_path, said, 3) as cache:
            held(cache, 3)  # compares what it gets
            assert len(said) == 1, at
            assert not path.exists()
            for row in range(3):
                if cache.get(row) is None:
                    cache.put(row, pixels(row))
            cache.end_epoch()
            assert held(cache, 3) == [0, 1, 2]
        for rebuilt in shards(tmp_path):
            rebuilt.unlink()


def test_a_flipped_pixel_drops_its_shard_alone(tmp_path: Path, said: Said) -> None:
    fill(tmp_path, said).close()
    first = shards(tmp_path)[0]
    count = _count(first)
    data = bytearray(first.read_bytes())
    data[100] ^= 1
    first.write_bytes(data)
    with look(tmp_path, said) as cache:
        held(cache)
        assert len(held(cache)) == ROWS - count
        assert len(said) == 1
        assert str(first) in said[0]
        assert "pixels are damaged" in said[0]


def test_another_version_or_cache_is_not_used(tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anmok.data.cache_shard.VERSION", VERSION + 1)
    fill(tmp_path, said, 3).close()
    monkeypatch.undo()
    with look(tmp_path, said, 3) as cache:
        assert held(cache, 3) == []
    assert f"version {VERSION + 1}, not {VERSION}" in said.pop()
    fill(tmp_path / "other", said, 3).close()
    (path,) = shards(tmp_path / "other")
    moved = tmp_path / "other" / KEY[::-1]
    moved.mkdir()
    path.rename(moved / path.name)
    with FileCache(tmp_path / "other", KEY[::-1], keys(3), warn=said.append) as cache:
        assert cache.get(0) is None
    assert "another cache" in said.pop()
    assert not said


def test_other_keys_are_other_images(tmp_path: Path, said: Said) -> None:
    """A row whose image changed has another key; the first half of a key alone does not do."""
    fill(tmp_path, said).close()
    changed = keys(ROWS)
    changed[5, 1] += 10_000
    changed[7] = 0  # a file that is missing
    with FileCache(tmp_path, KEY, changed, warn=said.append) as cache:
        assert cache.get(5) is None
        assert cache.get(7) is None
        cache.put(5, pixels(99))
        cache.put(7, pixels(99))
        cache.end_epoch()
        np.testing.assert_array_equal(cache.get(5), pixels(99))
        assert cache.get(7) is None
        np.testing.assert_array_equal(cache.get(6), pixels(6))


def test_rows_in_another_order_or_twice(tmp_path: Path, said: Said) -> None:
    fill(tmp_path, said).close()
    rows = np.random.default_rng(0).integers(0, ROWS, 100)
    with FileCache(tmp_path, KEY, keys(ROWS)[rows], warn=said.append) as cache:
        for number, row in enumerate(rows.tolist()):
            np.testing.assert_array_equal(cache.get(number), pixels(row))


@pytest.mark.parametrize("method", ["add", "commit"])
def test_a_full_disk_ends_the_writing_only(
    method: str, tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = getattr(ShardWriter, method), iter(range(1000))
    last = 15 if method == "add" else 2

    def full(self: ShardWriter, *args: Any) -> Any:
        if next(calls) >= last:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(self, *args)

    monkeypatch.setattr(ShardWriter, method, full)
    with fill(tmp_path, said) as cache:
        kept = held(cache)
        assert 0 < len(kept) < ROWS
        for row in range(ROWS):
            cache.put(row, pixels(row))
        cache.end_epoch()
        assert held(cache) == kept
    assert len(said) == 1
    assert "no space left on device" in said[0]
    assert f"{len(kept)} of {ROWS} images are kept, training goes on" in said[0]
    assert not list((tmp_path / KEY).glob(".*.tmp"))
    monkeypatch.undo()
    said.clear()
    with fill(tmp_path, said) as cache:  # with room again
        assert len(held(cache)) == ROWS


@pytest.mark.slow
def test_a_file_that_the_system_lets_not_grow(tmp_path: Path, said: Said) -> None:
    """A write that fails for real (the process may write files of 10,000 bytes, a shard has 20,000)."""
    worker = start(tmp_path, "starve", "10000")
    output, _ = worker.communicate(timeout=120)
    assert worker.returncode == 0, output
    assert "does not grow any more (file too large)" in output
    assert output.endswith("held 0\n")
    assert not list((tmp_path / KEY).glob("*.[st]*"))
    assert held(look(tmp_path, said)) == []


def test_some_of_the_disk_stays_free(tmp_path: Path, said: Said) -> None:
    with fill(tmp_path, said, reserve_bytes=1 << 60) as cache:
        assert held(cache) == []
    assert len(said) == 1
    assert "left to others" in said[0]


def test_never_more_than_the_limit(tmp_path: Path, said: Said) -> None:
    limit = 50_000
    with FileCache(tmp_path, KEY, keys(ROWS), limit_bytes=limit, shard_bytes=20_000, warn=said.append) as cache:
        for row in range(ROWS):
            cache.put(row, pixels(row))
            assert cache.held_bytes <= limit
        cache.end_epoch()
        kept = held(cache)
        assert 10 < len(kept) < ROWS
        assert sum(p.stat().st_size for p in shards(tmp_path)) == cache.held_bytes <= limit
        cache.end_epoch()
        assert held(cache) == kept


def test_images_that_are_gone_make_room(tmp_path: Path, said: Said) -> None:
    """All images were replaced: the old ones stay as long as there is room, and give way then."""
    limit = fill(tmp_path, said).held_bytes + 2000
    old = shards(tmp_path)
    new = keys(ROWS)
    new[:, 0] += 1000
    with FileCache(tmp_path, KEY, new, limit_bytes=limit, shard_bytes=20_000, warn=said.append) as cache:
        for row in range(ROWS):
            cache.put(row, pixels(row))
            assert cache.held_bytes <= limit
        cache.end_epoch()
        assert len(held(cache)) == ROWS
    assert not set(old) & set(shards(tmp_path))


def test_shards_grow_with_what_is_held(tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large cache has no more files open than a process may have."""
    monkeypatch.setattr("anmok.data.cache_file.SHARDS", 4)
    with fill(tmp_path, said, 400, shard_bytes=1) as cache:
        assert len(held(cache, 400)) == 400
        sizes = [p.stat().st_size for p in shards(tmp_path)]
        assert len(sizes) < 40
        assert max(sizes) > 20 * min(sizes)


def test_eight_threads(tmp_path: Path, said: Said) -> None:
    cache = FileCache(tmp_path, KEY, keys(300), shard_bytes=20_000, warn=said.append)
    errors: list[BaseException] = []
    gate = threading.Barrier(8)

    def work(number: int) -> None:
        try:
            gate.wait()
            for row in np.random.default_rng(number).permutation(300).tolist():
                image = cache.get(row)
                if image is None:
                    cache.put(row, pixels(row))
                else:
                    np.testing.assert_array_equal(image, pixels(row))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    cache.end_epoch()
    assert len(held(cache, 300)) == 300
    assert sum(map(_count, shards(tmp_path))) == 300
    assert not said
