from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import bad_images as bad
import numpy as np
import pytest

from anmok.audit.config import AuditConfig
from anmok.audit.findings import extension, groups, sizes
from anmok.audit.result import Audit, audit, unsafe
from anmok.audit.scan import scan
from anmok.data.sources import open_table


def kinds_by_image(found: Audit) -> dict[str, set[str]]:
    out: dict[str, set[str]] = defaultdict(set)
    for kind, ids in found.findings.select("kind", "ids").iter_rows():
        for name in ids:
            out[Path(name).name].add(kind)
    return out


def test_a_folder_of_bad_files_every_kind_found_named_and_counted(tmp_path: Path) -> None:
    expected = bad.build(tmp_path / "things")
    (tmp_path / "things" / ".hidden").write_bytes(b"x")
    (tmp_path / "things" / "Thumbs.db").write_bytes(b"x")
    found = audit(open_table(tmp_path), config=AuditConfig(size_ratio=1000))
    by_image = kinds_by_image(found)
    for name, odd in expected.items():
        wanted = {odd.code, *odd.kinds} - {""}
        got = by_image[name] - {"exact-duplicate"}
        if name not in found.images["image"].map_elements(lambda i: Path(i).name, str).to_list():
            assert got == {"unsupported-format"}, name  # the source has left it out, and told why
        elif odd.code:
            assert odd.code in got, (name, got)
        else:
            assert got == wanted, name
    total: dict[str, int] = defaultdict(int)
    for odd in expected.values():
        for kind in {odd.code, *odd.kinds} - {""}:
            total[kind] += 1
    for kind, n in total.items():
        assert found.summary["findings"][kind] == n, kind
    assert found.summary["images"] == found.images.height
    assert found.images.filter(found.images["fault"].is_null()).height >= 20


