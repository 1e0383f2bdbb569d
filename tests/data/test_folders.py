from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anmok.core.errors import DataError
from anmok.data.config import DataConfig
from anmok.data.folders import files_by_split
from anmok.data.sources import open_table

Folder = Callable[..., Path]


def labels(table: Any) -> dict[str, str | None]:
    return dict(table.rows.select("id", "label").iter_rows())


def splits(table: Any) -> dict[str, str | None]:
    return dict(table.rows.select("id", "split").iter_rows())


def kinds(table: Any) -> dict[str, str]:
    return {reject.id: reject.kind for reject in table.rejects}


def said(table: Any) -> str:
    return "\n".join(table.notes)


def test_class_folders(folder: Folder) -> None:
    table = open_table(folder("dog/1.png", "cat/1.png", "cat/deep/2.png", "bird/1.png"))
    assert labels(table) == {"bird/1.png": "bird", "cat/1.png": "cat", "cat/deep/2.png": "cat", "dog/1.png": "dog"}
    assert table.classes == ("bird", "cat", "dog")
    assert table.reason == "multiclass: 3 labels, one per image"
    assert "deeper" in said(table)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev", "Validation"])
def test_split_folders(folder: Folder, name: str) -> None:
    table = open_table(folder("train/cat/1.png", "train/dog/2.png", f"{name}/cat/3.png", "test/dog/4.png"))
    assert sorted(splits(table).values(), key=str) == ["test", "train", "train", "val"]
    assert table.classes == ("cat", "dog")


def test_a_class_may_be_called_train(folder: Folder) -> None:
    table = open_table(folder("train/1.png", "bus/2.png"))
    assert table.classes == ("bus", "train")
    assert table.rows["split"].null_count() == 2


def test_flat_folder_has_no_labels(folder: Folder) -> None:
    table = open_table(folder("1.png", "2.png"))
    assert labels(table) == {"1.png": None, "2.png": None}
    assert table.reason == "no labels"
    assert table.targets().tolist() == [-1, -1]


def test_unlabelled_test_beside_labelled_train(folder: Folder) -> None:
    table = open_table(folder("train/cat/1.png", "train/dog/2.png", "test/3.png"))
    assert labels(table)["test/3.png"] is None
    assert splits(table)["test/3.png"] == "test"
    assert "1 of 3 images have no label" in said(table)


def test_one_folder_around_everything(folder: Folder) -> None:
    table = open_table(folder("data/cat/1.png", "data/dog/2.png"))
    assert table.classes == ("cat", "dog")
    assert "data/" in said(table)


def test_folders_win_over_a_stray_list(folder: Folder) -> None:
    root = folder("cat/1.png", "dog/2.png")
    (root / "labels.csv").write_text("image,label\ncat/1.png,dog\n")
    table = open_table(root)
    assert labels(table) == {"cat/1.png": "cat", "dog/2.png": "dog"}
    assert "labels.csv" in said(table)


def test_images_beside_class_folders_are_left_out(folder: Folder) -> None:
    table = open_table(folder("cat/1.png", "dog/2.png", "cover.png"))
    assert len(table) == 2
    assert kinds(table) == {"cover.png": "unlabelled"}


