from __future__ import annotations

from pathlib import Path

import bad_images as bad
import numpy as np
import polars as pl
import pytest

from anmok.audit.config import AuditConfig
from anmok.audit.files import extension, names, sizes
from anmok.audit.scan import scan
from anmok.data.sources import open_table


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
        "a": (40, 40), "b": (40, 40), "c": (40, 40), "large": (200, 200), "small": (8, 8), "thin": (7, 30),
        "wide": (30, 91),
    }  # fmt: skip
    for name, shape in shapes.items():
        (tmp_path / f"{name}.png").write_bytes(bad.encode(bad.photo(*shape), "PNG"))
    images = scan(open_table(tmp_path)).images
    found = [(f.kind, f.ids[0], round(f.score, 3)) for f in sizes(images, AuditConfig())]
    assert found == [
        ("odd-size", "large.png", 5.0), ("odd-size", "small.png", 0.2),
        ("odd-size", "thin.png", round(np.sqrt(210) / 40, 3)),
        ("odd-aspect", "thin.png", round(30 / 7, 3)), ("odd-aspect", "wide.png", round(91 / 30, 3)),
    ]  # fmt: skip
    assert not list(sizes(images, AuditConfig(min_side=1, size_ratio=10, aspect=5)))


def test_small_pictures_are_not_odd_where_all_are_small(tmp_path: Path) -> None:
    for i in range(5):
        (tmp_path / f"{i}.png").write_bytes(bad.encode(bad.photo(32, 32, seed=i), "PNG"))
    assert not list(sizes(scan(open_table(tmp_path)).images, AuditConfig()))


def test_odd_names_and_names_that_differ_by_case_only() -> None:
    ids = [
        "cat/1.png", "cat/a\nb.png", "=cmd|calc.png", "cat/@sum.png", "bytes:cat/%ff.png", f"cat/{'한' * 86}.png",
        "Cat/1.PNG", "cat/1-2=3.png", f"{'long/' * 60}1.png", "CAT/1.png",
    ]  # fmt: skip
    found = list(names(pl.DataFrame({"id": ids})))
    assert sorted((f.ids[0], f.evidence) for f in found if f.kind == "odd-name") == sorted([
        ("cat/a\nb.png", "a control character in its name"),
        ("=cmd|calc.png", "its name starts as a formula does"),
        ("cat/@sum.png", "its name starts as a formula does"),
        ("bytes:cat/%ff.png", "its name is no valid text"),
        (f"cat/{'한' * 86}.png", "its name is longer than 255 bytes"),
    ])  # fmt: skip
    assert [f.ids for f in found if f.kind == "name-collision"] == [
        ["cat/1.png", "Cat/1.PNG"],
        ["cat/1.png", "CAT/1.png"],
    ]