def test_a_file_that_cannot_be_opened_is_an_io_error_and_the_scan_goes_on(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(bad.encode(bad.photo(), "PNG"))
    (tmp_path / "b.png").write_bytes(bad.encode(bad.photo(seed=1), "PNG"))
    (tmp_path / "c.png").write_bytes(bad.encode(bad.photo(seed=2), "PNG"))
    table = open_table(tmp_path)
    (tmp_path / "b.png").unlink()
    found = audit(table)
    assert found.of("io-error")["ids"].to_list() == [["b.png"]]
    assert found.images["fault"].to_list() == [None, "io-error", None]


def csv(folder: Path, rows: list[tuple[str, str, str]], seeds: dict[str, int]) -> Path:
    for name, seed in seeds.items():
        (folder / name).write_bytes(bad.encode(bad.photo(seed=seed), "PNG"))
    path = folder / "set.csv"
    path.write_text("image,label,split\n" + "".join(f"{','.join(row)}\n" for row in rows))
    return path


def test_duplicates_conflicts_and_leaks(tmp_path: Path) -> None:
    rows = [
        ("a.png", "x", "train"),
        ("b.png", "x", "train"),
        ("c.png", "y", "train"),
        ("d.png", "x", "test"),
        ("e.png", "y", "test"),
    ]
    found = audit(open_table(csv(tmp_path, rows, {"a.png": 1, "b.png": 1, "c.png": 1, "d.png": 2, "e.png": 3})))
    assert [sorted(ids) for ids in found.of("exact-duplicate")["ids"]] == [["a.png", "b.png"], ["a.png", "c.png"]]
    assert [sorted(ids) for ids in found.of("conflicting-labels")["ids"]] == [["a.png", "c.png"]]
    assert found.of("leakage").height == 0
    assert unsafe(found) == "conflicting-labels (1)"
    assert found.images["group"].to_list() == ["a.png", "a.png", "a.png", None, None]


def test_leakage_across_a_given_split_is_unsafe(tmp_path: Path) -> None:
    rows = [("a.png", "x", "train"), ("b.png", "x", "test"), ("c.png", "y", "train")]
    found = audit(open_table(csv(tmp_path, rows, {"a.png": 1, "b.png": 1, "c.png": 2})))
    assert found.of("leakage")["evidence"].to_list() == ["train / test"]
    assert unsafe(found)


def test_empty_files_are_no_duplicates(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    table = open_table(tmp_path)
    found = audit(table)
    assert found.summary["findings"] == {"empty": 2, "unlabelled": 2}
    assert groups(scan(table).images).null_count() == 2
    assert not unsafe(found)


@pytest.mark.parametrize(
    ("reference", "ending"),
    [
        ("cat/1.JPG", "jpg"), ("a/photo.2020", ""), ("no-extension", ""), ("zip:a.zip#cat/1.png", "png"),
        ("tar:x.tar#512+100", ""), ("parquet:train.parquet#7", ""), ("bytes:%ff.jpeg", "jpeg"), (".hidden", ""),
    ],
)  # fmt: skip
def test_extension_of_a_reference(reference: str, ending: str) -> None:
    assert extension(reference) == ending


def test_sizes_by_hand(tmp_path: Path) -> None:
    shapes = {
        "a": (40, 40),
        "b": (40, 40),
        "c": (40, 40),
        "large": (200, 200),
        "small": (8, 8),
        "thin": (7, 30),
        "wide": (30, 91),
    }
    for name, shape in shapes.items():
        (tmp_path / f"{name}.png").write_bytes(bad.encode(bad.photo(*shape), "PNG"))
    table = open_table(tmp_path)
    found = [(f.kind, f.ids[0], round(f.score, 3)) for f in sizes(scan(table).images, AuditConfig())]
    assert found == [
        ("odd-size", "large.png", 5.0), ("odd-size", "small.png", 0.2),
        ("odd-size", "thin.png", round(np.sqrt(210) / 40, 3)),
        ("odd-aspect", "thin.png", round(30 / 7, 3)), ("odd-aspect", "wide.png", round(91 / 30, 3)),
    ]  # fmt: skip
    assert not list(sizes(scan(table).images, AuditConfig(min_side=1, size_ratio=10, aspect=5)))


def test_balance(tmp_path: Path) -> None:
    for label, n in (("many", 45), ("some", 12), ("one", 1)):
        (tmp_path / label).mkdir()
        for i in range(n):
            (tmp_path / label / f"{i}.png").write_bytes(
                bad.encode(bad.photo(9, 9, seed=hash((label, i)) % 2**32), "PNG")
            )
    found = audit(open_table(tmp_path))
    assert found.summary["classes"] == {"many": 45, "one": 1, "some": 12}
    assert found.of("tiny-class")["ids"].to_list() == [["one/0.png"]]
    assert found.of("imbalance")["score"].to_list() == [45.0]
    assert audit(open_table(tmp_path), config=AuditConfig(tiny_class=1, imbalance=45)).findings.height == 0


def test_blank_labels_are_unlabelled(tmp_path: Path) -> None:
    rows = [("a.png", "x", "train"), ("b.png", "", "train"), ("c.png", "y", "test")]
    from anmok.data.config import DataConfig

    table = open_table(csv(tmp_path, rows, {"a.png": 1, "b.png": 2, "c.png": 3}), DataConfig(allow_unlabelled=True))
    assert audit(table).of("unlabelled")["ids"].to_list() == [["b.png"]]


def test_multilabel_conflicts_and_tiny_classes(tmp_path: Path) -> None:
    rows = [("a.png", "x;y", "train"), ("b.png", "y", "train"), ("c.png", "x;y", "train")]
    found = audit(open_table(csv(tmp_path, rows, {"a.png": 1, "b.png": 1, "c.png": 3})))
    assert found.of("conflicting-labels").height == 1
    tiny = dict(found.of("tiny-class").select("evidence", "ids").iter_rows())
    assert tiny == {"x: 2 images": ["a.png", "c.png"], "y: 3 images": ["a.png", "b.png", "c.png"]}
