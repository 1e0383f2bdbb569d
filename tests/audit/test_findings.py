from __future__ import annotations

import os
import unicodedata
import zipfile
from collections import defaultdict
from pathlib import Path

import bad_images as bad
import pytest

from anmok.audit.config import AuditConfig
from anmok.audit.findings import to_frame
from anmok.audit.kinds import FAULTS, KINDS, UNSAFE, decision
from anmok.audit.result import Audit, audit, unsafe
from anmok.core.errors import DataError
from anmok.core.types import Finding
from anmok.data.config import DataConfig
from anmok.data.sources import open_table

# What the pixels of the made-up pictures show is tested in test_quality.py, what they share in test_duplicates.py.
OF_PIXELS = {"dark", "bright", "low-contrast", "blurry", "low-information", "grey"}
OF_PAIRS = {"exact-duplicate", "exact-pixels", "near-duplicate"}


def kinds_by_image(found: Audit) -> dict[str, set[str]]:
    out: dict[str, set[str]] = defaultdict(set)
    for kind, ids in found.findings.select("kind", "ids").iter_rows():
        for name in ids:
            out[Path(name).name].add(kind)
    return out


def write(path: Path, seed: int, form: str = "PNG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bad.encode(bad.photo(seed=seed), form))
    return path


def test_rows_1_to_15_a_folder_of_bad_files_every_kind_found_named_and_counted(tmp_path: Path) -> None:
    expected = bad.build(tmp_path / "things")
    (tmp_path / "things" / ".hidden").write_bytes(b"x")
    (tmp_path / "things" / "Thumbs.db").write_bytes(b"x")
    found = audit(open_table(tmp_path), config=AuditConfig(size_ratio=1000))
    by_image = kinds_by_image(found)
    for name, odd in expected.items():
        wanted = {odd.code, *odd.kinds} - {""}
        got = by_image[name] - OF_PAIRS - OF_PIXELS
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
    assert set(found.summary["findings"]) <= set(KINDS)
    for kind in FAULTS[:-1]:
        assert set(found.of(kind)["decision"]) == {"drop"}


def test_row_17_a_class_of_one_image_is_told(tmp_path: Path) -> None:
    for i in range(12):
        write(tmp_path / "many" / f"{i}.png", i)
    write(tmp_path / "one" / "1.png", 20)
    found = audit(open_table(tmp_path))
    assert found.of("tiny-class").select("ids", "evidence").rows() == [(["one/1.png"], "one: 1 image")]
    assert found.summary["classes"] == {"many": 12, "one": 1}


def test_row_21_what_the_system_does_not_give_is_listed_with_its_reason_and_the_scan_goes_on(tmp_path: Path) -> None:
    for i, name in enumerate(("a", "b", "c", "d")):
        write(tmp_path / f"{name}.png", i)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    table = open_table(tmp_path)
    (tmp_path / "b.png").unlink()
    (tmp_path / "c.png").unlink()
    (tmp_path / "c.png").mkdir()
    found = audit(table)
    reasons = {ids[0]: reason for ids, reason in found.of("io-error").select("ids", "evidence").iter_rows()}
    assert set(reasons) == {"b.png", "c.png", "gone.png"}
    assert "errno 2" in reasons["b.png"]
    assert "Is a directory" in reasons["c.png"]
    assert "errno 2" in reasons["gone.png"]
    assert found.images["fault"].to_list() == [None, "io-error", "io-error", None]
    assert set(found.of("io-error")["decision"]) == {"drop"}


def test_row_21_a_folder_that_cannot_be_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cat/1.png", "cat/2.png", "locked/3.png"):
        write(tmp_path / name, len(name) + int(name[-5]))
    listed = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = audit(open_table(tmp_path))
    assert found.of("io-error").select("ids", "evidence").rows() == [(["locked"], "Permission denied (errno 13)")]
    assert found.summary["images"] == 2


def test_row_22_loops_and_links_that_lead_outside(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write(root / "cat" / "1.png", 1)
    write(root / "dog" / "2.png", 2)
    outside = write(tmp_path / "elsewhere" / "3.png", 3)
    (root / "cat" / "loop").symlink_to(root)
    (root / "cat" / "out.png").symlink_to(outside)
    (root / "dog" / "far").symlink_to(outside.parent)
    found = audit(open_table(root))
    assert sorted(ids[0] for ids in found.of("outside-link")["ids"]) == ["cat/out.png", "dog/far"]
    assert found.of("skipped")["ids"].to_list() == [["cat/loop"]]
    assert found.summary["images"] == 2
    followed = audit(open_table(root, DataConfig(allow_links=True)))
    assert followed.of("outside-link").height == 0
    assert followed.summary["images"] == 4


def test_rows_23_and_26_names_that_differ_by_case_and_odd_ones(tmp_path: Path) -> None:
    odd = ("=cmd.png", "new\nline.png", os.fsdecode(b"\xff\xfe.png"), "<b>.png")
    for i, name in enumerate(("a.png", "A.png", *odd)):
        write(tmp_path / "cat" / name, i)
        write(tmp_path / "dog" / f"{i}.png", 20 + i)
    found = audit(open_table(tmp_path))
    assert [sorted(ids) for ids in found.of("name-collision")["ids"]] == [["cat/A.png", "cat/a.png"]]
    told = {ids[0]: text for ids, text in found.of("odd-name").select("ids", "evidence").iter_rows()}
    assert told == {
        "cat/=cmd.png": "its name starts as a formula does",
        "cat/new\nline.png": "a control character in its name",
        "bytes:cat/%FF%FE.png": "its name is no valid text",
    }
    assert found.images["fault"].is_null().all()
    assert "<b>" not in found._repr_html_()


def test_row_24_names_of_two_forms(tmp_path: Path) -> None:
    name = "고양이.png"
    for form in ("NFC", "NFD"):
        write(tmp_path / form / "cat" / unicodedata.normalize(form, name), 1)
        found = audit(open_table(tmp_path / form))
        assert found.images.select("id", "fault").rows() == [(f"cat/{name}", None)]
    write(tmp_path / "NFC" / "cat" / unicodedata.normalize("NFD", name), 2)
    with pytest.raises(DataError, match="NFC") as caught:
        open_table(tmp_path / "NFC")
    assert caught.value.code == "name-collision"


def test_row_25_a_name_longer_than_any_file_system_takes(tmp_path: Path) -> None:
    long = f"cat/{'x' * 300}.png"
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for i, name in enumerate((long, "cat/2.png", "dog/3.png")):
            archive.writestr(name, bad.encode(bad.photo(seed=i), "PNG"))
    found = audit(open_table(tmp_path / "set.zip"))
    assert found.of("odd-name").select("ids", "evidence").rows() == [([long], "its name is longer than 255 bytes")]
    assert found.images["fault"].is_null().all()
    found.save(tmp_path / "out")


def test_row_27_a_list_with_bom_code_page_and_semicolons(tmp_path: Path) -> None:
    for i, name in enumerate(("개.png", "고양이.png")):
        write(tmp_path / name, i)
    for encoding in ("utf-8-sig", "cp949"):
        text = "image;label\r\n개.png;개\r\n고양이.png;고양이\r\n"
        (tmp_path / "set.csv").write_bytes(text.encode(encoding))
        found = audit(open_table(tmp_path / "set.csv"))
        assert found.summary["classes"] == {"개": 1, "고양이": 1}
        assert found.images["fault"].is_null().all()


def csv(folder: Path, rows: list[tuple[str, str, str]], seeds: dict[str, int]) -> Path:
    for name, seed in seeds.items():
        write(folder / name, seed)
    path = folder / "set.csv"
    path.write_text("image,label,split\n" + "".join(f"{','.join(row)}\n" for row in rows))
    return path


def test_rows_18_and_20_duplicates_conflicts_and_leaks(tmp_path: Path) -> None:
    rows = [
        ("a.png", "x", "train"), ("b.png", "x", "train"), ("c.png", "y", "train"), ("d.png", "x", "test"),
        ("e.png", "y", "test"),
    ]  # fmt: skip
    found = audit(open_table(csv(tmp_path, rows, {"a.png": 1, "b.png": 1, "c.png": 1, "d.png": 2, "e.png": 3})))
    assert [sorted(ids) for ids in found.of("exact-duplicate")["ids"]] == [["a.png", "b.png"], ["a.png", "c.png"]]
    assert [sorted(ids) for ids in found.of("conflicting-labels")["ids"]] == [["a.png", "c.png"]]
    assert found.of("leakage").height == 0
    assert unsafe(found) == "conflicting-labels (1)"
    assert found.images["group"].to_list() == ["a.png", "a.png", "a.png", None, None]
    assert set(found.of("exact-duplicate")["decision"]) == {"group"}
    assert set(found.of("conflicting-labels")["decision"]) == {"drop"}


def test_row_18_leakage_across_a_given_split_is_unsafe(tmp_path: Path) -> None:
    rows = [("a.png", "x", "train"), ("b.png", "x", "test"), ("c.png", "y", "train")]
    found = audit(open_table(csv(tmp_path, rows, {"a.png": 1, "b.png": 1, "c.png": 2})))
    assert found.of("leakage").select("evidence", "decision").rows() == [("train / test", "group")]
    assert unsafe(found)


def test_empty_files_are_no_duplicates(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    table = open_table(tmp_path)
    found = audit(table)
    assert found.summary["findings"] == {"empty": 2, "unlabelled": 2}
    assert found.images["group"].null_count() == 2
    assert not unsafe(found)


def test_blank_labels_are_unlabelled(tmp_path: Path) -> None:
    rows = [("a.png", "x", "train"), ("b.png", "", "train"), ("c.png", "y", "test")]
    table = open_table(csv(tmp_path, rows, {"a.png": 1, "b.png": 2, "c.png": 3}), DataConfig(allow_unlabelled=True))
    assert audit(table).of("unlabelled")["ids"].to_list() == [["b.png"]]


def test_multilabel_conflicts_and_tiny_classes(tmp_path: Path) -> None:
    rows = [("a.png", "x;y", "train"), ("b.png", "y", "train"), ("c.png", "x;y", "train")]
    found = audit(open_table(csv(tmp_path, rows, {"a.png": 1, "b.png": 1, "c.png": 3})))
    assert found.of("conflicting-labels").height == 1
    tiny = dict(found.of("tiny-class").select("evidence", "ids").iter_rows())
    assert tiny == {"x: 2 images": ["a.png", "c.png"], "y: 3 images": ["a.png", "b.png", "c.png"]}
    assert found.summary["shortcuts"] == []


def test_every_kind_is_explained_and_has_a_decision() -> None:
    agreed = """
        unreadable truncated empty wrong-extension exact-duplicate exact-pixels near-duplicate conflicting-labels
        leakage dark bright low-contrast blurry low-information odd-size odd-aspect grey bit-depth alpha rotated
        animated imbalance tiny-class unlabelled shortcut suspect-label too-large colour-mode bad-profile skipped
        unsupported-format io-error outside-link name-collision odd-name
    """
    assert set(KINDS) == set(agreed.split())
    assert all(kind.text.endswith(".") and len(kind.text) < 120 for kind in KINDS.values())
    assert {name for name, kind in KINDS.items() if kind.unsafe} == set(UNSAFE)
    assert {name for name, kind in KINDS.items() if kind.decision == "drop"} == {*FAULTS, "conflicting-labels"}
    assert decision("something of later") == "keep"


def test_a_finding_keeps_the_decision_it_has() -> None:
    frame = to_frame([
        Finding("suspect-label", ["a"], 0.9, "", "relabel:cat"), Finding("suspect-label", ["b"], 0.8, ""),
        Finding("empty", ["c"], 1.0, ""),
    ])  # fmt: skip
    assert frame["decision"].to_list() == ["relabel:cat", "keep", "drop"]
