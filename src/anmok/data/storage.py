"""Image references and the bytes behind them: plain files, rows of Parquet, members of tar and zip."""

from __future__ import annotations

import bisect
import itertools
import lzma
import os
import threading
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes, unquote, unquote_to_bytes

from anmok.core.errors import DataError, ImageError

SCHEMES = ("bytes:", "parquet:", "tar:", "zip:")
CACHE_BYTES = 1 << 30
MAX_IMAGE_BYTES = 512 << 20  # a member or row larger than this is no image that we open


def file_reference(name: str) -> str:
    """The reference of a file by its path below the root, as os.scandir names it (undecodable bytes as surrogates)."""
    if name.isascii() and not name.startswith(SCHEMES):
        return name
    try:
        name.encode()
    except UnicodeEncodeError:
        return f"bytes:{quote_from_bytes(os.fsencode(name))}"
    return f"bytes:{quote_from_bytes(name.encode())}" if name.startswith(SCHEMES) else name


def file_name(reference: str) -> str | None:
    """The path that a file reference stands for (undecodable bytes as surrogates); None for rows and members."""
    if reference.startswith("bytes:"):
        return os.fsdecode(unquote_to_bytes(reference[len("bytes:") :]))
    return None if reference.startswith(SCHEMES) else reference


def escape(name: str) -> str:
    """A file or member name for use inside a reference: '%' and '#' percent-encoded."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return quote_from_bytes(os.fsencode(name))
    return name.replace("%", "%25").replace("#", "%23")


_UNPACK_ERRORS = (
    KeyError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip


class Part(NamedTuple):
    """A reference taken apart: kind ('parquet', 'tar', 'zip'), file below the root, and what follows the '#'."""

    kind: str
    file: str
    place: str


def parse(reference: str) -> Part:
    """Take a parquet:, tar: or zip: reference apart; DataError if it is none."""
    kind, _, rest = reference.partition(":")
    file, mark, place = rest.partition("#")
    if not mark or f"{kind}:" not in SCHEMES:
        raise DataError("not an image reference.", where=reference, code="reference")
    return Part(kind, os.fsdecode(unquote_to_bytes(file)), place)


class Storage:
    """Reads the bytes of images below `root`. Safe to use from many threads; keeps at most `cache_bytes` of Parquet."""

    def __init__(self, root: Path | str, cache_bytes: int = CACHE_BYTES):
        self.root = Path(root)
        self._columns = _Columns(cache_bytes)
        self._zips: dict[str, zipfile.ZipFile] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "cache_bytes": self._columns.limit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def path(self, reference: str) -> Path | None:
        """The file, where the reference is one by itself; it need not exist."""
        name = file_name(reference)
        return None if name is None else self.root / name

    def read(self, reference: str) -> bytes:
        """The bytes of one image, undecoded.  ImageError (code io-error) with the system's reason."""
        name = file_name(reference)
        try:
            if name is not None:
                with open(os.path.join(self.root, name), "rb") as handle:  # noqa: PTH123, PTH118 - twice as fast
                    return handle.read()
            part = parse(reference)
            if part.kind == "tar":
                return self._read_tar(part)
            if part.kind == "zip":
                return self._read_zip(part)
            return self._columns.read(self.root / part.file, part.place)
        except OSError as error:
            raise _unreadable(reference, error) from error

    def size(self, reference: str) -> int:
        """Bytes of one image; reads no more than it must.  ImageError (code io-error)."""
        path = self.path(reference)
        try:
            if path is not None:
                return path.stat().st_size
            part = parse(reference)
            if part.kind == "tar":
                return _extent(part)[1]
            if part.kind == "zip":
                return self._zip(part.file).getinfo(unquote(part.place)).file_size
        except OSError as error:
            raise _unreadable(reference, error) from error
        except KeyError as error:
            raise ImageError("no such member.", where=reference, code="io-error") from error
        return len(self.read(reference))

    def _read_tar(self, part: Part) -> bytes:
        offset, size = _extent(part)
        with (self.root / part.file).open("rb") as handle:
            handle.seek(offset)
            data = handle.read(size)
        if len(data) < size:
            raise ImageError("the archive ends before the image does.", where=part.file, code="truncated")
        return data

    def _zip(self, file: str) -> zipfile.ZipFile:
        with self._lock:
            if file not in self._zips:
                try:
                    self._zips[file] = zipfile.ZipFile(self.root / file)
                except zipfile.BadZipFile as error:
                    raise ImageError(f"the archive is damaged ({error}).", where=file, code="io-error") from error
            return self._zips[file]

    def _read_zip(self, part: Part) -> bytes:
        member = unquote(part.place)
        try:
            with self._zip(part.file).open(member) as handle:
                data = handle.read(MAX_IMAGE_BYTES + 1)
        except _UNPACK_ERRORS as error:
            raise ImageError(f"cannot be unpacked ({error}).", where=member, code="io-error") from error
        if len(data) > MAX_IMAGE_BYTES:
            raise ImageError("larger than any image that is opened.", where=member, code="too-large")
        return data


