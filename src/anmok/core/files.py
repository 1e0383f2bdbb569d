"""Files that are either whole or absent, folders with a manifest, and a lock on a run's folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from anmok.core.errors import DataError, MachineError, UsageError

MANIFEST = "MANIFEST.sha256"


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk, a read-only or vanished mount into a MachineError that names the path."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.ESTALE):
            reason = os.strerror(error.errno).lower()
            raise MachineError(
                f"cannot write ({reason}); what was saved before is kept.",
                where=str(path),
                remedy="Free some room or choose another --out.",
                code="disk",
            ) from error
        raise


def make_folder(path: Path) -> Path:
    """Create a folder with its parents, unless it is there.  MachineError (code disk) that says why it cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise MachineError(
            f"the folder cannot be made ({reason}).", where=str(path), remedy="Choose another --out.", code="disk"
        ) from error
    return path


def fsync_folder(folder: Path) -> None:
    """Make a rename inside `folder` durable, where the system can."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def write_atomic(path: Path | str, content: bytes | str | Callable[[Path], Any]) -> Path:
    """Write a file so that readers see the old one or the whole new one: temporary name, fsync, rename.

    content: bytes, text (UTF-8), or a function that writes the file whose path it is given.
    """
    path = Path(path)
    make_folder(path.parent)
    with disk_errors(path):
        fd, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
        os.close(fd)
        temporary = Path(name)
        try:
            if callable(content):
                content(temporary)
            else:
                temporary.write_bytes(content.encode() if isinstance(content, str) else content)
            with temporary.open("rb+") as handle:
                os.fsync(handle.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
            fsync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def write_json(path: Path | str, value: Any) -> Path:
    """Write JSON atomically: UTF-8, indented, no NaN (a NaN is an error, not a silent `NaN`)."""
    return write_atomic(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read JSON; a DataError that names the file where it is missing or damaged."""
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError as error:
        raise DataError("no such file.", where=str(path), code="missing-file") from error
    except ValueError as error:
        raise DataError(f"not valid JSON ({error}).", where=str(path), code="damaged") from error


@contextlib.contextmanager
def new_folder(path: Path | str) -> Iterator[Path]:
    """Build a folder under a temporary name beside `path`; on success it is renamed into place, else removed.

    An existing folder at `path` is replaced in the last moment.
    """
    path = Path(path)
    make_folder(path.parent)
    with disk_errors(path):
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".tmp"))
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            for file in temporary.rglob("*"):
                if file.is_file():
                    with file.open("rb+") as handle:
                        os.fsync(handle.fileno())
            if path.exists():
                old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".tmp"))
                path.rename(old / "old")
                temporary.rename(path)
                shutil.rmtree(old, ignore_errors=True)
            else:
                temporary.rename(path)
            fsync_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sha256(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_manifest(folder: Path) -> None:
    """Write MANIFEST.sha256 (the form `sha256sum -c` reads) over every file in the folder."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)
    write_atomic(folder / MANIFEST, "".join(f"{sha256(folder / name)}  {name}\n" for name in names))


def verify_manifest(folder: Path) -> None:
    """Raise a DataError (code `tampered`) unless every file listed in the manifest is there and unchanged."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise DataError("no MANIFEST.sha256: the folder is incomplete.", where=str(folder), code="tampered")
    for line in manifest.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        file = folder / name
        if not name or not file.resolve().is_relative_to(folder.resolve()):
            raise DataError("the manifest is damaged.", where=str(manifest), code="tampered")
        if not file.is_file() or sha256(file) != digest:
            state = "is missing" if not file.is_file() else "does not match its SHA-256 in the manifest"
            raise DataError(
                f"{name} {state}.",
                where=str(folder),
                remedy="Fetch or write the folder anew; it is not loaded as it is.",
                code="tampered",
            )


def must_not_exist(path: Path | str, option: str = "--out") -> Path:
    """The path, after checking that nothing stands there yet."""
    path = Path(path)
    try:
        str(path).encode()
        there = path.exists()
    except UnicodeEncodeError as error:
        raise UsageError(f"{option}: the name is not valid UTF-8.", where=str(path), code="out") from error
    except OSError as error:
        raise UsageError(f"{option}: {os.strerror(error.errno or 0).lower()}.", where=str(path), code="out") from error
    if there:
        raise UsageError(
            f"{option} {path} exists already.", remedy="Name a new one, or remove it first.", code="exists"
        )
    return path


def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock (an operating-system lock on `.lock`, freed by the system when the process dies).

    MachineError (code `locked`) naming pid and host if another run holds it. Where the file system has no locks, the
    owner's host and boot id decide: the lock of a living process is never stolen, nor is one of another host.
    """
    import fcntl

    make_folder(folder)
    path = folder / ".lock"
    with disk_errors(path), path.open("a+") as handle:
        handle.seek(0)
        owner = _owner(handle.read())
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _held(folder, owner) from error
        except OSError as error:  # a file system without locks: fall back on what the file says
            if _may_live(owner):
                raise _held(folder, owner) from error
        else:
            if owner and owner.get("host") != socket.gethostname() and not owner.get("released"):
                raise _held(folder, owner)  # a network mount whose locks do not reach the other host
        _write_owner(handle, released=False)
        try:
            yield
        finally:
            _write_owner(handle, released=True)


def _write_owner(handle: Any, released: bool) -> None:
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "boot": _boot_id(), "released": released}
    handle.seek(0)
    handle.truncate()
    handle.write(json.dumps(owner))
    handle.flush()


def _owner(text: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        owner = json.loads(text)
        return owner if isinstance(owner, dict) else {}
    return {}


def _may_live(owner: dict[str, Any]) -> bool:
    if not owner or owner.get("released"):
        return False
    if owner.get("host") != socket.gethostname():
        return True
    if owner.get("boot") != _boot_id():
        return False
    try:
        os.kill(int(owner.get("pid", 0)), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def _held(folder: Path, owner: dict[str, Any]) -> MachineError:
    return MachineError(
        f"another run holds this folder (pid {owner.get('pid', '?')} on host {owner.get('host', '?')}).",
        where=str(folder),
        remedy=f"Wait for it, stop it, or choose another --out. If that run is gone, remove {folder / '.lock'}.",
        code="locked",
    )
