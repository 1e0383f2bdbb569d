"""A process that fills a cache on disk, to be killed, raced or starved: cache_worker.py ROOT KEY ROWS [what happens].

`die-at MOMENT`: SIGKILL itself at the second image, or before or after the second shard gets its name; `starve BYTES`:
no file may grow beyond; `hold`: say `ready` with images written and a shard open, then wait for a line; `slow`: take a
while over each image.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np

from anmok.data import cache_shard
from anmok.data.cache_file import FileCache


def pixels(row: int) -> np.ndarray:
    """What belongs to a row: about 3 kB, of a size of its own."""
    return np.random.default_rng(row).integers(0, 256, (20 + row % 7, 50, 3), np.uint8)


def keys(rows: int) -> np.ndarray:
    """uint64[rows, 2], some of which share their first half."""
    return np.array([[row // 3 + 1, row + 1] for row in range(rows)], np.uint64)


def die_at(name: str) -> None:
    """Replace what happens at that moment by the end of this process."""
    calls, last = iter(range(1, 100)), 3 if name == "fsync" else 2  # the first shard syncs its file and its folder

    def killed(*args: object, **options: object) -> object:
        if next(calls) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **options)

    if name == "write":
        original = cache_shard.ShardWriter.add
        cache_shard.ShardWriter.add = killed  # type: ignore[method-assign, assignment]
    elif name == "rename":
        original = Path.rename  # type: ignore[assignment]
        Path.rename = killed  # type: ignore[method-assign, assignment]
    elif name == "renamed":
        original = cache_shard.fsync_folder  # type: ignore[assignment]
        cache_shard.fsync_folder = killed  # type: ignore[assignment]
    else:
        original = os.fsync  # type: ignore[assignment]
        os.fsync = killed  # type: ignore[assignment]


def main() -> None:
    root, key, count, *what = sys.argv[1:]
    if what[:1] == ["die-at"]:
        die_at(what[1])
    if what[:1] == ["starve"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(what[1]), int(what[1])))
    with FileCache(Path(root), key, keys(int(count)), shard_bytes=20_000, warn=print) as cache:
        for row in range(int(count)):
            found = cache.get(row)
            if found is not None:
                np.testing.assert_array_equal(found, pixels(row))
            cache.put(row, pixels(row))
            if what == ["slow"]:
                time.sleep(0.005)
        if what == ["hold"]:
            print("ready", flush=True)
            sys.stdin.readline()
        cache.end_epoch()
        print("held", sum(cache.get(row) is not None for row in range(int(count))), flush=True)


if __name__ == "__main__":
    main()
