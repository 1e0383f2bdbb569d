"""The account: an estimate near the truth from few bytes, and a choice that says why."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anmok.core.errors import MachineError, UsageError
from anmok.core.text import size_text
from anmok.data import open_table
from anmok.data.cache import OVERHEAD
from anmok.data.cache_account import choose_cache
from anmok.data.cache_estimate import Estimate, estimate_bytes, scaled_pixels

GB = 10**9
FOUR = Estimate(2527, 291, 4 * GB)


def test_estimate_by_hand(tmp_path: Path) -> None:
    for name, size in {
        "a/1.png": (200, 100),
        "a/2.jpg": (40, 80),
        "b/1.webp": (100, 300),
        "b/2.tiff": (50, 50),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", size).save(tmp_path / name)
    (tmp_path / "b" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    table = open_table(tmp_path)
    pixels = 100 * 50 + 40 * 80 + 50 * 150 + 50 * 50
    found = estimate_bytes(table, 50, 3)
    assert (found.images, found.side, found.exact) == (5, 50, False)  # the broken one is taken for a usual one
    assert found.bytes == round(5 * (pixels / 4 * 3 + OVERHEAD))
    assert estimate_bytes(table, 50, 1, square=True).bytes == 5 * (2500 + OVERHEAD)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 600))
def test_short_side_scaled_down_never_up(width: int, height: int, side: int) -> None:
    pixels = scaled_pixels(width, height, side)
    assert pixels <= width * height
    if min(width, height) <= side:
        assert pixels == width * height
    else:
        short, long = sorted((width, height))
        assert pixels == side * round(long * side / short)


@pytest.mark.parametrize("name", ["trashnet", "photos"])
def test_estimate_of_real_data_reads_little(name: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within 10 % of the headers of all, from at most 64 heads of files and not one file as a whole."""
    from anmok.data.storage import Storage

    table = open_table(data_dir / name)
    truth = 0
    for reference in table.rows["image"].to_list():
        with Image.open(table.root / reference) as picture:
            truth += scaled_pixels(*picture.size, 256) * 3 + OVERHEAD

    def refuse(self: Storage, reference: str) -> bytes:
        raise AssertionError(f"{reference} was read as a whole")

    monkeypatch.setattr(Storage, "read", refuse)
    found = estimate_bytes(table, 256, 3)
    assert found.bytes == pytest.approx(truth, rel=0.1)
    assert not found.exact


def test_estimate_of_parquet_reads_few_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from anmok.data.storage import _Columns

    def png(i: int) -> bytes:
        out = io.BytesIO()
        Image.fromarray(np.zeros((10 + i % 7, 30, 3), np.uint8)).save(out, "PNG")
        return out.getvalue()

    rows = {"image": [{"bytes": png(i), "path": None} for i in range(2000)], "label": ["a", "b"] * 1000}
    pq.write_table(pa.table(rows), tmp_path / "t.parquet", row_group_size=100)
    table = open_table(tmp_path / "t.parquet")
    read: set[int] = set()
    load = _Columns._load

    def noted(self: _Columns, path: Path, file: object, column: str, group: int) -> object:
        read.add(group)
        return load(self, path, file, column, group)

    monkeypatch.setattr(_Columns, "_load", noted)
    found = estimate_bytes(table, 100, 3)
    assert len(read) <= 8
    assert found.bytes == pytest.approx(2000 * (13 * 30 * 3 + OVERHEAD), rel=0.1)


