from __future__ import annotations

import copy
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.core.errors import DataError, ImageError
from anmok.data.storage import Storage, escape, file_name, file_reference, parse


@given(st.binary(min_size=1, max_size=40).filter(lambda b: b"\0" not in b))
def test_any_file_name_makes_a_reference_and_back(raw: bytes) -> None:
    name = os.fsdecode(raw)
    reference = file_reference(name)
    reference.encode()
    assert file_name(reference) == name


@given(st.text(min_size=1, max_size=20), st.integers(0, 10**9))
def test_rows_of_any_file(name: str, row: int) -> None:
    part = parse(f"parquet:{escape(name)}#{row}")
    assert (part.kind, part.place) == ("parquet", str(row))
    assert part.file == name or not name.isascii()


def write(path: Path, values: list[bytes | None], groups: int) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": v, "path": ""} for v in values]
    pq.write_table(pa.table({"image": pa.array(rows, kind)}), path, row_group_size=groups)


def test_parquet_rows_by_many_threads_within_a_small_cache(tmp_path: Path) -> None:
    values = [bytes([i]) * 1000 for i in range(100)]
    write(tmp_path / "a.parquet", [*values], 7)
    storage = Storage(tmp_path, cache_bytes=15_000)
    order = [(i * 37) % 100 for i in range(300)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: storage.read(f"parquet:a.parquet#{i}"), order))
    assert found == [values[i] for i in order]
    assert storage._columns._held <= 15_000
    assert storage.size("parquet:a.parquet#3") == 1000


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("gone.png", "io-error"),
        ("folder", "io-error"),
        ("parquet:a.parquet#9", "io-error"),
        ("parquet:a.parquet#1", "empty"),
        ("parquet:a.parquet#-1", "io-error"),
        ("parquet:gone.parquet#0", "io-error"),
        ("parquet:x.zip#0", "io-error"),
        ("tar:x.zip#0+99", "truncated"),
        ("tar:gone.tar#0+9", "io-error"),
        ("zip:x.zip#a", "io-error"),
        ("tar:x.zip#0+-1", "reference"),
        ("tar:x.zip", "reference"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, reference: str, code: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "x.zip").write_bytes(b"no zip")
    write(tmp_path / "a.parquet", [b"x", None], 2)
    with pytest.raises(DataError) as caught:
        Storage(tmp_path).read(reference)
    assert caught.value.code == code


def test_the_reason_of_the_system_is_told(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file or directory"):
        Storage(tmp_path).read("gone.png")
    with pytest.raises(ImageError, match="No such file or directory"):
        Storage(tmp_path).size("gone.png")


def test_copies_and_pickles(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"abc")
    storage = Storage(tmp_path)
    for other in (pickle.loads(pickle.dumps(storage)), copy.deepcopy(storage)):
        assert other.read("a.png") == b"abc"
    assert storage.path("a.png") == tmp_path / "a.png"
