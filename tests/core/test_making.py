"""Places to write: made where that is possible, refused in words where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from anmok.core.errors import MachineError, UsageError
from anmok.core.files import locked, make_folder, must_not_exist, new_folder, write_atomic


def test_a_folder_is_made_with_its_parents_and_may_be_there(tmp_path: Path) -> None:
    for _ in range(2):
        assert make_folder(tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize(
    "write",
    [
        lambda path: make_folder(path),
        lambda path: write_atomic(path / "x.txt", "x"),
        lambda path: new_folder(path / "x").__enter__(),
        lambda path: locked(path).__enter__(),
    ],
)
@pytest.mark.parametrize(("place", "reason"), [("file/sub", "not a directory"), ("x" * 300, "file name too long")])
def test_a_place_that_cannot_be_is_named(tmp_path: Path, write: object, place: str, reason: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MachineError, match=rf"the folder cannot be made \({reason}\)") as caught:
        write(tmp_path / place)  # type: ignore[operator]
    assert caught.value.code == "disk"
    assert str(tmp_path) in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not valid UTF-8"):
        must_not_exist(tmp_path / "r\udcff")
    assert must_not_exist(tmp_path / "유리") == tmp_path / "유리"


def test_a_name_too_long_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--sort-into: file name too long") as caught:
        must_not_exist(tmp_path / ("x" * 300), "--sort-into")
    assert caught.value.code == "out"
