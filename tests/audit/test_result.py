from __future__ import annotations

import json
from pathlib import Path

import bad_images as bad
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from anmok.audit.config import AuditConfig
from anmok.audit.result import Audit, audit, conclude, unsafe
from anmok.audit.scan import scan
from anmok.data.sources import open_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label in ("cat", "<b>dog</b>"):
        (tmp_path / "set" / label.replace("/", "∕")).mkdir(parents=True)
        for i in range(3):
            data = bad.encode(bad.photo(10, 20, seed=i + 7 * len(label)), "PNG")
            (tmp_path / "set" / label.replace("/", "∕") / f"{i}.png").write_bytes(data)
    return tmp_path / "set"


def test_saved_files_have_the_agreed_keys(folder: Path, tmp_path: Path) -> None:
    found = audit(open_table(folder))
    out = found.save(tmp_path / "out")
    summary = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    assert list(summary) == ["images", "classes", "findings", "normalization", "memory", "shortcuts", "seconds"]
    assert (summary["images"], sum(summary["classes"].values())) == (6, 6)
    assert len(summary["normalization"]["mean"]) == len(summary["normalization"]["std"]) == 3
    sizes = summary["memory"]
    assert sizes["files_bytes"] == sum(p.stat().st_size for p in folder.rglob("*.png"))
    assert (sizes["uint8_bytes"], sizes["float32_bytes"]) == (6 * 10 * 20 * 3, 6 * 10 * 20 * 3 * 4)
    assert_frame_equal(pl.read_parquet(out / "images.parquet"), found.images)
    findings = pl.read_parquet(out / "findings.parquet")
    assert findings.columns == ["kind", "ids", "score", "evidence", "decision"]
    assert findings.height == sum(summary["findings"].values())
    assert {"id", "image", "group", "grey", "width", "height"} <= set(found.images.columns)


def test_parts_conclude_as_the_whole_does(folder: Path) -> None:
    table = open_table(folder)
    parts = scan(table.take(range(2))) + scan(table.take(range(2, 6)))
    whole, summed = audit(table), conclude(parts, table, AuditConfig())
    assert_frame_equal(whole.images, summed.images)
    assert_frame_equal(whole.findings, summed.findings)
    free = {"ram_free_bytes": 0, "fits": ""}  # changes from moment to moment
    one, two = ({**s, "seconds": 0, "memory": s["memory"] | free} for s in (whole.summary, summed.summary))
    assert one == two


def test_prints_as_text_and_as_escaped_html(folder: Path) -> None:
    found = audit(open_table(folder))
    assert "Audit: nothing makes training unsafe" in repr(found)
    assert "tiny-class" in repr(found)
    assert "<b>" not in found._repr_html_()
    assert "&lt;b&gt;dog" in found._repr_html_()


def test_a_set_without_one_readable_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"not an image")
    found = audit(open_table(tmp_path))
    assert found.summary["normalization"] == {"mean": None, "std": None}
    sizes = found.summary["memory"]
    assert [sizes[f"{form}_bytes"] for form in ("files", "uint8", "float32", "decoded_256")] == [12, 0, 0, 0]
    assert "unreadable" in repr(found)


def test_a_property_that_tells_the_label_is_in_the_summary_and_among_the_findings(tmp_path: Path) -> None:
    for i in range(40):
        label, quality = (("cat", 60), ("dog", 90))[i % 2]
        (tmp_path / label).mkdir(exist_ok=True)
        (tmp_path / label / f"{i}.jpg").write_bytes(bad.encode(bad.photo(seed=i), "JPEG", quality=quality))
    found = audit(open_table(tmp_path))
    tested = {row["property"]: row for row in found.summary["shortcuts"]}
    assert tested["jpeg_quality"]["score"] == 1
    assert tested["jpeg_quality"]["chance"] == pytest.approx(0.5, abs=0.05)
    assert any(text.startswith("jpeg_quality alone tells") for text in found.of("shortcut")["evidence"])
    json.dumps(found.summary)


def test_a_picture_is_grey_by_the_threshold_of_the_finding(folder: Path) -> None:
    assert not audit(open_table(folder)).images["grey"].any()
    assert audit(open_table(folder), config=AuditConfig(grey=1)).images["grey"].all()


def test_trashnet_has_three_conflicts_and_two_leaks(data_dir: Path) -> None:
    table = open_table(data_dir / "trashnet" / "split.csv")
    known = {"glass/glass176.jpg", "plastic/plastic152.jpg", "glass/glass389.jpg", "plastic/plastic332.jpg",
             "glass/glass115.jpg", "metal/metal91.jpg"}  # fmt: skip
    import polars as pl

    rest = table.rows.filter(~pl.col("id").is_in(sorted(known)))["id"].to_list()[::20]
    found: Audit = audit(table.take(pl.col("id").is_in([*sorted(known), *rest])))

    def pairs(kind: str) -> set[frozenset[str]]:
        return {frozenset(Path(i).stem for i in ids) for ids in found.of(kind)["ids"]}

    conflicts = {
        frozenset(p) for p in (("glass176", "plastic152"), ("glass389", "plastic332"), ("glass115", "metal91"))
    }
    assert pairs("conflicting-labels") == pairs("exact-duplicate") == conflicts
    assert pairs("leakage") == conflicts - {frozenset(("glass115", "metal91"))}
    assert unsafe(found) == "leakage (2), conflicting-labels (3)"
