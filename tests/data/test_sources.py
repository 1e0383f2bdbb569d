from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anmok.core.errors import DataError, UsageError
from anmok.data.config import DataConfig, LabelsConfig
from anmok.data.sources import open_table

Folder = Callable[..., Path]


def test_a_wrong_path_says_what_is_accepted_and_what_is_near(tmp_path: Path) -> None:
    (tmp_path / "trashnet").mkdir()
    with pytest.raises(
        UsageError, match=r"no such file or folder.*Did you mean trashnet\? Accepted: a folder of class"
    ) as e:
        open_table(tmp_path / "trahsnet")
    assert e.value.code == "source"
    assert e.value.exit_code == 2


@pytest.mark.parametrize("content", [b"just a text", b"%PDF-1.4", b"\x80\x04pickle"])
def test_a_file_of_no_known_form(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.dat").write_bytes(content)
    with pytest.raises(UsageError, match=r"no form that we open.*Accepted"):
        open_table(tmp_path / "x.dat")


def test_one_image(folder: Folder) -> None:
    table = open_table(folder("a.png") / "a.png")
    assert table.rows["id"].to_list() == ["a.png"]


def test_a_table_passes_through_and_may_be_remapped(folder: Folder) -> None:
    table = open_table(folder("cat/1.png", "dog/1.png", "owl/1.png"))
    assert open_table(table) is table
    new = open_table(table, labels=LabelsConfig(merge=["cat+dog=pet"]))
    assert new.classes == ("pet", "owl")
    assert new.parents == (table.fingerprint,)
    assert new.task == "binary"


def test_a_saved_table_opens_and_may_be_moved(folder: Folder, tmp_path: Path) -> None:
    root = folder("cat/1.png", "dog/1.png", "owl/1.png")
    saved = open_table(root).save(tmp_path / "elsewhere" / "table.parquet")
    table = open_table(saved)
    assert table.root == root
    root.rename(tmp_path / "moved")
    with pytest.raises(DataError, match=r"not there.*--data.image-root"):
        open_table(saved)
    moved = open_table(saved, DataConfig(image_root=str(tmp_path / "moved")))
    assert moved.storage.read("cat/1.png")
    assert moved.fingerprint == table.fingerprint


def test_a_folder_with_only_a_list_opens_the_list(folder: Folder, tmp_path: Path) -> None:
    root = folder("a.png", "b.png")
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.csv").write_text("image,label\na.png,cat\nb.png,dog\n")
    assert open_table(lists, DataConfig(image_root=str(root))).classes == ("cat", "dog")


def test_what_is_opened_is_said(folder: Folder, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv("ANMOK_QUIET", raising=False)
    told: list[str] = []
    monkeypatch.setattr("anmok.data.sources.say", lambda text, style=None: told.append(text))
    monkeypatch.setattr("anmok.data.sources.warn", lambda text: told.append(f"! {text}"))
    root = folder("cat/1.png", "cat/A.png", "cat/a.png", "dog/1.png")
    open_table(root)
    assert told[0] == f"{root}: 4 images, binary: 2 labels, one per image"
    assert told[1].startswith("! 2 names (cat/A.png, cat/a.png)")


def test_linked_parquet_outside_is_refused(folder: Folder, tmp_path: Path) -> None:
    root = folder("cat/1.png", "dog/1.png")
    saved = open_table(root).save(tmp_path / "t.parquet")
    shards = tmp_path / "shards"
    shards.mkdir()
    (shards / "train-0.parquet").symlink_to(saved)
    with pytest.raises(DataError, match=r"leads outside.*--data.allow-links"):
        open_table(shards)


def test_many_files_in_one_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files with an image's extension are neither opened nor asked for their size."""
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for i in range(500):
            (tmp_path / label / f"{i}.jpg").touch()
    monkeypatch.setattr("anmok.data.scan.sniff", lambda head: pytest.fail("opened"))
    assert len(open_table(tmp_path)) == 1000
