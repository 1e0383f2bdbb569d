from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageOps
from scenes import encoded, scene

from anmok.audit.duplicates import Near, near_duplicates
from anmok.audit.hashes import HASHES, perceptual
from anmok.audit.near_config import NearConfig
from anmok.core.errors import ImageError
from anmok.data.decode import decode, probe
from anmok.data.table import content_hash

Files = dict[str, bytes]


def measured(files: Files) -> pl.DataFrame:
    """The columns of images.parquet that near duplicates are found by."""
    rows = []
    for name, data in files.items():
        row: dict[str, object] = {"id": name, "image": name, "bytes": len(data), "hash": content_hash(data)}
        try:
            info = probe(data)
            pixels = decode(data, channels="gray", min_side=128)[:, :, 0]
        except ImageError as error:
            rows.append(row | {"fault": error.code})
            continue
        row |= {"width": info.width, "height": info.height}
        rows.append(row | dict(zip(HASHES, perceptual(pixels), strict=True)))
    text, number = ("id", "image", "hash", "fault"), ("bytes", "width", "height")
    schema = dict.fromkeys(text, pl.String) | dict.fromkeys(number, pl.Int64) | dict.fromkeys(HASHES, pl.UInt64)
    return pl.DataFrame(rows, schema=schema)


def find(files: Files, **options: object) -> Near:
    return near_duplicates(measured(files), files.__getitem__, **options)  # type: ignore[arg-type]


def pairs(near: Near) -> set[frozenset[str]]:
    return {frozenset(finding.ids) for finding in near.findings}


@pytest.fixture(scope="module")
def files() -> Files:
    """Eight scenes; of some a copy, a re-encoding, a mirror image, a crop; two broken files."""
    out = {f"{seed}.jpg": encoded(scene(seed)) for seed in range(8)}
    out["copy0.jpg"] = out["0.jpg"]
    out["small0.jpg"] = encoded(scene(0).resize((160, 120)))
    out["mirror1.jpg"] = encoded(ImageOps.mirror(scene(1)))
    out["crop2.jpg"] = encoded(scene(2).crop((0, 0, 300, 225)))
    out["coarse2.jpg"] = encoded(scene(2), quality=30)
    out["empty.jpg"] = b""
    out["empty2.jpg"] = b""
    out["broken.jpg"] = out["3.jpg"][:300]
    return out


def test_every_copy_is_found_and_nothing_else(files: Files) -> None:
    near = find(files)
    groups: dict[str, set[str]] = {}
    for name, group in zip(files, near.group.to_list(), strict=True):
        if group is not None:
            groups.setdefault(group, set()).add(name)
    assert groups == {
        "0.jpg": {"0.jpg", "copy0.jpg", "small0.jpg"},
        "1.jpg": {"1.jpg", "mirror1.jpg"},
        "2.jpg": {"2.jpg", "crop2.jpg", "coarse2.jpg"},
    }
    assert len(near.findings) == 4  # a tree over the different files of each group
    assert {f.kind for f in near.findings} == {"near-duplicate"}
    assert {f.decision for f in near.findings} == {"group"}
    assert all("copy0.jpg" not in f.ids for f in near.findings)
    mirror = next(f for f in near.findings if "mirror1.jpg" in f.ids)
    assert mirror.ids == ["1.jpg", "mirror1.jpg"]
    assert mirror.evidence == f"mirrored: {mirror.score:.3f} alike"


