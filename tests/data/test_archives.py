from __future__ import annotations

import io
import json
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anmok.core.errors import DataError, ImageError
from anmok.data import zips
from anmok.data.sources import open_table

Picture = Callable[..., bytes]


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def kinds(table: Any) -> dict[str, str]:
    return {reject.id: reject.kind for reject in table.rejects}


def test_webdataset_cls(tmp_path: Path, picture: Picture) -> None:
    members = {}
    for n in range(12):
        members[f"{n:04}.jpg"] = picture(n, "JPEG")
        members[f"{n:04}.cls"] = f"{n}\n".encode()
    table = open_table(write_tar(tmp_path / "a.tar", members))
    assert table.classes == tuple(str(n) for n in range(12))
    assert table.rows["label"].to_list() == [str(n) for n in range(12)]
    assert [table.storage.read(i) for i in table.rows["image"]] == [picture(n, "JPEG") for n in range(12)]
    assert table.rows["id"][0] == "a.tar/0000.jpg"


def test_webdataset_shards_json_and_text(tmp_path: Path, picture: Picture) -> None:
    for split, numbers in {"train": (0, 1), "test": (2,)}.items():
        members = {}
        for n in numbers:
            members[f"x/{n}.png"] = picture(n)
            members[f"x/{n}.json"] = json.dumps({"label": "cat" if n % 2 else "dog", "width": n}).encode()
            members[f"x/{n}.txt"] = f"a picture {n}".encode()
        write_tar(tmp_path / "shards" / f"{split}-000.tar", members)
    table = open_table(tmp_path / "shards")
    rows = table.rows.sort("path") if "path" in table.rows.columns else table.rows.sort("width")
    assert rows["label"].to_list() == ["dog", "cat", "dog"]
    assert rows["split"].to_list() == ["train", "train", "test"]
    assert rows["width"].to_list() == [0, 1, 2]
    assert rows["txt"].to_list() == ["a picture 0", "a picture 1", "a picture 2"]


def test_webdataset_text_labels(tmp_path: Path, picture: Picture) -> None:
    members = {"0.png": picture(0), "0.txt": b"cat;dog", "1.png": picture(1), "1.txt": b"dog", "2.png": picture(2)}
    table = open_table(write_tar(tmp_path / "a.tar", members))
    assert table.rows["label"].to_list() == [["cat", "dog"], ["dog"], None]


def test_tar_of_class_folders(tmp_path: Path, picture: Picture) -> None:
    members = {"all/cat/1.png": picture(1), "all/dog/1.png": picture(2), "all/README.txt": b"x"}
    table = open_table(write_tar(tmp_path / "a.tar", members))
    assert table.classes == ("cat", "dog")
    assert table.storage.read(table.rows["image"][1]) == picture(2)


def test_zip_of_class_folders(tmp_path: Path, picture: Picture) -> None:
    members = {
        "d/cat/1#1.png": picture(1),
        "d/dog/100%.png": picture(2),
        "__MACOSX/d/cat/._1.png": b"x",
        "d/cat/n": b"x",
    }
    table = open_table(write_zip(tmp_path / "a b.zip", members))
    assert table.classes == ("cat", "dog")
    assert [table.storage.read(i) for i in table.rows["image"]] == [picture(1), picture(2)]
    assert [table.storage.size(i) for i in table.rows["image"]] == [len(picture(1)), len(picture(2))]
    assert any("1 hidden" in note for note in table.notes)
    again = type(table).load(table.save(tmp_path / "table.parquet"))
    assert again.storage.read(again.rows["image"][0]) == picture(1)


def test_zip_with_korean_names_of_old_programs(tmp_path: Path, picture: Picture) -> None:
    path = write_zip(tmp_path / "a.zip", {"AAAA/1.png": picture(1), "BB/1.png": picture(2)})
    data = (
        path.read_bytes().replace(b"AAAA/", "고양".encode("cp949") + b"/").replace(b"BB/", "개".encode("cp949") + b"/")
    )
    path.write_bytes(data)
    table = open_table(path)
    assert table.classes == ("개", "고양")
    assert {table.storage.read(i) for i in table.rows["image"]} == {picture(1), picture(2)}
    assert any("cp949" in note for note in table.notes)


