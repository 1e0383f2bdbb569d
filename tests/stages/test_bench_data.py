"""`anmok bench data`: that its numbers belong together, follow from the loader of training, and hold for bad data."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_image

import anmok
from anmok.core.errors import DataError, MachineError, UsageError
from anmok.data.cache import NoCache, RamCache
from anmok.stages.bench_data_measure import Pass, decoding_clock
from anmok.stages.bench_data_result import DataSpeed, about

PHOTO = load_sample_image("flower.jpg")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 20 JPEGs of 200 × 300 pixels."""
    folder = tmp_path_factory.mktemp("photos")
    for k, label in enumerate(("left", "right")):
        (folder / label).mkdir()
        for i in range(20):
            cut = PHOTO[10 * i : 10 * i + 200, 300 * k : 300 * k + 300]
            Image.fromarray(cut).save(folder / label / f"{i}.jpg")
    return folder


def check(speed: DataSpeed) -> None:
    """What holds of every measurement."""
    assert 0 <= speed.decode_share <= 1
    assert 0 < speed.share_of_decode_limit <= 1
    assert speed.images_per_s * speed.later_s == pytest.approx(speed.later_images)
    assert speed.first_epoch_images_per_s * speed.first_epoch_s == pytest.approx(speed.images)
    expected = min(1.0, speed.first_epoch_images_per_s / speed.decode_limit_images_per_s)
    assert speed.share_of_decode_limit == pytest.approx(expected)
    assert json.loads(json.dumps(speed.to_dict()))["images_per_s"] == speed.images_per_s
    assert f"{about(speed.images_per_s):,} images/s" in speed.advice


def test_numbers_belong_together(photos: Path) -> None:
    speed = anmok.bench_data(photos, augment="randaugment", image_size=64, cache="ram", threads=2, seconds=0.5)
    check(speed)
    assert (speed.images, speed.rows, speed.split, speed.rejected) == (40, 40, "all", 0)
    assert (speed.image_size, speed.threads, speed.cache, speed.device) == (64, 2, "ram", "cpu")
    assert speed.first_epoch_whole
    assert speed.later_epochs >= 1
    assert speed.later_images == 40 * speed.later_epochs
    assert speed.decode_share > 0
    assert speed.peak_memory_bytes is None or speed.peak_memory_bytes >= 0
    # 73 px of the short side are kept (8/7 of 64), the long one in proportion
    assert speed.cache_side == 73
    assert speed.cache_bytes == pytest.approx(40 * 73 * 109.5 * 3, rel=0.02)
    assert "40 images" in speed.cache_why
    assert "RAM" in speed.cache_why


def test_without_a_cache_every_epoch_decodes(photos: Path) -> None:
    speed = anmok.bench_data(photos, augment="none", image_size=32, cache="none", seconds=0.2)
    check(speed)
    assert (speed.cache, speed.cache_bytes, speed.cache_side) == ("none", 0, None)
    assert "none of them kept" in speed.cache_why
    assert speed.decode_share > 0.3  # nothing is drawn, so that decoding and resizing is nearly all there is
    assert "--cache ram" in speed.advice


def test_a_first_epoch_that_is_cut_short_is_read_again(photos: Path) -> None:
    speed = anmok.bench_data(photos, image_size=32, batch_size=4, cache="ram", threads=1, seconds=1e-6)
    check(speed)
    assert (speed.images, speed.first_epoch_whole, speed.later_epochs, speed.later_images) == (4, False, 0, 4)
    assert "4 images, of 40" in repr(speed)


def test_a_train_split_is_what_is_read(photos: Path, tmp_path: Path) -> None:
    rows = [f"{photos}/left/{i}.jpg,left,{'train' if i < 7 else 'test'}" for i in range(20)]
    (tmp_path / "list.csv").write_text("\n".join(["image,label,split", *rows]))
    settings: dict[str, Any] = {"image_size": 16, "seconds": 0.05, "data": {"allow_links": True}}
    speed = anmok.bench_data(tmp_path / "list.csv", **settings)
    assert (speed.images, speed.split) == (7, "train")
    assert "7 train images" in repr(speed)


