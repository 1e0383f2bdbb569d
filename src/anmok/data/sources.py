"""Any source as a Table: looks at what is there, opens it in the form that fits, and says aloud what it did."""

from __future__ import annotations

import contextlib
import os
import zipfile
from pathlib import Path

from anmok.core.errors import DataError, UsageError, near_path
from anmok.core.progress import say, warn
from anmok.data.config import DataConfig, LabelsConfig
from anmok.data.delimited import metadata_files, open_list, open_metadata
from anmok.data.folders import open_folder
from anmok.data.parquet import open_parquet, open_parquets, relabel
from anmok.data.rows import assemble, identifier
from anmok.data.scan import extension, inside, is_hidden
from anmok.data.sniff import EXTENSIONS, HEAD, REFUSED, sniff
from anmok.data.storage import file_reference, reason_of
from anmok.data.table import Table
from anmok.data.tars import open_tars
from anmok.data.zips import open_zip

FORMS = (
    "a folder of class folders, or of train|val|test folders with class folders in them; a folder of images without "
    "labels; a CSV with the columns image,label[,split]; a folder with metadata.csv or metadata.jsonl; Parquet, one "
    "file or a folder of train-*.parquet and test-*.parquet; WebDataset tar, one file or a folder of them; a zip of "
    "class folders; one image; a table.parquet of ours"
)
LISTS = ("csv", "tsv", "jsonl", "ndjson")


def open_table(
    source: Table | str | os.PathLike[str], config: DataConfig | None = None, labels: LabelsConfig | None = None
) -> Table:
    """Open any source as a Table and say what it is.

    UsageError (code source) where nothing that we know is there, with the forms accepted; DataError where the data are
    wrong. A Table passes through, remapped if `labels` asks for it.
    """
    config, labels = config or DataConfig(), labels or LabelsConfig()
    if isinstance(source, Table):
        return relabel(source, config, labels)
    path = Path(source)
    try:
        table = _open_folder(path, config, labels) if path.is_dir() else _open_file(path, config, labels)
    except OSError as error:
        raise DataError(f"cannot be read: {reason_of(error)}.", where=str(path), code="io-error") from error
    announce(table, str(path))
    return table


def announce(table: Table, source: str) -> None:
    """Say what was opened, where its images lie if that is elsewhere, and every note on it."""
    say(f"{source}: {len(table):,} image{'' if len(table) == 1 else 's'}, {table.reason}")
    if Path(table.root) not in (Path(source), Path(source).parent):
        say(f"  images in {table.root}")
    for note in table.notes:
        warn(note.removeprefix("warning: ")) if note.startswith("warning: ") else say(f"  {note}")


def _open_folder(path: Path, config: DataConfig, labels: LabelsConfig) -> Table:
    """A folder in the form that its content shows: metadata, Parquet, tar, else images in folders."""
    metadata = metadata_files(path)
    if metadata:
        return open_metadata(path, metadata, config, labels)
    files = _listed(path)
    ends = {extension(name) for name in files}
    if not ends & EXTENSIONS:
        for end, opened in (("parquet", open_parquets), ("tar", open_tars)):
            names = sorted(name for name in files if extension(name) == end)
            if names:
                _within(path, names, config)
                return opened(path, names, config, labels)
    if not any(f.is_dir() and not is_hidden(f.name) for f in path.iterdir()) and not ends & EXTENSIONS:
        lists = [name for name in files if extension(name) in LISTS[:2]]
        if len(lists) == 1:
            return open_list(path / lists[0], config, labels)
    try:
        return open_folder(path, config, labels)
    except DataError as error:
        if error.code != "no-images":
            raise
        raise DataError(error.message, where=str(path), remedy=f"Accepted: {FORMS}.", code=error.code) from error


def _listed(path: Path) -> list[str]:
    """Files in a folder and in its folders one below, as paths from it; at most the first 10,000."""
    names: list[str] = []
    places = [""]
    for place in places:
        with contextlib.suppress(OSError) if place else contextlib.nullcontext(), os.scandir(path / place) as entries:
            for entry in entries:
                if is_hidden(entry.name):
                    continue
                name = f"{place}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    places += [] if place else [f"{name}/"]
                elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
                    names.append(name)
                if len(names) >= 10_000:
                    return names
    return names


def _within(path: Path, names: list[str], config: DataConfig) -> None:
    """DataError for a file of the source that is a link out of it, unless that is allowed."""
    real = os.path.realpath(path)
    for name in names:
        if not config.allow_links and not inside(os.path.realpath(path / name), real):
            raise DataError(
                f"{name} is a link that leads outside.", where=str(path),
                remedy="Allow it with --data.allow-links.", code="outside-link",
            )  # fmt: skip


def _open_file(path: Path, config: DataConfig, labels: LabelsConfig) -> Table:
    """A file by its extension and its first bytes."""
    if not path.exists():
        raise UsageError(
            "no such file or folder.", where=str(path), remedy=f"{near_path(path)}Accepted: {FORMS}.", code="source"
        )
    with path.open("rb") as handle:
        head = handle.read(512)
    end, kind = extension(path.name), sniff(head[:HEAD])
    if head.startswith(b"PAR1"):
        return open_parquet(path, config, labels)
    if kind is not None and kind not in REFUSED:
        return _one_image(path, config, labels)
    if zipfile.is_zipfile(path) and end not in LISTS:
        return open_zip(path, config, labels)
    if head[257:262] == b"ustar" or end in ("tar", "tgz") or path.name.lower().endswith(".tar.gz"):
        return open_tars(path.parent, [path.name], config, labels)
    if end in LISTS:
        return open_list(path, config, labels)
    raise UsageError("a file of no form that we open.", where=str(path), remedy=f"Accepted: {FORMS}.", code="source")


def _one_image(path: Path, config: DataConfig, labels: LabelsConfig) -> Table:
    import polars as pl

    rows = pl.DataFrame({"id": [identifier(path.name)], "image": [file_reference(path.name)]})
    return assemble(rows, path.parent, config, labels, notes=["one image, no label"])