def reason_of(error: OSError) -> str:
    """What the system said, with its number: 'Permission denied (errno 13)'."""
    return f"{os.strerror(error.errno)} (errno {error.errno})" if error.errno else str(error)


def _unreadable(reference: str, error: OSError) -> ImageError:
    return ImageError(f"cannot be read: {reason_of(error)}.", where=reference, code="io-error")


def _extent(part: Part) -> tuple[int, int]:
    offset, _, size = part.place.partition("+")
    if not (offset.isdecimal() and size.isdecimal() and int(size) <= MAX_IMAGE_BYTES):
        raise DataError("not an image reference.", where=f"{part.file}#{part.place}", code="reference")
    return int(offset), int(size)


class _Columns:
    """Row groups of the image columns of Parquet files, read when needed, the least recently used forgotten first."""

    def __init__(self, limit: int):
        self.limit, self._held = limit, 0
        self._groups: OrderedDict[tuple[Path, str, int], Any] = OrderedDict()
        self._files: dict[Path, tuple[Any, list[int]]] = {}
        self._loading: dict[Any, threading.Lock] = {}
        self._lock = threading.Lock()

    def read(self, path: Path, place: str) -> bytes:
        row_text, _, column = place.partition("#")
        file, starts = self._open(path)
        if not row_text.isdecimal() or int(row_text) >= starts[-1]:
            raise ImageError("no such row.", where=f"{path.name}#{place}", code="io-error")
        row = int(row_text)
        group = bisect.bisect_right(starts, row) - 1
        values = self._load(path, file, unquote(column), group)
        value = values[row - starts[group]].as_py()
        if value is None:
            raise ImageError("the row holds no bytes.", where=f"{path.name}#{place}", code="empty")
        return value

    def _open(self, path: Path) -> tuple[Any, list[int]]:
        import pyarrow.parquet as pq
        from pyarrow import ArrowException

        with self._lock:
            if path not in self._files:
                try:
                    file = pq.ParquetFile(path)
                except ArrowException as error:
                    raise ImageError(f"not readable as Parquet ({error}).", where=str(path), code="io-error") from error
                rows = (file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups))
                self._files[path] = (file, [0, *itertools.accumulate(rows)])
            return self._files[path]

    def _load(self, path: Path, file: Any, column: str, group: int) -> Any:
        """The values of one row group, read by one thread while others that want it wait."""
        key = (path, column, group)
        with self._lock:
            if key in self._groups:
                self._groups.move_to_end(key)
                return self._groups[key]
            loading = self._loading.setdefault(path, threading.Lock())
        with loading:  # one at a time for each file: a ParquetFile reads with a shared position
            with self._lock:
                if key in self._groups:
                    return self._groups[key]
            values = read_bytes_column(file, column or bytes_column(file.schema_arrow) or "image", [group])
            with self._lock:
                self._groups[key] = values
                self._held += values.nbytes
                while self._held > self.limit and len(self._groups) > 1:
                    self._held -= self._groups.popitem(last=False)[1].nbytes
        return values


def bytes_column(schema: Any) -> str | None:
    """The first column of an Arrow schema that holds image bytes: struct{bytes, …}, else binary."""
    import pyarrow.types as pt

    structs = [f.name for f in schema if pt.is_struct(f.type) and any(c.name == "bytes" for c in f.type)]
    plain = [f.name for f in schema if pt.is_binary(f.type) or pt.is_large_binary(f.type)]
    return next(iter(structs + plain), None)


def read_bytes_column(file: Any, column: str, groups: list[int]) -> Any:
    """The bytes of an image column (an Arrow binary array) in some row groups of an open Parquet file."""
    import pyarrow as pa

    struct = pa.types.is_struct(file.schema_arrow.field(column).type)
    values = file.read_row_groups(groups, columns=[f"{column}.bytes" if struct else column]).column(0)
    values = pa.concat_arrays(values.chunks) if values.num_chunks != 1 else values.chunk(0)
    return values.field("bytes") if struct else values
