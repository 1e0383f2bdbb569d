"""`anmok.data.loader`: caches of every kind give the same pictures; balance; a device's share of the work."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from anmok.augment import compose, crop, flip, rotate
from anmok.augment.host import augment_into
from anmok.augment.mix import mix_batch
from anmok.augment.params import crop_box, smallest_side
from anmok.augment.policy import ranges
from anmok.augment.preprocess import Preprocess
from anmok.data import Loader, Table, loader, open_table
from anmok.data.cache import RamCache
from anmok.data.normalize import Spare, normalized
from anmok.data.pixels import shortened

PHOTO = load_sample_image("china.jpg")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Nine cuts of a photo as JPEG, seven of one class, two of another."""
    folder = tmp_path_factory.mktemp("loading")
    for i in range(9):
        path = folder / ("many" if i < 7 else "few") / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(PHOTO[10 * i : 10 * i + 160, 30 * i : 30 * i + 240]).save(path, quality=92)
    return open_table(folder)


def images(batches: Any) -> np.ndarray:
    return np.concatenate([batch.images for batch in batches])


@pytest.mark.parametrize("kind", ["ram", "disk"])
@pytest.mark.parametrize("augment", ["randaugment", "light", None])
def test_what_is_kept_is_what_was_decoded(
    table: Table, kind: str, augment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANMOK_CACHE", str(tmp_path))
    kept = loader(table, augment=augment, image_size=32, batch_size=4, cache=kind, normalize=False)
    assert kept.cache.kind == kind
    policy = kept.policy
    fresh = Loader(table, preprocess=Preprocess(32), batch_size=4, policy=policy, cache_side=kept.side)
    for epoch in range(3):
        np.testing.assert_array_equal(images(kept.epoch(epoch)), images(fresh.epoch(epoch)))
    assert kept.cache.held_bytes > 0
    kept.close()
    if kind == "disk":
        again = loader(table, augment=augment, image_size=32, batch_size=4, cache=kind, normalize=False)
        assert again.cache.get(0) is not None
        np.testing.assert_array_equal(images(again.epoch(1)), images(fresh.epoch(1)))
        again.close()


def test_a_cache_on_the_device_gives_the_hosts_pictures(table: Table) -> None:
    torch = pytest.importorskip("torch")
    from anmok.data.device_cache import DeviceCache

    policy = ranges(hflip=0.5, scale=(0.5, 1), ratio=(0.75, 1.33), rotate=15, brightness=0.3, erase=0.5)
    pre = Preprocess(32, background=(10, 200, 30))
    host = Loader(table, preprocess=pre, batch_size=4, policy=policy, cache_side=48)
    some = DeviceCache(4 * 48 * 72 * 3, "cpu")  # room for four of nine: the others come from the host
    device = Loader(table, preprocess=pre, batch_size=4, policy=policy, cache_side=48, cache=some)
    for epoch in range(2):
        for a, b in zip(host.epoch(epoch), device.epoch(epoch), strict=True):
            assert a.ids == b.ids
            assert isinstance(b.images, torch.Tensor)
            assert np.abs(a.images.astype(int) - b.images.numpy()).reshape(len(a), -1).mean(1).max() <= 1.0
    assert some.holds(np.arange(9)).sum() == 4
    plain = Loader(table, preprocess=pre, batch_size=4, cache=DeviceCache(1 << 20, "cpu"))
    for _ in range(2):
        np.testing.assert_array_equal(
            np.concatenate([b.images.numpy() for b in plain]), images(Loader(table, preprocess=pre, batch_size=9))
        )


def test_mixing_a_tensor_is_mixing_an_array() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    batch, targets = rng.integers(0, 256, (6, 16, 16, 3), np.uint8), np.eye(6, dtype=np.float32)
    for policy in (ranges(mixup=1.0), ranges(cutmix=1.0)):
        array, tensor = batch.copy(), torch.from_numpy(batch.copy())
        soft = mix_batch(array, targets, policy, (0, 0, 3))
        np.testing.assert_array_equal(mix_batch(tensor, targets, policy, (0, 0, 3)), soft)
        assert np.abs(array.astype(int) - tensor.numpy()).max() <= 1
        assert (array != batch).any()


@pytest.mark.parametrize(("how", "share"), [("balanced", 1 / 2), ("sqrt", 2**0.5 / (2**0.5 + 7**0.5)), ("none", 2 / 9)])
def test_balance_draws_the_rare_class_more_often(table: Table, how: str, share: float) -> None:
    batches = loader(table, image_size=8, batch_size=3, shuffle=True, balance=how, normalize=False, seed=5)
    few = table.classes.index("few")
    drawn = [int(t) for epoch in range(40) for b in batches.epoch(epoch) for t in b.targets]
    assert len(drawn) == 360
    assert np.mean(np.array(drawn) == few) == pytest.approx(share, abs=0.02)
    assert [b.ids for b in batches.epoch(3)] == [b.ids for b in batches.epoch(3)]


def test_a_crop_decides_how_far_a_jpeg_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a" / "large.jpg"
    path.parent.mkdir()
    Image.fromarray(np.kron(PHOTO[:400, :600], np.ones((3, 3, 1), np.uint8))).save(path, quality=95)
    table = open_table(tmp_path)
    for area, side in ((1.0, 300), (0.3, 600), (0.05, 1200)):  # of 1200 × 1800: a quarter, a half, all of it
        policy = ranges(scale=(area, area), ratio=(1, 1))
        batches = Loader(table, preprocess=Preprocess(224), batch_size=1, policy=policy)
        program = policy.draw(["a/large.jpg"], 0, 0).programs[0]
        image = batches._pixels.get(0, program)
        assert min(image.shape[:2]) == side
        *_, width, height = crop_box(program[0][1], image.shape[1], image.shape[0])
        assert min(width, height) >= 224
        assert (smallest_side(program, 224) or 0) <= side


def test_the_issues_own_composition() -> None:
    policy = compose(flip(), rotate(15), crop(64), border="fill")
    out = np.empty((64, 64, 3), np.uint8)
    augment_into(out, PHOTO, policy.draw(["x"], 0, 0), 0)
    assert out.std() > 20
    assert policy.size == 64


def test_shortened_keeps_the_aspect() -> None:
    assert shortened(PHOTO, 100).shape == (100, round(640 * 100 / 427), 3)
    assert shortened(PHOTO, 500) is PHOTO


def test_normalised_in_one_pass() -> None:
    batch = np.random.default_rng(0).integers(0, 256, (9, 5, 7, 3), np.uint8)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    np.testing.assert_allclose(normalized(batch, mean, std), (batch / 255 - mean) / std, atol=2e-6)


def test_an_array_is_used_again_only_when_nobody_holds_it() -> None:
    torch = pytest.importorskip("torch")
    batch = np.full((2, 4, 4, 3), 51, np.uint8)
    spare = Spare()
    first = torch.from_numpy(normalized(batch, (0, 0, 0), (1, 1, 1), spare)).permute(0, 3, 1, 2)
    part, place = first[1], first.data_ptr()
    del first
    second = normalized(batch * 0, (0, 0, 0), (1, 1, 1), spare)
    assert second.ctypes.data != place
    assert torch.allclose(part, torch.tensor(0.2))
    del part
    third = normalized(batch, (0, 0, 0), (1, 1, 1), spare)
    assert third.ctypes.data == place
    np.testing.assert_allclose(third, 0.2, rtol=1e-6)
    assert not second.any()


def test_keeping_is_bounded(table: Table) -> None:
    cache = RamCache(30_000)
    batches = Loader(
        table, preprocess=Preprocess(32), batch_size=4, policy=ranges(hflip=0.5), cache=cache, cache_side=48
    )
    fresh = Loader(table, preprocess=Preprocess(32), batch_size=4, policy=ranges(hflip=0.5), cache_side=48)
    for epoch in range(2):
        np.testing.assert_array_equal(images(batches.epoch(epoch)), images(fresh.epoch(epoch)))
        assert 0 < cache.held_bytes <= 30_000


def test_an_error_in_a_thread_ends_the_epoch_and_is_named(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = Loader(table, preprocess=Preprocess(16), batch_size=2, threads=3)
    found = batches._pixels.get

    def failing(row: int, program: Any = None) -> np.ndarray:
        if row == 5:
            raise MemoryError("no room for row 5")
        return found(row, program)

    monkeypatch.setattr(batches._pixels, "get", failing)
    seen = []
    with pytest.raises(MemoryError, match="row 5"):
        seen.extend(batches.epoch())
    assert len(seen) == 2
    assert not [t for t in threading.enumerate() if t.name.startswith("anmok-data")]
