"""Epochs of anmok's loader over a folder of classes, in a process of its own; prints one JSON object.

    own_loader.py speed  FOLDER POLICY SIZE BATCH THREADS EPOCHS     first epoch, epochs from the cache, decoding alone
    own_loader.py memory FOLDER POLICY SIZE BATCH THREADS EPOCHS     growth of the memory, beside cache and batches

POLICY: `randaugment`, or `flip-crop` with the peers' range of crops. `speed`: a first epoch, decoding and filling the
cache in RAM, and EPOCHS more; every batch comes as float32[B, 3, SIZE, SIZE], normalised, in channels-last memory
(`contiguous`: copied to the other).
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from peer_policies import SCALE

from anmok.augment.config import AugmentConfig
from anmok.data import loader, open_table
from anmok.data.batches import Loader
from anmok.data.decode import decode
from anmok.data.table import Table


def build(table: Table, policy: str, size: int, batch: int, threads: int, cache: str, normalize: bool = True) -> Any:
    """The loader of the design's own words."""
    augment = AugmentConfig(policy=policy, scale=SCALE)
    return loader(
        table, batch_size=batch, image_size=size, augment=augment, cache=cache, threads=threads, shuffle=True,
        normalize=normalize,
    )  # fmt: skip


def epoch(batches: Any, size: int, contiguous: bool = False) -> dict[str, float]:
    """Images and seconds of one pass."""
    began, images = time.perf_counter(), 0
    for batch in batches:
        pixels = batch.images.contiguous() if contiguous else batch.images
        assert tuple(pixels.shape[1:]) == (3, size, size), pixels.shape
        images += len(pixels)
    return {"images": images, "seconds": time.perf_counter() - began}


def decoding(table: Table, threads: int, least: int | None) -> dict[str, float]:
    """Reading and decoding alone, on as many threads, of JPEGs as small as the kept pictures' side `least` allows."""
    references, work = table.rows["image"].to_list(), partial(decode, min_side=least)

    def some(low: int) -> None:
        for reference in references[low : low + 16]:
            work(table.storage.read(reference))

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(some, range(0, len(references), 16)))
    return {"images": len(references), "seconds": time.perf_counter() - began}


def speed(table: Table, policy: str, size: int, batch: int, threads: int, epochs: int) -> dict[str, Any]:
    """A first epoch, epochs from the cache in both memory orders, epochs without a cache, decoding alone."""
    few = table.take(list(range(0, len(table), max(1, len(table) // batch))))
    warm = build(few, policy, size, batch, threads, "ram")
    epoch(warm, size)  # compiled kernels are loaded, threads have run
    mine = build(table, policy, size, batch, threads, "ram")
    out = {"first": [epoch(mine, size)], "cached": [epoch(mine, size) for _ in range(epochs)]}
    out["contiguous"] = [epoch(mine, size, contiguous=True)]
    mine.loader.close()
    out["none"] = [epoch(build(table, policy, size, batch, threads, "none"), size)]
    return out | {"decoding": [decoding(table, threads, mine.loader.side)]}


def memory(table: Table, policy: str, size: int, batch: int, threads: int, epochs: int) -> dict[str, Any]:
    """Bytes by which the process grows at most while uint8 batches are read, beside what cache and batches hold."""
    few = table.take(list(range(0, len(table), max(1, len(table) // 16))))
    for pixels in build(few, policy, size, batch, threads, "ram", normalize=False):
        del pixels  # libraries are loaded, threads have run: what comes on top is the loader's
    mine: Loader = build(table, policy, size, batch, threads, "ram", normalize=False)
    before = resident()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    for _ in range(1 + epochs):
        for pixels in mine:
            del pixels
    return {"growth": peak() - before, "cache": mine.cache.held_bytes, "batch": batch * size * size * 3}


def resident() -> int:
    """Bytes of this process in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak() -> int:
    """The most that was, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    kind, folder, policy = sys.argv[1:4]
    found = {"speed": speed, "memory": memory}[kind](open_table(folder), policy, *map(int, sys.argv[4:]))
    print(json.dumps(found))