def test_nothing_readable_counts_as_squares(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    assert estimate_bytes(open_table(tmp_path), 32, 3).bytes == 2 * (32 * 32 * 3 + OVERHEAD)


@pytest.mark.parametrize(
    ("wanted", "ram", "disk", "kind", "limit", "why"),
    [
        ("auto", 22, 60, "ram", 11 * GB,
         "2,527 images at 291 px are 4.0 GB; half of the 22.0 GB of free RAM holds them: kept in RAM."),
        ("auto", 6, 60, "disk", 30 * GB,
         "2,527 images at 291 px are 4.0 GB, more than half of the 6.0 GB of free RAM; half of the 60.0 GB of free "
         "disk holds them: kept in files there."),
        ("auto", 4, 5, "ram", 2 * GB,
         "2,527 images at 291 px are 4.0 GB, more than half of the 4.0 GB of free RAM and half of the 5.0 GB of free "
         "disk; 50% of them kept in RAM, the others decoded every epoch."),
        ("auto", 1, 5, "none", 0,
         "2,527 images at 291 px are 4.0 GB, more than half of the 1.0 GB of free RAM and half of the 5.0 GB of free "
         "disk; none of them kept, every epoch decodes them again."),
        ("ram", 1, 60, "ram", GB // 2,
         "2,527 images at 291 px are 4.0 GB, more than half of the 1.0 GB of free RAM; 12% of them kept in RAM, the "
         "others decoded every epoch."),
        ("disk", 22, 200, "disk", 50 << 30,
         "2,527 images at 291 px are 4.0 GB; the 53.7 GB that caches may take on disk holds them: kept in files "
         "there."),
        ("disk", 22, 5, "ram", 11 * GB,
         "2,527 images at 291 px are 4.0 GB, more than half of the 5.0 GB of free disk; half of the 22.0 GB of free "
         "RAM holds them: kept in RAM."),
        ("disk", 1, 0, "none", 0,
         "2,527 images at 291 px are 4.0 GB, more than half of the 0 bytes of free disk and half of the 1.0 GB of free "
         "RAM; none of them kept, every epoch decodes them again."),
        ("none", 22, 60, "none", 0,
         "2,527 images at 291 px are 4.0 GB: none of them kept, as was asked; every epoch decodes them again."),
    ],
)  # fmt: skip
def test_choice(wanted: str, ram: int, disk: int, kind: str, limit: int, why: str) -> None:
    found = choose_cache(wanted, FOUR, free_ram=ram * GB, free_disk=disk * GB)
    assert found[:3] == (kind, limit, why)


def test_the_gpu_only_when_asked_and_only_if_it_holds_all() -> None:
    gpu = choose_cache("device", FOUR, free_ram=22 * GB, free_disk=0, free_device=9 * GB)
    assert (gpu.kind, gpu.limit_bytes) == ("device", 4 * GB)
    less = choose_cache("device", FOUR, free_ram=22 * GB, free_disk=0, free_device=7 * GB)
    assert less.kind == "ram"
    assert "more than half of the 7.0 GB of free GPU memory; half of the 22.0 GB of free RAM holds" in less.why
    assert choose_cache("auto", FOUR, free_ram=22 * GB, free_disk=0, free_device=80 * GB).kind == "ram"
    with pytest.raises(MachineError, match="auto, ram or disk") as found:
        choose_cache("device", FOUR, free_ram=22 * GB, free_disk=0)
    assert found.value.code == "device"


def test_a_sampled_estimate_needs_more_room() -> None:
    about = FOUR._replace(exact=False)
    assert choose_cache("auto", FOUR, free_ram=8 * GB, free_disk=0).kind == "ram"
    found = choose_cache("auto", about, free_ram=8 * GB, free_disk=20 * GB)
    assert found.kind == "disk"
    assert "are about 4.0 GB" in found.why


def test_one_epoch_keeps_nothing() -> None:
    assert choose_cache("auto", FOUR, free_ram=22 * GB, free_disk=0, epochs=1).kind == "none"
    assert choose_cache("ram", FOUR, free_ram=22 * GB, free_disk=0, epochs=1).kind == "ram"


@given(
    st.sampled_from(["auto", "ram", "disk"]), st.integers(1, 10**13), st.integers(0, 10**13), st.integers(0, 10**13),
    st.floats(0.01, 1), st.integers(1, 8),
)  # fmt: skip
def test_never_more_than_the_share(wanted: str, need: int, ram: int, disk: int, share: float, processes: int) -> None:
    estimate = Estimate(100, 8, need, exact=False)
    found = choose_cache(wanted, estimate, free_ram=ram, free_disk=disk, share=share, processes=processes)
    assert found.kind in ("none", "ram", "disk")
    if found.kind == "ram":
        assert found.limit_bytes * processes <= ram * share * (1 + 1e-9)
    elif found.kind == "disk":
        assert need <= found.limit_bytes <= disk / 2
    assert found.why.endswith(".")


def test_bad_arguments() -> None:
    with pytest.raises(UsageError, match="disk"):
        choose_cache("disc", FOUR, free_ram=1, free_disk=1)
    for share in (0, 1.1):
        with pytest.raises(UsageError, match="share"):
            choose_cache("auto", FOUR, free_ram=1, free_disk=1, share=share)


def test_sizes_as_text() -> None:
    assert [size_text(n) for n in (0, 999, 1000, 23_400_000, 4e11, 2e12)] == [
        "0 bytes", "999 bytes", "1.0 kB", "23.4 MB", "400 GB", "2.0 TB",
    ]  # fmt: skip