def test_row_12_system_files_skipped_and_counted_unnamed_ones_sniffed(folder: Folder, picture: Any) -> None:
    root = folder("cat/1.png", "dog/2.png")
    for name in (".DS_Store", "cat/._1.png", "cat/Thumbs.db", "dog/desktop.ini", "__MACOSX/cat/1.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    (root / "cat/unnamed").write_bytes(picture(7))
    (root / "cat/3.dat").write_bytes(picture(8, "JPEG"))
    (root / "cat/notes").write_bytes(b"no image")
    table = open_table(root)
    assert set(labels(table)) == {"cat/1.png", "cat/3.dat", "cat/unnamed", "dog/2.png"}
    assert "5 hidden or system files" in said(table)
    assert "cat/notes" in said(table)


def test_row_13_formats_that_are_never_opened(folder: Folder) -> None:
    root = folder("cat/1.png", "dog/2.png")
    (root / "cat/a.svg").write_bytes(b"<svg/>")
    (root / "cat/b").write_bytes(b"%PDF-1.4")
    (root / "cat/c.psd").write_bytes(b"8BPS")
    table = open_table(root)
    assert len(table) == 2
    assert set(kinds(table).values()) == {"unsupported-format"}
    assert len(table.rejects) == 3


def test_row_16_empty_class_folder(folder: Folder) -> None:
    root = folder("cat/1.png", "dog/2.png")
    (root / "bird").mkdir()
    with pytest.raises(DataError, match=r"1 class folder \(bird\) without any image.*--data.drop-empty") as caught:
        open_table(root)
    assert caught.value.code == "empty-class"
    table = open_table(root, DataConfig(drop_empty=True))
    assert table.classes == ("cat", "dog")
    assert "bird" in said(table)


def test_row_16_a_class_that_only_one_split_lacks_is_not_empty(folder: Folder) -> None:
    root = folder("train/cat/1.png", "train/dog/2.png", "test/cat/3.png")
    (root / "test/dog").mkdir()
    assert open_table(root).classes == ("cat", "dog")
    (root / "train/bird").mkdir()
    with pytest.raises(DataError, match="bird"):
        open_table(root)


def test_row_21_an_unreadable_folder_is_listed_and_the_scan_goes_on(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder("cat/1.png", "dog/2.png", "owl/3.png")
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if os.fspath(path).endswith("owl"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    (root / "cat/loop.png").symlink_to("loop.png")
    table = open_table(root)
    assert table.classes == ("cat", "dog")
    assert kinds(table) == {"owl": "io-error", "cat/loop.png": "io-error"}
    assert "Permission denied (errno 13)" in said(table)


def test_row_21_an_unreadable_file_is_noted_when_its_content_is_read(folder: Folder) -> None:
    root = folder("cat/1.png", "dog/2.png")
    table = open_table(root)
    (root / "cat/1.png").unlink()
    hashed = table.hashed()
    assert hashed.rows["hash"].null_count() == 1
    assert kinds(hashed) == {"cat/1.png": "io-error"}
    assert "No such file" in said(hashed)


def test_row_22_links(folder: Folder, tmp_path: Path, picture: Any) -> None:
    root = folder("cat/1.png", "dog/2.png")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "9.png").write_bytes(picture(9))
    (root / "cat/round").symlink_to(root)
    (root / "cat/twin").symlink_to(root / "dog")
    (root / "cat/out.png").symlink_to(outside / "9.png")
    (root / "dog/far").symlink_to(outside)
    (root / "dog/near.png").symlink_to("2.png")
    (root / "dog/broken.png").symlink_to("nowhere.png")
    table = open_table(root)
    assert set(labels(table)) == {"cat/1.png", "dog/2.png", "dog/near.png"}
    assert kinds(table) == {
        "cat/round": "skipped",
        "cat/twin": "skipped",
        "cat/out.png": "outside-link",
        "dog/far": "outside-link",
        "dog/broken.png": "io-error",
    }
    table = open_table(root, DataConfig(allow_links=True))
    assert set(labels(table)) == {"cat/1.png", "cat/out.png", "dog/2.png", "dog/far/9.png", "dog/near.png"}


def test_row_22_pipes_are_not_opened(folder: Folder) -> None:
    root = folder("cat/1.png", "dog/2.png")
    os.mkfifo(root / "cat/pipe.png")
    assert kinds(open_table(root)) == {"cat/pipe.png": "skipped"}


def test_row_23_names_that_differ_by_case_only(folder: Folder) -> None:
    table = open_table(folder("cat/a.png", "cat/A.png", "dog/1.png"))
    assert len(table) == 3
    assert "2 names (cat/A.png, cat/a.png) that differ by case only" in said(table)


def test_row_24_korean_names(folder: Folder) -> None:
    nfd = unicodedata.normalize("NFD", "고양이")
    table = open_table(folder(f"{nfd}/사진.png", "개/1.png"))
    assert table.classes == ("개", "고양이")
    assert table.rows["image"].to_list() != table.rows["id"].to_list()
    assert all(table.storage.read(image) for image in table.rows["image"])


def test_row_24_a_collision_is_an_error(folder: Folder) -> None:
    nfc, nfd = (unicodedata.normalize(form, "가") for form in ("NFC", "NFD"))
    with pytest.raises(DataError, match="stand for several images") as caught:
        open_table(folder(f"cat/{nfc}.png", f"cat/{nfd}.png", "dog/1.png"))
    assert caught.value.code == "name-collision"


def test_row_26_odd_names_survive(folder: Folder, picture: Any, tmp_path: Path) -> None:
    root = folder("cat/new\nline.png", "cat/=cmd.png", "dog/1.png", "dog/bytes:1.png")
    with open(os.fsencode(root) + b"/dog/\xff\xfe.png", "wb") as handle:  # noqa: PTH123
        handle.write(picture(77))
    table = open_table(root)
    assert "bytes:dog/%FF%FE.png" in labels(table)
    again = type(table).load(table.save(tmp_path / "t.parquet"))
    assert again.rows.equals(table.hashed().rows)
    assert [again.storage.read(i) for i in again.rows["image"]].count(picture(77)) == 1
    assert all(again.storage.size(i) == len(again.storage.read(i)) for i in again.rows["image"])
    assert "2 odd names" in said(table)


def test_row_26_a_class_folder_that_is_no_text(tmp_path: Path, picture: Any) -> None:
    for name in (b"caf\xe9", b"tea"):
        os.makedirs(os.fsencode(tmp_path) + b"/data/" + name)  # noqa: PTH103
        with open(os.fsencode(tmp_path) + b"/data/" + name + b"/1.png", "wb") as handle:  # noqa: PTH123
            handle.write(picture(len(name)))
    assert open_table(tmp_path / "data").classes == ("caf\\xe9", "tea")


def test_no_images_says_what_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("x")
    with pytest.raises(DataError, match=r"no images found.*Accepted: a folder of class folders"):
        open_table(tmp_path)


def test_files_by_split() -> None:
    assert files_by_split(["train-0-of-2.parquet", "test-0.parquet", "validation.parquet"])[0] == {
        "train-0-of-2.parquet": "train",
        "test-0.parquet": "test",
        "validation.parquet": "val",
    }
    assert files_by_split(["data/train_1.tar", "test/0.tar"])[0] == {"data/train_1.tar": "train", "test/0.tar": "test"}
    assert files_by_split(["train-0.parquet"]) == ({}, [])
    found, notes = files_by_split(["train-0.parquet", "other.parquet"])
    assert found == {}
    assert notes == ["warning: no split taken from file names: 1 name (other.parquet) without one"]


def test_trashnet(data_dir: Path) -> None:
    table = open_table(data_dir / "trashnet")
    assert len(table) == 2527
    assert table.classes == ("cardboard", "glass", "metal", "paper", "plastic", "trash")
    assert "split.csv" in said(table)
    assert len(open_table(data_dir / "photos")) == 200
