"""Batches: every image once, in an order that can be taken up anywhere, the same on any number of threads."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anmok.augment.config import AugmentConfig
from anmok.augment.named import build_policy
from anmok.augment.preprocess import Preprocess
from anmok.core.errors import DataError, UsageError
from anmok.data import Dataset, Loader, Table, loader, open_table
from anmok.data.batches import batch_bounds, epoch_order
from anmok.data.cache import RamCache


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for label in ("cat", "dog", "owl"):
        (folder / label).mkdir()
        for i in range(11):
            Image.fromarray(rng.integers(0, 256, (20 + i, 30, 3), np.uint8)).save(folder / label / f"{i}.png")
    return open_table(folder)


def make(table: Table, **options: object) -> Loader:
    return Loader(table, **{"preprocess": Preprocess(16), "batch_size": 8, "shuffle": True, "seed": 3, **options})  # type: ignore[arg-type]


def test_every_image_once_in_another_order_each_epoch(table: Table) -> None:
    batches = make(table)
    first, second = ([i for b in batches.epoch(e) for i in b.ids] for e in (0, 1))
    assert sorted(first) == sorted(second) == sorted(table.rows["id"])
    assert first != second
    assert [i for b in make(table).epoch(1) for i in b.ids] == second


def test_an_epoch_can_be_taken_up_at_any_batch(table: Table) -> None:
    policy = build_policy(AugmentConfig(policy="strong"))
    whole = list(make(table, policy=policy).epoch(2))
    for start in (1, 3, 4):
        rest = list(make(table, policy=policy).epoch(2, start))
        assert len(rest) == len(whole) - start
        for a, b in zip(whole[start:], rest, strict=True):
            assert a.ids == b.ids
            np.testing.assert_array_equal(a.images, b.images)
            np.testing.assert_array_equal(a.targets, b.targets)


@pytest.mark.parametrize("options", [{"threads": 4}, {"cache": RamCache(1 << 30)}, {"prefetch": 1}])
def test_threads_and_cache_change_nothing(table: Table, options: dict[str, object]) -> None:
    policy = build_policy(AugmentConfig(policy="medium"))
    plain, other = make(table, policy=policy, threads=1), make(table, policy=policy, **options)
    for epoch in (0, 1):
        for a, b in zip(plain.epoch(epoch), other.epoch(epoch), strict=True):
            np.testing.assert_array_equal(a.images, b.images)


def test_pixels_and_targets_are_those_of_the_rows(table: Table) -> None:
    from anmok.data.decode import decode

    place = {i: n for n, i in enumerate(table.rows["id"])}
    for batch in make(table).epoch():
        for image, target, identity in zip(batch.images, batch.targets, batch.ids, strict=True):
            row = place[identity]
            expected = Preprocess(16).apply(decode(table.storage.read(table.rows["image"][row])))
            np.testing.assert_array_equal(image, expected)
            assert table.classes[target] == table.rows["label"][row]


def test_ranks_share_a_global_batch(table: Table) -> None:
    whole = list(make(table).epoch())
    parts = [list(make(table, rank=r, world=2).epoch()) for r in (0, 1)]
    for batch, a, b in zip(whole, *parts, strict=True):
        assert batch.ids == a.ids + b.ids


def test_a_bad_image_is_left_out_and_never_replaced(table: Table, tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for i in range(4):
            Image.new("RGB", (9, 9), (i * 20, 0, 0)).save(tmp_path / label / f"{i}.png")
    (tmp_path / "a" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    said = []
    batches = make(open_table(tmp_path), batch_size=4, on_reject=said.append)
    for _ in range(2):
        ids = [i for b in batches for i in b.ids]
        assert len(ids) == len(set(ids)) == 7
    assert [r.id for r in said] == ["a/1.png"]
    assert batches.rejects["a/1.png"].kind in ("unreadable", "truncated")


@pytest.mark.parametrize(
    ("n", "size", "drop", "join", "expected"),
    [
        (10, 4, False, False, [(0, 4), (4, 8), (8, 10)]),
        (9, 4, False, True, [(0, 4), (4, 9)]),
        (9, 4, False, False, [(0, 4), (4, 8), (8, 9)]),
        (9, 4, True, True, [(0, 4), (4, 8)]),
        (1, 4, False, True, [(0, 1)]),
        (3, 4, True, False, []),
    ],
)
def test_bounds(n: int, size: int, drop: bool, join: bool, expected: list[tuple[int, int]]) -> None:
    assert batch_bounds(n, size, drop, join) == expected


def test_order_is_a_pure_function() -> None:
    np.testing.assert_array_equal(epoch_order(50, 1, 2), epoch_order(50, 1, 2))
    assert (epoch_order(50, 1, 2) != epoch_order(50, 2, 1)).any()
    assert sorted(epoch_order(50, 1, 2)) == list(range(50))


def test_a_loader_left_early_leaves_no_thread(table: Table) -> None:
    batches = make(table).epoch()
    next(batches)
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("anmok-data")]


def test_mixed_batches_have_soft_targets(table: Table) -> None:
    policy = build_policy(AugmentConfig(policy="none", mixup=1.0, mix=1.0))
    batch = next(iter(make(table, policy=policy)))
    assert batch.targets.shape == (8, 3)
    np.testing.assert_allclose(batch.targets.sum(1), 1, atol=1e-6)
    assert ((batch.targets > 0) & (batch.targets < 1)).any()


def test_the_public_loader_normalises(table: Table) -> None:
    torch = pytest.importorskip("torch")
    raw = next(iter(loader(table, batch_size=5, image_size=24, normalize=False)))
    images, targets, ids = next(iter(loader(table, batch_size=5, image_size=24)))
    assert raw.images.dtype == np.uint8
    assert raw.images.shape == (5, 24, 24, 3)
    assert images.shape == (5, 3, 24, 24)
    assert (images.dtype, targets.dtype, ids) == (torch.float32, torch.int64, raw.ids)
    pre = Preprocess(24)
    expected = (raw.images / 255 - np.array(pre.mean)) / np.array(pre.std)
    np.testing.assert_allclose(images.numpy(), expected.transpose(0, 3, 1, 2), atol=1e-5)


def test_bad_arguments(table: Table) -> None:
    with pytest.raises(UsageError, match="batch_size"):
        make(table, batch_size=0)
    with pytest.raises(DataError, match="no images"):
        make(table.take([]))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_loader_of_ones_own_sits_on_the_table(table: Table, workers: int) -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader

    data = Dataset(table, transform=to_float, target_transform=plus_ten)
    assert len(data) == 33
    batches = list(
        DataLoader(data, batch_size=33, num_workers=workers, multiprocessing_context="spawn" if workers else None)
    )  # type: ignore[arg-type]
    images, targets = batches[0]
    assert images.shape == (33, 8, 8)
    assert sorted(set(targets.tolist())) == [10, 11, 12]
    assert images.dtype == torch.float32


def to_float(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").resize((8, 8)), np.float32)


def plus_ten(target: int) -> int:
    return target + 10
