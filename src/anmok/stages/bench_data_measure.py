"""What is measured of a loader: passes over its batches, the threads' time for decoding, decoding alone, memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from anmok.augment.guests import Guest
from anmok.augment.params import Params
from anmok.augment.policy import Policy
from anmok.core.errors import ImageError
from anmok.core.types import Batch
from anmok.data.batches import Loader
from anmok.data.cache import NoCache, PixelCache
from anmok.data.pixels import Pixels

CHUNK = 8  # images a task of decoding alone


class Pass(NamedTuple):
    """Images that came, seconds, batches; whole: whether the pass got as far as it should."""

    images: int
    seconds: float
    batches: int
    whole: bool

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds


def one_pass(
    loader: Loader, epoch: int, until: float, feed: Callable[[Iterator[Batch]], Iterator[Batch]],
    settle: Callable[[], None], limit: int, seen: Callable[[int, float], None] = lambda images, seconds: None,
) -> Pass:  # fmt: skip
    """Read the first `limit` batches of an epoch, or until the clock (perf_counter) says `until`, but one at least.

    feed, settle: how batches get to the device, and waiting for it; seen(images, seconds so far) hears of each batch.
    """
    images = batches = 0
    began = time.perf_counter()
    with closing(loader.epoch(epoch)) as made:
        for batch in feed(made):
            images, batches = images + len(batch), batches + 1
            seen(len(batch), time.perf_counter() - began)
            if batches == limit or time.perf_counter() >= until:
                break
        settle()
        seconds = time.perf_counter() - began
    return Pass(images, seconds, batches, batches == limit)


class Clock:
    """Seconds that all threads together took for something."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock = threading.Lock()

    def add(self, seconds: float) -> None:
        """That much more, from any thread."""
        with self._lock:
            self.seconds += seconds


@contextmanager
def decoding_clock(cache: PixelCache) -> Iterator[Clock]:
    """Sums the threads' time from asking the cache in vain to handing it what it shall keep: reading, decoding, and
    making smaller. The cache is listened to, as every image passes there; an image that cannot be decoded is not in it.
    """
    clock, mine = Clock(), threading.local()
    get, put = cache.get, cache.put

    def asked(row: int) -> np.ndarray | None:
        image = get(row)
        mine.began = time.perf_counter()
        return image

    def given(row: int, image: np.ndarray) -> None:
        clock.add(time.perf_counter() - mine.began)
        put(row, image)

    cache.get, cache.put = asked, given  # type: ignore[method-assign]
    try:
        yield clock
    finally:
        del cache.get, cache.put  # the object's own again


def decode_alone(loader: Loader, policy: Policy | Guest | None, allow_truncated: bool, until: float, n: int) -> Pass:
    """The same reading and decoding of up to n images of the first epoch, on as many threads, and nothing else."""
    pixels = Pixels(loader.table, loader.preprocess, policy, NoCache(), loader.side, allow_truncated)
    order = loader.order(0)[:n]
    ids: list[str] = loader.table.rows["id"].to_list()

    def some(low: int) -> int:
        if low and time.perf_counter() >= until:  # the first ones are read in any case
            return 0
        rows = order[low : low + CHUNK].tolist()
        drawn = policy.draw([ids[r] for r in rows], 0, loader.seed) if isinstance(policy, Policy) else None
        programs = drawn.programs if isinstance(drawn, Params) else [None] * len(rows)
        good = 0
        for row, program in zip(rows, programs, strict=True):
            try:
                pixels.get(row, program)
            except ImageError:
                continue
            good += 1
        return good

    began = time.perf_counter()
    with ThreadPoolExecutor(loader.threads) as pool:
        images = sum(pool.map(some, range(0, len(order), CHUNK)))
    return Pass(images, time.perf_counter() - began, 0, images == len(order))


class Memory:
    """RAM of this process's own, mapped files left out: how much it grows, where the system says so."""

    def __init__(self) -> None:
        self.start = self.most = _own_bytes()

    def look(self) -> None:
        """Take notice of what is held now."""
        self.most = max(self.most, _own_bytes())

    @property
    def growth(self) -> int | None:
        """Bytes at most more than at the start; None where the system does not say."""
        return self.most - self.start if self.start else None


def _own_bytes() -> int:
    try:
        resident, shared = Path("/proc/self/statm").read_text().split()[1:3]
    except OSError:
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
