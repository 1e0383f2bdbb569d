"""Pixels in RAM and on a device: the bytes that were put there, never more than allowed, from many threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anmok.core.errors import MachineError, UsageError
from anmok.data import open_table
from anmok.data.cache import OVERHEAD, NoCache, PixelCache, RamCache
from anmok.data.cache_account import Choice
from anmok.data.cache_build import build_cache
from anmok.data.device_cache import DeviceCache


def image(row: int) -> np.ndarray:
    rng = np.random.default_rng(row)
    return rng.integers(0, 256, (8 + row % 5, 9, 1 + 2 * (row % 2)), np.uint8)


def in_threads(work: Callable[[int], None], count: int = 8) -> None:
    """Run work(0) … work(count − 1) at once; an error in one is an error here."""
    errors: list[BaseException] = []
    gate = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            gate.wait()
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.fixture(params=["ram", "device"])
def build(request: pytest.FixtureRequest) -> Callable[[int], PixelCache]:
    if request.param == "ram":
        return RamCache
    pytest.importorskip("torch")
    return lambda limit: DeviceCache(limit, "cpu")


def test_what_was_put_comes_back_and_cannot_be_changed(build: Callable[[int], PixelCache]) -> None:
    with build(1 << 20) as cache:
        for row in range(20):
            assert cache.get(row) is None
            given = image(row)
            cache.put(row, given)
            given[:] = 0
        for row in range(20):
            found = cache.get(row)
            assert found is not None
            np.testing.assert_array_equal(found, image(row))
            with pytest.raises(ValueError, match="read-only"):
                found[:] = 1
            assert found.base is None or not found.base.flags.writeable
        cache.put(3, image(4))
        np.testing.assert_array_equal(cache.get(3), image(3))
        cache.end_epoch()
    assert cache.get(3) is None
    assert cache.held_bytes == 0
    cache.put(3, image(3))
    assert cache.get(3) is None


def test_a_full_cache_keeps_what_it_has(build: Callable[[int], PixelCache]) -> None:
    size = image(1).nbytes
    cache = build(3 * (size + OVERHEAD))
    for row in (1, 11, 21, 31, 41, 51, 61, 71, 81, 91, 101, 111):
        cache.put(row, image(1))
        assert cache.held_bytes <= 3 * (size + OVERHEAD)
    assert cache.get(1) is not None
    assert cache.get(11) is not None
    assert cache.get(111) is None


def test_the_objects_count_too() -> None:
    """What 2,000 small arrays really take, by tracemalloc, stays within the limit."""
    import tracemalloc

    tiny = np.zeros((4, 4, 3), np.uint8)
    cache = RamCache(1 << 19)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for row in range(2000):
        cache.put(row, tiny)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert cache.get(1000) is not None
    assert taken <= cache.held_bytes <= 1 << 19


def test_a_view_does_not_keep_its_whole_alive() -> None:
    cache = RamCache(1 << 20)
    whole = np.zeros((1000, 1000, 3), np.uint8)
    cache.put(0, whole[10:20, 10:20])
    kept = cache.get(0)
    assert kept is not None
    assert kept.base is None
    assert kept.flags.c_contiguous


def test_eight_threads(build: Callable[[int], PixelCache]) -> None:
    limit = 40 * (13 * 9 * 3 + OVERHEAD)
    cache = build(limit)

    def work(number: int) -> None:
        for row in np.random.default_rng(number).permutation(80).tolist():
            found = cache.get(row)
            if found is None:
                cache.put(row, image(row))
            else:
                np.testing.assert_array_equal(found, image(row))
            assert cache.held_bytes <= limit

    in_threads(work)
    held = [row for row in range(80) if cache.get(row) is not None]
    assert 40 <= len(held) < 80 or cache.kind == "device"
    for row in held:
        np.testing.assert_array_equal(cache.get(row), image(row))


def test_keeping_beats_forgetting_the_oldest() -> None:
    """Room for half the rows answers half of the reads; LRU 1 − ½ + ½ ln ½ = 15 %, as the module says."""
    from collections import OrderedDict

    n, rng = 2000, np.random.default_rng(0)
    one = np.zeros((1, 1, 1), np.uint8)
    cache = RamCache(n // 2 * (1 + OVERHEAD))
    lru: OrderedDict[int, None] = OrderedDict()
    hits = {"kept": 0, "lru": 0}
    for epoch in range(6):
        for row in rng.permutation(n).tolist():
            if epoch:
                hits["kept"] += cache.get(row) is not None
                hits["lru"] += row in lru
            cache.put(row, one)
            lru[row] = None
            lru.move_to_end(row)
            if len(lru) > n // 2:
                lru.popitem(last=False)
    assert hits["kept"] == 5 * n // 2
    assert hits["lru"] / (5 * n) == pytest.approx(0.5 + 0.5 * np.log(0.5), abs=0.02)


def test_a_batch_on_the_device() -> None:
    torch = pytest.importorskip("torch")
    cache = DeviceCache(10_000, "cpu")
    for row in (5, 2, 9):
        cache.put(row, image(row))
    np.testing.assert_array_equal(cache.holds(np.array([2, 3, 9])), [True, False, True])
    flat, offsets, sizes = cache.rows(np.array([9, 5]))
    assert (flat.dtype, flat.device.type, offsets.dtype, sizes.dtype) == (torch.uint8, "cpu", np.int64, np.int64)
    for row, start, (height, width) in zip((9, 5), offsets, sizes, strict=True):
        depth = image(row).shape[2]
        found = flat[start : start + height * width * depth].reshape(height, width, depth)
        np.testing.assert_array_equal(found.numpy(), image(row))
    with pytest.raises(UsageError, match="row 3"):
        cache.rows(np.array([2, 3]))
    empty = cache.rows(np.array([], np.int64))
    assert empty[2].shape == (0, 2)


def test_a_device_without_the_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")

    def refuse(*args: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "empty", refuse)
    with pytest.raises(MachineError, match="ram or disk") as found:
        DeviceCache(10**12, "cuda")
    assert found.value.code == "memory"


def test_on_a_gpu() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    cache = DeviceCache(10_000, "cuda")
    for row in range(6):
        cache.put(row, image(row))
    for row in range(6):
        np.testing.assert_array_equal(cache.get(row), image(row))


def test_none_holds_nothing() -> None:
    with NoCache() as cache:
        cache.put(0, image(0))
        assert cache.get(0) is None
        assert (cache.kind, cache.held_bytes) == ("none", 0)
        cache.end_epoch()


def test_pixels_of_a_changed_image_are_made_anew(folder: Callable[..., Path], tmp_path: Path) -> None:
    """Four runs over a hashed table: fresh, cached, with one file changed in place, cached again."""
    from anmok.data.decode import decode

    table = open_table(folder("cat/1.png", "cat/2.png", "dog/1.png")).hashed()
    references = table.rows["image"].to_list()
    decoded = []
    for run in range(4):
        fresh = 0
        if run == 2:
            (table.root / references[1]).write_bytes((table.root / references[2]).read_bytes())
        with build_cache(Choice("disk", 1 << 20, ""), table, {"side": 8}, root=tmp_path / "cache") as cache:
            for epoch in range(2):
                for row, reference in enumerate(references):
                    truth = decode(table.storage.read(reference))
                    found = cache.get(row)
                    fresh += found is None
                    assert found is not None or not epoch
                    if found is None:
                        cache.put(row, truth)
                    else:
                        np.testing.assert_array_equal(found, truth)
                cache.end_epoch()
        decoded.append(fresh)
    assert decoded == [3, 0, 1, 0]


def test_a_choice_becomes_a_cache(folder: Callable[..., Path], tmp_path: Path) -> None:
    table = open_table(folder("cat/1.png", "dog/1.png"))
    said: list[str] = []
    for kind in ("none", "ram", "disk", "device"):
        choice = Choice(kind, 1 << 20, "")  # type: ignore[arg-type]
        with build_cache(choice, table, {"side": 8}, device="cpu", root=tmp_path / "cache", warn=said.append) as cache:
            assert cache.kind == kind
            cache.put(1, image(1))
            cache.end_epoch()
            assert kind == "none" or np.array_equal(cache.get(1), image(1))  # type: ignore[arg-type]
    blocked = tmp_path / "file"
    blocked.write_text("no folder can be made here")
    assert not said
    choice = Choice("disk", 1 << 20, "")
    assert build_cache(choice, table, {}, root=blocked, warn=said.append).kind == "none"
    assert len(said) == 1
    assert "not kept on disk" in said[0]