def test_unreadable_images_are_counted(photos: Path, tmp_path: Path) -> None:
    for i in range(6):
        (tmp_path / f"{i}.jpg").write_bytes((photos / "left" / f"{i}.jpg").read_bytes())
    (tmp_path / "0.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (tmp_path / "1.jpg").write_bytes((photos / "left" / "1.jpg").read_bytes()[:800])
    speed = anmok.bench_data(tmp_path, augment="flip-crop", image_size=16, cache="ram", seconds=0.1)
    check(speed)
    assert (speed.images, speed.rejected, speed.rows) == (4, 2, 6)
    assert "2 images that cannot be read" in repr(speed)
    assert not list(Path().glob("rejects.parquet"))


def test_nothing_to_measure_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        anmok.bench_data(tmp_path)
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    with pytest.raises(DataError, match="none of 3 images can be read") as caught:
        anmok.bench_data(tmp_path, image_size=16, seconds=0.1)
    assert caught.value.code == "no-images"


def test_wrong_settings_say_what_there_is(photos: Path) -> None:
    with pytest.raises(MachineError, match="no GPU") as caught:
        anmok.bench_data(photos, cache="device", device="cpu")
    assert "--cache auto" in str(caught.value)
    with pytest.raises(UsageError, match="randaugment"):
        anmok.bench_data(photos, augment="randaugmnet")
    with pytest.raises(UsageError, match="seconds"):
        anmok.bench_data(photos, seconds=0)


def test_the_command_prints_text_or_json(photos: Path) -> None:
    call = [sys.executable, "-m", "anmok", "bench", "data", str(photos), "--augment", "light", "--image-size", "32"]
    call += ["--cache", "ram", "--threads", "1", "--seconds", "0.2"]
    done = subprocess.run([*call, "--json"], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["images"] == 40
    assert found["policy"] == "light"
    assert found["threads"] == 1
    for name in ("images_per_s", "first_epoch_images_per_s", "decode_limit_images_per_s", "decode_share", "cache_why"):
        assert found[name]
    text = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    assert "first epoch" in text
    assert "never waits for data" in text


def test_the_clock_counts_decoding_in_threads_and_leaves_the_cache_as_it_was() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    cache = RamCache(1 << 20)
    with decoding_clock(cache) as clock:

        def one(row: int) -> None:
            for _ in range(2):  # the second time it is there, and costs nothing
                if cache.get(row) is None:
                    time.sleep(0.05)
                    cache.put(row, image)

        threads = [threading.Thread(target=one, args=(row,)) for row in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counted = clock.seconds
    assert 4 * 0.05 <= counted < 4 * 0.5
    assert cache.get(3) is not None
    cache.put(9, image)
    assert clock.seconds == counted
    with decoding_clock(NoCache()) as clock, pytest.raises(RuntimeError, match="decoder"):
        raise RuntimeError("decoder")
    assert clock.seconds == 0


def found(**changed: Any) -> DataSpeed:
    """A measurement of round numbers."""
    base = DataSpeed(
        images_per_s=3187.0, first_epoch_images_per_s=1040.0, decode_share=0.6, decode_limit_images_per_s=1300.0,
        share_of_decode_limit=0.8, images=2527, rows=2527, split="all", rejected=0, first_epoch_s=2.43,
        first_epoch_whole=True, later_images=25270, later_s=7.93, later_epochs=10, image_size=224, batch_size=64,
        threads=2, device="cpu", policy="randaugment", cache="ram", cache_why="", cache_bytes=530_000_000,
        cache_side=256, peak_memory_bytes=600_000_000, seed=0,
    )  # fmt: skip
    return replace(base, **changed)


def test_advice_follows_from_the_numbers() -> None:
    expected = "fewer than 3,100 images/s never waits for data, but in the first epoch, which brings 1,000."
    assert expected in found().advice
    assert "--cache" not in found().advice
    slow = found(cache="none", images_per_s=1050.0)
    assert "60% of the threads' time is decoding" in slow.advice
    assert "first epoch" not in slow.advice
    assert "gains little" in found(images_per_s=1100.0, decode_share=0.1).advice
    assert "530 MB at 256 px" in repr(found())
    assert "<td>" in found()._repr_html_()


@given(st.floats(0.01, 1e7))
def test_a_promise_has_two_digits_and_is_never_more_than_was_measured(rate: float) -> None:
    assert about(rate) <= rate
    assert about(rate) > rate * 0.9 - 1
    assert len(str(about(rate)).rstrip("0")) <= 2


def test_a_pass_has_a_rate() -> None:
    assert Pass(200, 4.0, 5, True).rate == 50