def test_the_same_by_any_number_of_threads_and_in_batches(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    one = find(files, threads=1)
    assert one.findings == find(files, threads=4).findings
    monkeypatch.setattr("anmok.audit.duplicates._BATCH", 1)
    monkeypatch.setattr("anmok.audit.duplicates._HELD", 0)
    single = find(files)
    assert single.group.to_list() == one.group.to_list()
    assert sorted(single.findings) == sorted(one.findings)


def test_a_file_that_has_gone_is_left_out(files: Files) -> None:
    def read(name: str) -> bytes:
        if name == "small0.jpg":
            raise ImageError("cannot be read.", code="io-error")
        return files[name]

    near = near_duplicates(measured(files), read)
    assert all("small0.jpg" not in finding.ids for finding in near.findings)
    assert len(near.findings) == 3


def test_other_bytes_with_the_same_pixels_are_told_as_such() -> None:
    image = Image.fromarray(decode(encoded(scene(0))))
    near = find({"a.jpg": encoded(scene(0)), "a.png": encoded(image, "PNG"), "b.png": encoded(scene(1), "PNG")})
    assert [(f.kind, f.ids, f.score) for f in near.findings] == [("exact-pixels", ["a.jpg", "a.png"], 1.0)]


def test_a_large_group_takes_one_confirmation_a_member() -> None:
    image = scene(0)
    files = {f"{q}.jpg": encoded(image, quality=q) for q in range(30, 96)}
    near = find(files)
    assert near.group.n_unique() == 1
    assert len(near.findings) == near.tried == len(files) - 1


def test_blank_pictures_do_not_multiply() -> None:
    rng = np.random.default_rng(0)
    blank = [Image.fromarray(rng.integers(250, 253, (150, 200, 3)).astype(np.uint8)) for _ in range(60)]
    near = find({f"{i}.png": encoded(image, "PNG") for i, image in enumerate(blank)})
    assert near.tried < 3 * 60
    assert near.group.n_unique() == 1


def test_nothing_among_different_pictures_or_none() -> None:
    near = find({f"{seed}.jpg": encoded(scene(seed)) for seed in range(30)})
    assert near.findings == []
    assert near.group.is_null().all()
    assert find({}).group.to_list() == []
    assert find({"x": b"", "y": b""}).group.to_list() == [None, None]


def test_turns_and_crops_can_be_left_out(files: Files) -> None:
    near = find(files, config=NearConfig(turns=False))
    assert frozenset({"1.jpg", "mirror1.jpg"}) not in pairs(near)
    assert len(near.findings) == 3


def test_embeddings_bring_candidates_that_no_hash_finds() -> None:
    pytest.importorskip("usearch")
    image = scene(0)
    files = {"a.jpg": encoded(image), "b.jpg": encoded(image.crop((0, 0, 262, 197))), "c.jpg": encoded(scene(1))}
    assert find(files).findings == []  # a crop of 18 % is beyond the hashes
    embeddings = np.array([[1, 0, 0.1], [1, 0.05, 0.1], [1, 0.02, 0.1]], np.float32)  # c is near too, but no duplicate
    near = find(files, embeddings=embeddings)
    assert pairs(near) == {frozenset({"a.jpg", "b.jpg"})}
    assert re.match(r"cropped to 8[123] % × 8[123] %:", near.findings[0].evidence)


def test_trashnet_holds_its_three_identical_pairs_and_the_bursts(data_dir: Path) -> None:
    with (data_dir / "trashnet" / "split.csv").open() as handle:
        rows = [row["image"] for row in csv.DictReader(handle)]
    wanted = ("glass115", "metal91", "paper101", "paper108", "paper185", "paper390", "metal141", "metal390")
    names = [row for row in rows if Path(row).stem in wanted] + rows[::20]
    files = {name: (data_dir / "trashnet" / name).read_bytes() for name in dict.fromkeys(names)}
    near = find(files)
    found = {frozenset(Path(i).stem for i in finding.ids) for finding in near.findings}
    twins = {frozenset(p) for p in (("paper101", "paper108"), ("paper185", "paper390"), ("metal141", "metal390"))}
    assert twins <= found
    known = Path(__file__).parents[2] / "benchmarks" / "planted.py"
    assert all(" ".join(sorted(pair)) in known.read_text() for pair in found)
    group = dict(zip(files, near.group.to_list(), strict=True))
    same = [name for name in files if Path(name).stem in ("glass115", "metal91")]
    assert group[same[0]] == group[same[1]] is not None
