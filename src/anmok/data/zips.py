"""A zip of class folders as a source, read in place and never unpacked.

Members are walked by a loop of our own: regular files only, no path that climbs out, bounds on their number, size and
compression ratio.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

from anmok.core.errors import DataError
from anmok.data.config import DataConfig, LabelsConfig
from anmok.data.folders import open_scan
from anmok.data.scan import BESIDE, Scan, extension, is_hidden, take_unnamed
from anmok.data.sniff import EXTENSIONS, HEAD, sniff
from anmok.data.storage import MAX_IMAGE_BYTES, escape
from anmok.data.table import Table

MAX_MEMBERS = 5_000_000
MAX_DIRECTORY = 128 << 20  # bytes of a zip's central directory
MAX_RATIO = 200  # uncompressed to compressed, for members above RATIO_FROM
RATIO_FROM = 16 << 20


def open_zip(path: Path, config: DataConfig, labels: LabelsConfig) -> Table:
    """A zip of class folders, of train|val|test folders, or of images alone; read in place."""
    found = Scan()
    _check_directory(path)
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            names, told = _zip_names(infos)
            if len(set(names)) < len(names):
                twice = next(n for n in names if names.count(n) > 1)
                raise DataError(f"two members are called {twice!r}.", where=str(path), code="name-collision")
            for info, name in zip(infos, names, strict=True):
                _zip_member(archive, info, name, path.name, found)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise DataError(f"not readable as zip ({error}).", where=str(path), code="damaged") from error
    found.files.sort()
    table = open_scan(found, path.parent, config, labels)
    return table._with(notes=(*told, *table.notes))


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, file: str, found: Scan) -> None:
    """Take one member in, or list why not."""
    kind = info.external_attr >> 16 & 0o170000
    if not admit(name, found):
        return
    if info.is_dir():
        found.folders.append(name.rstrip("/"))
    elif kind not in (0, 0o100000):
        found.reject(name, "outside-link", "a link or device in an archive")
    elif info.flag_bits & 1:
        found.reject(name, "io-error", "encrypted")
    elif info.file_size > MAX_IMAGE_BYTES or (
        info.file_size > RATIO_FROM and info.file_size > MAX_RATIO * max(info.compress_size, 1)
    ):
        found.reject(name, "too-large", f"{info.file_size:,} bytes from {info.compress_size:,}")
    else:
        reference = f"zip:{escape(file)}#{escape(info.filename)}"
        if extension(name) in EXTENSIONS:
            found.files.append((name, reference))
        elif extension(name) in BESIDE:
            found.other.append(name)
        else:
            try:
                with archive.open(info) as handle:
                    kind_of_image = sniff(handle.read(HEAD))
            except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
                found.reject(name, "io-error", f"cannot be unpacked ({error})")
            else:
                take_unnamed(found, name, reference, kind_of_image)


def _zip_names(infos: list[zipfile.ZipInfo]) -> tuple[list[str], list[str]]:
    """Member names as text: UTF-8 where the flag says so, else UTF-8 or CP949 if all fit, else CP437."""
    old = [info.filename for info in infos if not info.flag_bits & 0x800 and not info.filename.isascii()]
    for encoding in ("utf-8", "cp949"):
        try:
            table = {name: name.encode("cp437").decode(encoding) for name in old}
        except UnicodeError:
            continue
        notes = [f"names in the archive read as {encoding}"] if old else []
        return [table.get(i.filename, i.filename) if not i.flag_bits & 0x800 else i.filename for i in infos], notes
    return [info.filename for info in infos], ["warning: names in the archive are neither UTF-8 nor CP949"]


def _check_directory(path: Path) -> None:
    """DataError where the directory of a zip is larger than any honest one, before it is read into memory."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        handle.seek(max(0, size - (1 << 16) - 128))
        tail = handle.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or end + 22 > len(tail):
        raise DataError("not readable as zip (no end record).", where=str(path), code="damaged")
    directory = struct.unpack_from("<I", tail, end + 12)[0]
    wide = tail.rfind(b"PK\x06\x06", 0, end)
    if directory == 0xFFFFFFFF and 0 <= wide <= len(tail) - 56:
        directory = struct.unpack_from("<Q", tail, wide + 40)[0]
    if directory > MAX_DIRECTORY:
        raise DataError("holds more members than are opened.", where=str(path), code="too-large")


def admit(name: str, found: Scan) -> bool:
    """Whether a member's name is one to look at: counted, below the root, not hidden."""
    if len(found.files) + len(found.folders) + len(found.other) + len(found.rejects) + found.hidden >= MAX_MEMBERS:
        raise DataError(f"holds more than {MAX_MEMBERS:,} members.", code="too-large")
    parts = name.rstrip("/").split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        found.reject(name, "outside-link", "a member whose path leads outside the archive")
        return False
    if any(is_hidden(part) for part in parts if part != "."):
        found.hidden += 1
        return False
    return True
