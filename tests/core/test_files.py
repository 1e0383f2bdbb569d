from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from anmok.core import files
from anmok.core.errors import DataError, MachineError, UsageError
from anmok.core.files import (
    locked,
    must_not_exist,
    new_folder,
    read_json,
    verify_manifest,
    write_atomic,
    write_json,
    write_manifest,
)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_write_atomic_takes_bytes_text_and_functions(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    assert write_atomic(path, b"\x00\xff").read_bytes() == b"\x00\xff"
    assert write_atomic(path, "가").read_text(encoding="utf-8") == "가"
    assert write_atomic(path, lambda to: to.write_text("by hand")).read_text() == "by hand"
    assert names(path.parent) == ["a.txt"]


def test_write_atomic_gives_the_usual_rights(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        path = write_atomic(tmp_path / "a", b"")
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    path = write_atomic(tmp_path / "a.txt", "old")

    def half(to: Path) -> None:
        to.write_text("half")
        raise ValueError("broke")

    with pytest.raises(ValueError, match="broke"):
        write_atomic(path, half)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    path = write_atomic(tmp_path / "a.txt", "old")

    def fail(fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(MachineError, match="cannot write") as caught:
        write_atomic(path, "new")
    assert caught.value.code == "disk"
    assert str(path) in str(caught.value)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_other_system_errors_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomic(tmp_path / "a", "x")
    assert names(tmp_path) == ["a"]


def test_json_round_trip_and_faults(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"가": [1, None]})
    assert read_json(path) == {"가": [1, None]}
    assert "가" in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, float("nan"))
    with pytest.raises(DataError, match="no such file") as caught:
        read_json(tmp_path / "b.json")
    assert caught.value.code == "missing-file"
    path.write_bytes(b"{")
    with pytest.raises(DataError, match="not valid JSON") as caught:
        read_json(path)
    assert caught.value.code == "damaged"


def test_new_folder_appears_whole_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with new_folder(path) as folder:
        (folder / "a").write_text("1")
        assert not path.exists()
    assert names(path) == ["a"]
    with new_folder(path) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "b").write_text("2")
        assert names(path) == ["a"]
    assert names(path) == ["sub"]
    assert names(tmp_path) == ["run"]


def test_new_folder_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with new_folder(path) as folder:
        (folder / "a").write_text("1")

    def half() -> None:
        with new_folder(path) as folder:
            (folder / "b").write_text("2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert names(path) == ["a"]
    assert names(tmp_path) == ["run"]


def test_manifest_detects_every_change(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").write_text("1")
    (tmp_path / "sub" / "b").write_text("2")
    write_manifest(tmp_path)
    verify_manifest(tmp_path)
    assert subprocess.run(["sha256sum", "-c", "--quiet", files.MANIFEST], cwd=tmp_path, check=False).returncode == 0
    (tmp_path / "sub" / "b").write_text("3")
    with pytest.raises(DataError, match="sub/b does not match") as caught:
        verify_manifest(tmp_path)
    assert caught.value.code == "tampered"
    (tmp_path / "sub" / "b").unlink()
    with pytest.raises(DataError, match="sub/b is missing"):
        verify_manifest(tmp_path)
    (tmp_path / files.MANIFEST).unlink()
    with pytest.raises(DataError, match=r"no MANIFEST\.sha256"):
        verify_manifest(tmp_path)


def test_manifest_names_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    folder = tmp_path / "model"
    folder.mkdir()
    for line in (f"{files.sha256(tmp_path / 'secret')}  ../secret\n", "no hash\n"):
        (folder / files.MANIFEST).write_text(line)
        with pytest.raises(DataError, match="the manifest is damaged"):
            verify_manifest(folder)


def test_must_not_exist(tmp_path: Path) -> None:
    assert must_not_exist(tmp_path / "new") == tmp_path / "new"
    with pytest.raises(UsageError, match="exists already"):
        must_not_exist(tmp_path)


HOLD = """
import sys
from pathlib import Path
from anmok.core.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextlib.contextmanager
def holder(folder: Path) -> Any:
    process = subprocess.Popen([sys.executable, "-c", HOLD, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_row_45_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(MachineError) as caught, locked(tmp_path):
            pytest.fail("taken twice")
        assert caught.value.code == "locked"
        assert caught.value.exit_code == 4
        assert f"pid {process.pid} on host {socket.gethostname()}" in str(caught.value)


def test_row_45_the_lock_is_free_again_after_the_block(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path):
            owner = json.loads((tmp_path / ".lock").read_text())
            assert (owner["pid"], owner["released"]) == (os.getpid(), False)
    assert json.loads((tmp_path / ".lock").read_text())["released"] is True
    with pytest.raises(RuntimeError), locked(tmp_path):
        raise RuntimeError
    with locked(tmp_path):
        pass


def test_row_46_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.kill()
        process.wait()
        assert json.loads((tmp_path / ".lock").read_text())["released"] is False
        with locked(tmp_path):
            assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()


def leave(folder: Path, **owner: Any) -> None:
    about = {"pid": os.getpid(), "host": socket.gethostname(), "boot": files._boot_id(), "released": False}
    (folder / ".lock").write_text(json.dumps({**about, **owner}))


def test_row_46_the_lock_of_another_host_is_never_stolen(tmp_path: Path) -> None:
    leave(tmp_path, host="elsewhere", pid=77)
    with pytest.raises(MachineError, match="pid 77 on host elsewhere"), locked(tmp_path):
        pytest.fail("stolen")
    assert json.loads((tmp_path / ".lock").read_text())["host"] == "elsewhere"
    leave(tmp_path, host="elsewhere", released=True)
    with locked(tmp_path):
        pass


@pytest.mark.parametrize(
    ("owner", "free"),
    [
        ({}, False),
        ({"released": True}, True),
        ({"boot": "an earlier one"}, True),
        ({"host": "elsewhere", "boot": "an earlier one"}, False),
        ({"pid": "dead"}, True),
    ],
)
def test_row_46_without_locks_of_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: dict[str, Any], free: bool
) -> None:
    import fcntl

    def none(handle: Any, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    if owner.get("pid") == "dead":
        child = subprocess.Popen([sys.executable, "-c", ""])
        child.wait()
        owner = {"pid": child.pid}
    leave(tmp_path, **owner)
    if free:
        with locked(tmp_path):
            pass
    else:
        with pytest.raises(MachineError, match="another run holds this folder"), locked(tmp_path):
            pytest.fail("stolen")


def test_a_damaged_lock_file_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("[1, 2")
    with locked(tmp_path):
        pass
