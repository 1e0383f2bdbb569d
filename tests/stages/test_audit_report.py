"""From an audit to its page: what is chosen, decoded and counted, on real files, broken and hostile ones included."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anmok.audit.config import AuditConfig
from anmok.audit.findings import to_frame
from anmok.audit.result import Audit, audit
from anmok.core.types import Finding
from anmok.data.decode import decode
from anmok.data.sources import open_table
from anmok.data.storage import Storage
from anmok.data.table import Table
from anmok.report.audit_content import Spread
from anmok.report.audit_kinds import kind_of
from anmok.stages import audit_pictures
from anmok.stages.audit_choice import IN_SHEET, TOLD, choose, evenly, listing, members, worst
from anmok.stages.audit_facts import facts, fields, memory
from anmok.stages.audit_measures import distributions, forms, histogram, numbers, shortcuts, size_points
from anmok.stages.audit_pictures import mean_pictures, picture, pictures, shrink
from anmok.stages.audit_report import audit_report, gather

HOSTILE = "<script>alert(1)</script>"


def encoded(seed: int, form: str = "JPEG", size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    """The bytes of a smooth picture, another for each seed."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(out, form, **options)
    return out.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve good images of two Korean classes in two splits; a leak, a conflict, a cut, an empty and a hostile one."""
    root = tmp_path / "사진"
    rows = ["image,label,split"]
    files: dict[str, tuple[bytes, str, str]] = {}
    for i in range(12):
        label = "정상" if i % 2 else "도난"
        files[f"{label}{i}.jpg"] = (encoded(i), label, "train" if i < 8 else "test")
    files["leak.jpg"] = (encoded(1), "정상", "test")
    files["conflict.jpg"] = (encoded(2), "정상", "train")
    files["cut.jpg"] = (encoded(50, size=(300, 200))[:-1500], "정상", "train")
    files["empty.jpg"] = (b"", "정상", "train")
    files[f"{HOSTILE.replace('/', '∕')}.png"] = (encoded(51, "PNG"), HOSTILE, "train")
    root.mkdir()
    for name, (data, label, split) in files.items():
        (root / name).write_bytes(data)
        rows.append(f'"{name}",{label},{split}')
    (root / "set.csv").write_text("\n".join(rows), encoding="utf-8")
    return root


@pytest.fixture
def audited(folder: Path) -> tuple[Audit, Table]:
    table = open_table(folder / "set.csv")
    return audit(table, config=AuditConfig(tiny_class=2)), table


def test_the_page_of_a_set_with_faults(audited: tuple[Audit, Table], tmp_path: Path) -> None:
    path = audit_report(*audited, tmp_path / "report.html", threads=2)
    html = path.read_text(encoding="utf-8")
    for text in ("Audit of <bdi>사진", "Not safe to train on yet", "정상11.jpg", "leak.jpg", "conflict.jpg", "cut.jpg",
                 "empty.jpg", "under two labels (1 pair)", "in two splits (1 pair)", "tiny-class"):  # fmt: skip
        assert text in html, text
    assert HOSTILE not in html
    assert "&lt;script&gt;alert(1)" in html
    assert html.count("data:image/webp") >= 14


def test_the_content_holds_the_numbers_of_the_audit(audited: tuple[Audit, Table]) -> None:
    found, table = audited
    content = gather(found, table, 2)
    assert (content.images, content.readable) == (17, 15)
    assert content.classes == {"도난": 6, "정상": 10, HOSTILE: 1} == dict(found.summary["classes"])
    assert content.counts == {
        "train": {"도난": 4, "정상": 7, HOSTILE: 1}, "test": {"도난": 2, "정상": 3, HOSTILE: 0},
    }  # fmt: skip
    assert content.splits == {"train": 12, "test": 5}
    assert (content.duplicates, content.groups) == (2, 2)
    assert content.found == found.summary["findings"]
    assert {k: v.total for k, v in content.kinds.items()} == found.summary["findings"]
    leak = content.kinds["leakage"].shown[0]
    assert sorted(leak.keys) == ["leak.jpg", "정상1.jpg"]
    assert {content.shown[key].split for key in leak.keys} == {"train", "test"}
    conflict = content.kinds["conflicting-labels"].shown[0]
    assert {content.shown[key].label for key in conflict.keys} == {"정상", "도난"}
    cut = content.shown["cut.jpg"]
    assert cut.picture.webp  # what is left of it is shown
    assert ("truncated", found.of("truncated")["evidence"][0]) in cut.findings
    assert content.kinds["empty"].shown == []
    assert content.kinds["empty"].told[0].names == ["empty.jpg"]
    facts_of = dict(zip(content.fields, content.shown["정상1.jpg"].facts, strict=True))
    assert facts_of["size"] == "40 × 30"
    assert facts_of["hash"] == found.images.filter(pl.col("id") == "정상1.jpg")["hash"][0]


def test_groups_tell_what_differs(audited: tuple[Audit, Table]) -> None:
    groups = {frozenset(key for key, _ in g.members): g for g in gather(*audited, 1).same}
    leak = groups[frozenset({"정상1.jpg", "leak.jpg"})]
    assert dict(leak.members)["leak.jpg"] == [("split", "test")]
    assert dict(leak.members)["정상1.jpg"] == [("split", "train")]
    conflict = groups[frozenset({"도난2.jpg", "conflict.jpg"})]
    assert dict(conflict.members)["conflict.jpg"] == [("label", "정상")]
    assert leak.evidence == [kind_of("exact-duplicate").title]


def test_measurements_that_are_missing_are_left_out(audited: tuple[Audit, Table], tmp_path: Path) -> None:
    found, table = audited
    bare = Audit(found.images.select("id", "image", "fault"), found.findings, {
        **{k: v for k, v in found.summary.items() if k != "shortcuts"}, "memory": {"files_bytes": 5},
    })  # fmt: skip
    content = gather(bare, table, 1)
    assert (list(content.histograms), content.sizes.points, content.forms, content.same) == ([], (), {}, [])
    assert content.memory == {"the files": 5}
    assert "Not safe" in audit_report(bare, table, tmp_path / "bare.html").read_text(encoding="utf-8")


def test_a_set_without_labels_and_one_that_cannot_be_read(tmp_path: Path) -> None:
    for name, data in (("good", encoded(1)), ("bad", b"no image")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(data)
    good, bad = (open_table(tmp_path / name) for name in ("good", "bad"))
    content = gather(audit(good), good, 1)
    assert [(s.title, s.total, s.keys) for s in content.sheets] == [("All images", 1, ["a.jpg"])]
    assert [(m.label, m.images) for m in content.means] == [("all images", 1)]
    html = audit_report(audit(bad), bad, tmp_path / "bad.html").read_text(encoding="utf-8")
    assert "Nothing to train on" in html
    assert "data:image/webp" not in html


def test_several_labels_an_image(tmp_path: Path) -> None:
    for i in range(4):
        (tmp_path / f"{i}.jpg").write_bytes(encoded(i))
    rows = "image,label\n0.jpg,cat;dog\n1.jpg,dog\n2.jpg,cat\n3.jpg,cat;dog\n"
    (tmp_path / "set.csv").write_text(rows, encoding="utf-8")
    table = open_table(tmp_path / "set.csv")
    assert table.task == "multilabel"
    content = gather(audit(table), table, 1)
    assert {s.title: list(s.keys) for s in content.sheets} == {
        "cat": ["0.jpg", "2.jpg", "3.jpg"], "dog": ["0.jpg", "1.jpg", "3.jpg"],
    }  # fmt: skip
    assert content.shown["0.jpg"].label == "cat, dog"


def test_names_that_a_file_system_allows(tmp_path: Path) -> None:
    names = ["new\nline.jpg", "=cmd.jpg", unicodedata.normalize("NFD", "사과.jpg"), "\u202egpj.exe.jpg", "a&b\"'.jpg"]
    (tmp_path / "set").mkdir()
    for i, name in enumerate(names):
        (tmp_path / "set" / name).write_bytes(encoded(i))
    table = open_table(tmp_path / "set")
    html = audit_report(audit(table), table, tmp_path / "report.html").read_text(encoding="utf-8")
    for text in ("new\\nline.jpg", "=cmd.jpg", "사과.jpg", "\\u202egpj.exe.jpg", "a&amp;b&#34;&#39;.jpg"):
        assert text in html, text
    assert "\u202e" not in html
    data = json.loads(re.search(r'id="images">(.*?)</script>', html, re.S).group(1))  # type: ignore[union-attr]
    assert "a&b\"'.jpg" in {image[0] for image in data["images"]}


@given(st.integers(0, 10_000), st.integers(0, 200))
def test_evenly_takes_first_last_and_never_one_twice(n: int, most: int) -> None:
    taken = evenly(n, most)
    assert len(taken) == min(n, most)
    assert taken == sorted(set(taken))
    if len(taken) > 1:
        assert (taken[0], taken[-1]) == (0, n - 1)
        gaps = np.diff(taken)
        assert gaps.max() - gaps.min() <= 1


def test_the_worst_come_first() -> None:
    frame = to_frame([Finding("x", [str(i)], score, "") for i, score in enumerate((1.0, 0.2, 9.0, 0.05))])
    assert [worst(frame, kind_of(k))["score"].to_list() for k in ("bright", "dark", "odd-size")] == [
        [9.0, 1.0, 0.2, 0.05], [0.05, 0.2, 1.0, 9.0], [0.05, 9.0, 0.2, 1.0],
    ]  # fmt: skip


def test_a_long_list_is_cut_and_counted() -> None:
    frame = to_frame([Finding("dark", [f"{i}"], float(i), "") for i in range(200)])
    found = listing(frame, "dark", {str(i): None for i in range(200) if i != 3})
    assert found.total == 200
    assert [row.keys for row in found.shown] == [[str(i)] for i in range(13) if i != 3]
    assert len(found.told) == TOLD
    assert found.told[0].names == ["3"]  # no such image in the table: told, not shown


def test_sheets_take_a_few_of_each_class(audited: tuple[Audit, Table]) -> None:
    found, table = audited
    assert list(members(found, table)) == list(table.classes)
    assert "cut.jpg" not in members(found, table)["정상"]
    chosen = choose(found, table)
    assert [(s.title, s.total) for s in chosen.sheets] == [(HOSTILE, 1), ("도난", 6), ("정상", 8)]
    assert all(len(s.keys) == min(IN_SHEET, s.total) for s in chosen.sheets)
    assert set(chosen.ids[:2]) == {"정상1.jpg", "leak.jpg"}  # of what is unsafe, first
    assert len(chosen.ids) == len(set(chosen.ids))


def test_pictures_are_the_images_made_small(tmp_path: Path) -> None:
    big, plain = encoded(3, "PNG", (900, 600)), encoded(4, "PNG", (40, 30))
    (tmp_path / "big.png").write_bytes(big)
    (tmp_path / "plain.png").write_bytes(plain)
    (tmp_path / "bad.png").write_bytes(b"nothing")
    (tmp_path / "exif.jpg").write_bytes(encoded(5, exif=b"Exif\0\0SECRET PLACE"))
    names = ["big.png", "plain.png", "bad.png", "exif.jpg", "gone.png"]
    made = pictures(Storage(tmp_path), {n: n for n in names}, threads=2)
    assert list(made) == names
    assert not made["bad.png"].webp
    assert not made["gone.png"].webp
    assert b"SECRET" not in made["exif.jpg"].webp
    for name, data, size in (("big.png", big, (320, 213)), ("plain.png", plain, (40, 30))):
        with Image.open(io.BytesIO(made[name].webp)) as webp, Image.open(io.BytesIO(data)) as original:
            assert webp.format == "WEBP"
            assert webp.size == (made[name].width, made[name].height) == size
            wanted = np.asarray(original.resize(size, Image.Resampling.BOX), np.float32)
            assert np.abs(np.asarray(webp.convert("RGB"), np.float32) - wanted).mean() < 5


def test_a_picture_that_is_too_heavy_becomes_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    full = picture(noise, 256)
    light = picture(noise, 256, limit=len(full.webp) // 3)
    assert len(light.webp) <= len(full.webp) // 3
    assert 48 <= light.width < 256
    Image.fromarray(noise).save(tmp_path / "n.png")
    monkeypatch.setattr(audit_pictures, "BYTES", 60_000)
    made = pictures(Storage(tmp_path), {str(i): "n.png" for i in range(9)}, 2).values()
    assert all(p.webp for p in made)
    assert 15_000 < sum(len(p.webp) for p in made) <= 60_000


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_shrink_keeps_a_pixel_of_every_side(width: int, height: int) -> None:
    small = shrink(np.zeros((height, width, 3), np.uint8), 32)
    assert max(small.shape[:2]) == min(32, max(width, height))
    assert min(small.shape[:2]) >= 1


def test_mean_pictures_are_means(tmp_path: Path) -> None:
    images = [encoded(i, "PNG", (64, 64)) for i in range(20)]
    for i, data in enumerate(images):
        (tmp_path / f"{i}.png").write_bytes(data)
    made = mean_pictures(Storage(tmp_path), {"a": [f"{i}.png" for i in range(20)], "b": ["gone.png"]}, threads=2)
    assert list(made) == ["a"]
    count, small = made["a"]
    assert count == 20
    wanted = np.mean([decode(data).astype(np.float64) for data in images], axis=0)
    with Image.open(io.BytesIO(small.webp)) as webp:
        assert np.abs(np.asarray(webp.convert("RGB"), np.float64) - wanted).mean() < 3


@given(st.lists(st.floats(0, 1), min_size=1, max_size=200))
def test_a_histogram_counts_every_value_once(values: list[float]) -> None:
    found = histogram("brightness", np.array(values), {})
    assert sum(found.counts) == len(values)
    assert len(found.edges) == len(found.counts) + 1
    inside = [sum(low <= v < high for v in values) for low, high in zip(found.edges, found.edges[1:], strict=False)]
    inside[-1] += sum(v == found.edges[-1] for v in values)
    assert inside == list(found.counts)


def test_histograms_of_qualities_and_of_bytes() -> None:
    quality = histogram("jpeg_quality", np.array([75.0] * 9 + [80, 90]), {})
    assert dict(zip((np.array(quality.edges[:-1]) + 0.5).astype(int), quality.counts, strict=True))[75] == 9
    assert sum(quality.counts) == 11
    sizes = histogram("bytes", np.geomspace(10, 1e6, 1000), {})
    assert sizes.logarithmic
    assert min(sizes.counts) >= 1000 // len(sizes.counts) - 2
    assert not histogram("bytes", np.linspace(10, 30, 100), {}).logarithmic


def test_distributions_by_class_and_what_cannot_be_drawn() -> None:
    images = pl.DataFrame({"brightness": [0.1, 0.2, None, 0.9, float("nan")], "bytes": [None] * 5, "grey": [True] * 5},
                          schema_overrides={"bytes": pl.Int64})  # fmt: skip
    labels = np.array(["a", "a", "a", "b", "b"], object)
    (only,) = distributions(images, labels, ["a", "b", "never"])
    assert only.measure == "brightness"
    assert sum(only.counts) == 3
    assert list(only.by_class) == ["a", "b"]
    assert only.by_class["a"] == pytest.approx(Spread(0.105, 0.15, 0.195))
    assert only.by_class["b"] == Spread(0.9, 0.9, 0.9)
    assert numbers(images, "grey") is None


def test_sizes_are_counted_and_thinned() -> None:
    rng = np.random.default_rng(0)
    sides = rng.integers(10, 13, (500, 2))
    frame = {"width": sides[:, 0], "height": sides[:, 1], "fault": [None] * 499 + ["truncated"]}
    found = size_points(pl.DataFrame(frame, schema_overrides={"fault": pl.String}))
    counts = Counter(map(tuple, sides[:499].tolist()))
    assert {(w, h): n for w, h, n in found.points} == counts
    assert found.distinct == len(counts)
    assert [n for *_, n in found.points] == sorted(counts.values(), reverse=True)
    many = pl.DataFrame({"width": np.arange(1, 5001), "height": 7, "fault": pl.Series([None] * 5000, dtype=pl.String)})
    assert (len(size_points(many).points), size_points(many).distinct) == (2000, 5000)


def test_shortcuts_tell_each_class() -> None:
    images = pl.DataFrame({
        "bytes": [10, 20, 30, 400], "width": [4, 4, 4, 8], "height": [2, 2, 2, 2], "icc": [True, True, False, False],
        "format": ["jpeg", "png", "png", "png"],
    })  # fmt: skip
    labels = np.array(["a", "a", "b", "b"], object)
    tests = [
        {"property": p, "score": 0.9, "chance": 0.5, "p": 0.002, "p_corrected": 0.01, "label": "b"}
        for p in ("bytes", "aspect", "icc", "format", "gone", "jpeg_quality")
    ]
    found = shortcuts(
        tests, ["aspect alone tells b", "icc alone tells b", "jpeg quality alone tells b"], images, labels, ["a", "b"]
    )
    by_name = {s.measure: s for s in found}
    assert by_name["bytes"].by_class["b"].median == 215
    assert by_name["aspect"].by_class["b"].median == 3
    assert by_name["icc"].shares == {"a": {"yes": 1.0}, "b": {"no": 1.0}}
    assert by_name["format"].shares == {"a": {"JPEG": 0.5, "PNG": 0.5}, "b": {"PNG": 1.0}}
    assert [s.evidence for s in found] == [
        "", "aspect alone tells b", "icc alone tells b", "", "", "jpeg quality alone tells b",
    ]  # fmt: skip
    assert (by_name["gone"].by_class, by_name["gone"].shares) == ({}, {})


def test_one_image_in_words() -> None:
    row = {"id": "a", "image": "a", "width": 1024, "height": 7, "bytes": 2345, "format": "jpeg", "alpha": False,
           "brightness": 0.456, "mean_r": 0.1, "mean_g": 0.2, "mean_b": None, "mtime": 0.0, "phash": 1 << 63,
           "sharpness": float("nan"), "reason": "one\ntwo", "likely": "x", "group": None}  # fmt: skip
    names = fields(pl.DataFrame([row], schema_overrides={"mean_b": pl.Float64, "group": pl.String, "phash": pl.UInt64}))
    told = dict(zip(names, facts(row, names), strict=True))
    assert told == {
        "size": "1,024 × 7", "bytes": "2.3 kB", "format": "JPEG", "brightness": "0.46", "sharpness": "", "mean": "",
        "mtime": "1970-01-01 00:00", "group": "", "image": "", "alpha": "no", "phash": "8000000000000000",
        "reason": "one\\ntwo",
    }  # fmt: skip
    assert memory({"files_bytes": 3, "gpu_free_bytes": None, "fits": "all"}) == {"the files": 3}
    assert forms(pl.DataFrame({"format": ["png", "png", None], "alpha": [True, False, False]})) == {
        "format": {"PNG": 2}, "alpha": {"no": 2, "yes": 1},
    }  # fmt: skip


def test_ten_thousand_noisy_images_stay_below_ten_megabytes(tmp_path: Path) -> None:
    """Noise is the heaviest there is to draw; every kind of finding, five classes, pairs and groups."""
    rng = np.random.default_rng(0)
    (tmp_path / "set").mkdir()
    for i in range(40):
        Image.fromarray(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)).save(tmp_path / "set" / f"{i}.jpg")
    table = open_table(tmp_path / "set")
    small = audit(table)
    ids = [f"class {i % 5}/{i:05d}.jpg" for i in range(10_000)]
    images = pl.concat([small.images] * 250).with_columns(
        pl.Series("id", ids), pl.Series("group", [ids[i // 2 * 2] for i in range(10_000)])
    )
    rows = pl.concat([table.rows] * 250).with_columns(
        pl.Series("id", ids), pl.Series("label", [i.split("/")[0] for i in ids])
    )
    kinds = ("dark", "bright", "blurry", "grey", "low-contrast", "suspect-label", "alpha", "odd-size", "leakage")
    found = to_frame([Finding(k, [ids[i], ids[i + 1]] if k == "leakage" else [ids[i]], 0.5 + i, f"evidence {i}")
                      for n, k in enumerate(kinds) for i in range(n * 400, n * 400 + 400)])  # fmt: skip
    table = Table(rows, table.root, tuple(f"class {i}" for i in range(5)))
    big = Audit(images, found, {**small.summary, "images": 10_000, "findings": dict.fromkeys(kinds, 400)})
    path = audit_report(big, table, tmp_path / "report.html")
    html = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 10_000_000
    assert html.count("data:image/webp") > 150
    assert html.count('<span class="noimage" role="img"') == 0
    assert "and 348 more in findings.parquet" in html  # of 400 of a kind, twelve are shown and forty told


def test_the_page_of_trashnet(data_dir: Path, tmp_path: Path) -> None:
    table = open_table(data_dir / "trashnet" / "split.csv")
    known = {"glass/glass176.jpg", "plastic/plastic152.jpg", "glass/glass389.jpg", "plastic/plastic332.jpg",
             "glass/glass115.jpg", "metal/metal91.jpg"}  # fmt: skip
    others = table.rows.filter(~pl.col("id").is_in(sorted(known)))["id"].to_list()[::12]
    table = table.take(pl.col("id").is_in([*known, *others]))
    content = gather(found := audit(table), table, 2)
    assert {frozenset(row.keys) for row in content.kinds["conflicting-labels"].shown} == {
        frozenset(ids) for ids in found.of("conflicting-labels")["ids"]
    }
    assert {s.title for s in content.sheets} == {"cardboard", "glass", "metal", "paper", "plastic", "trash"}
    assert content.sizes.distinct == 1
    assert all(image.picture.webp for image in content.shown.values())
    html = audit_report(found, table, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "The same image stands in two splits (2 pairs) and under two labels (3 pairs)" in html
    assert "All images are 384 × 512." in html