def test_row_54_tar_members_that_are_not_files_or_climb_out(tmp_path: Path, picture: Picture) -> None:
    path = write_tar(tmp_path / "a.tar", {"cat/1.png": picture(1), "dog/1.png": picture(2), "../out.png": picture(3)})
    with tarfile.open(path, "a") as archive:
        for name, kind in {
            "cat/link.png": tarfile.SYMTYPE,
            "cat/hard.png": tarfile.LNKTYPE,
            "cat/dev.png": tarfile.CHRTYPE,
            "cat/pipe.png": tarfile.FIFOTYPE,
        }.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        absolute = tarfile.TarInfo("/cat/abs.png")
        archive.addfile(absolute)
    table = open_table(path)
    assert table.rows["id"].to_list() == ["cat/1.png", "dog/1.png"]
    assert set(kinds(table)) == {
        "../out.png", "cat/link.png", "cat/hard.png", "cat/dev.png", "cat/pipe.png", "/cat/abs.png",
    }  # fmt: skip
    assert set(kinds(table).values()) == {"outside-link"}
    assert not (tmp_path.parent / "out.png").exists()


def test_row_54_truncated_and_compressed_tar(tmp_path: Path, picture: Picture) -> None:
    path = write_tar(tmp_path / "a.tar", {"cat/1.png": picture(1), "dog/1.png": picture(2), "dog/2.png": bytes(20_000)})
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(DataError, match="not readable as tar") as caught:
        open_table(path)
    assert caught.value.code == "damaged"
    whole = write_tar(tmp_path / "c.tar", {"cat/1.png": picture(1), "dog/1.png": picture(2)})
    data = bytearray(whole.read_bytes())
    data[data.index(b"dog/1.png")] ^= 1
    whole.write_bytes(bytes(data))
    with pytest.raises(DataError, match="a header is damaged"):
        open_table(whole)
    packed = write_tar(tmp_path / "b.tar.gz", {"cat/1.png": picture(1)}, "w:gz")
    with pytest.raises(DataError, match=r"a compressed tar. Decompress it first"):
        open_table(packed)


def test_row_54_zip_members_that_climb_out_or_are_links(tmp_path: Path, picture: Picture) -> None:
    path = write_zip(tmp_path / "a.zip", {"cat/1.png": picture(1), "dog/1.png": picture(2), "../out.png": picture(3)})
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("cat/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("cat\\..\\..\\x.png", picture(4))
    table = open_table(path)
    assert table.rows["id"].to_list() == ["cat/1.png", "dog/1.png"]
    assert set(kinds(table).values()) == {"outside-link"}
    assert len(table.rejects) == 3


def test_row_54_bombs(tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(
        tmp_path / "a.zip", {"cat/1.png": picture(1), "dog/1.png": picture(2), "cat/bomb.bmp": bytes(17 << 20)}
    )
    assert kinds(open_table(path)) == {"cat/bomb.bmp": "too-large"}
    monkeypatch.setattr(zips, "MAX_MEMBERS", 2)
    with pytest.raises(DataError, match="holds more than 2 members"):
        open_table(path)
    monkeypatch.setattr(zips, "MAX_DIRECTORY", 10)
    with pytest.raises(DataError, match="holds more members than are opened"):
        open_table(path)


def test_row_54_a_member_that_lies_about_its_size(tmp_path: Path, picture: Picture) -> None:
    path = write_zip(tmp_path / "a.zip", {"cat/1.png": bytes(100_000), "dog/1.png": picture(2)})
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 50)
    path.write_bytes(bytes(data))
    table = open_table(path)
    with pytest.raises(ImageError, match="cannot be unpacked") as caught:
        table.storage.read(table.rows["image"][0])
    assert caught.value.code == "io-error"
    assert table.storage.read(table.rows["image"][1]) == picture(2)


def test_damaged_zip_and_repeated_members(tmp_path: Path, picture: Picture) -> None:
    path = write_zip(tmp_path / "a.zip", {"cat/1.png": picture(1), "cat/2.png": picture(2)})
    path.write_bytes(path.read_bytes().replace(b"cat/2.png", b"cat/1.png"))
    with pytest.raises(DataError, match=r"two members are called 'cat/1.png'"):
        open_table(path)
    path = write_zip(tmp_path / "b.zip", {"cat/1.png": picture(1), "dog/1.png": picture(2)})
    data = path.read_bytes()
    path.write_bytes(data.replace(b"PK\x01\x02", b"PK\x09\x09"))
    with pytest.raises(DataError, match="not readable as zip"):
        open_table(path)


def test_row_25_names_over_255_bytes(tmp_path: Path, picture: Picture) -> None:
    long = "가" * 200
    table = open_table(write_tar(tmp_path / "a.tar", {f"cat/{long}.png": picture(1), "dog/1.png": picture(2)}))
    assert table.rows["id"][0] == f"cat/{long}.png"
    assert table.storage.read(table.rows["image"][0]) == picture(1)
