"""Tar shards as WebDataset writes them (image + .cls, .txt or .json of one key), or tars of class folders.

Read in place, never unpacked. Members are walked by a loop of our own: regular files only, no path that climbs out,
bounds on their number and size.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anmok.core.errors import DataError
from anmok.data.columns import LABEL
from anmok.data.config import DataConfig, LabelsConfig
from anmok.data.delimited import series
from anmok.data.folders import files_by_split, open_scan
from anmok.data.rows import assemble, text_of
from anmok.data.scan import BESIDE, Scan, extension, scan_notes, take_unnamed
from anmok.data.sniff import EXTENSIONS, HEAD, sniff
from anmok.data.storage import MAX_IMAGE_BYTES, escape
from anmok.data.table import Table, named
from anmok.data.zips import admit

MAX_SIDECAR = 1 << 20  # bytes of a label file
SIDECARS = ("cls", "txt", "json")


@dataclass
class Sample:
    """What one shard holds under one key: images as (name, reference), and the contents of its .cls, .txt and .json."""

    shard: str
    images: list[tuple[str, str]] = field(default_factory=list)
    sidecars: dict[str, bytes] = field(default_factory=dict)


def open_tars(root: Path, names: list[str], config: DataConfig, labels: LabelsConfig) -> Table:
    """WebDataset shards below `root`; or, where no image has a label file, tar files of class folders."""
    found = Scan()
    samples: list[Sample] = []
    for name in names:
        samples += _read_shard(root, name, found)
    if not any(s.images and s.sidecars for s in samples):
        found.files.sort()
        return open_scan(found, root, config, labels)
    return _table(samples, root, names, found, config, labels)


def tar_members(path: Path) -> Iterator[tuple[tarfile.TarInfo, Any]]:
    """The headers of a plain tar, one after the other, in bounded memory; with the open file.

    DataError where it is compressed or damaged.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # what tarfile would keep of every header
                yield member, archive.fileobj
            archive.fileobj.seek(archive.offset)
            if archive.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise tarfile.ReadError("a header is damaged")  # tarfile takes it for the end
    except (tarfile.TarError, ValueError, EOFError) as error:
        with path.open("rb") as handle:
            packed = handle.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"))
        remedy = (
            "Decompress it first: images are read in place, which a compressed tar does not allow." if packed else None
        )
        what = "a compressed tar" if packed else f"not readable as tar ({error})"
        raise DataError(f"{what}.", where=str(path), remedy=remedy, code="damaged") from error


def _read_shard(root: Path, file: str, found: Scan) -> list[Sample]:
    """The samples of one shard; what cannot be used is listed in `found`, as are all images."""
    samples: dict[str, Sample] = {}
    path = root / file
    size = path.stat().st_size
    for member, handle in tar_members(path):
        name = member.name.removeprefix("./")
        if name in ("", ".") or not admit(name, found):
            continue
        if member.isdir():
            found.folders.append(name)
        elif not member.isreg() or member.issparse():
            found.reject(name, "outside-link", "a link or device in an archive")
        elif member.offset_data + member.size > size:
            found.reject(name, "truncated", "the archive ends before it does")
        elif member.size > MAX_IMAGE_BYTES:
            found.reject(name, "too-large", f"{member.size:,} bytes")
        else:
            folder, _, base = name.rpartition("/")
            key = f"{folder}/{base.partition('.')[0]}"
            sample = samples.setdefault(key, Sample(file))
            _member(sample, name, member, handle, found)
    return list(samples.values())


def _member(sample: Sample, name: str, member: tarfile.TarInfo, handle: Any, found: Scan) -> None:
    """Take one regular member in: an image, a label file, or something else."""
    end = name.rpartition("/")[2].partition(".")[2].lower()
    reference = f"tar:{escape(sample.shard)}#{member.offset_data}+{member.size}"

    def head(size: int) -> bytes:
        back = handle.tell()
        handle.seek(member.offset_data)
        data = handle.read(min(size, member.size))
        handle.seek(back)
        return data

    if end in SIDECARS and member.size <= MAX_SIDECAR:
        sample.sidecars[end] = head(MAX_SIDECAR)
    elif extension(name) in EXTENSIONS:
        found.files.append((name, reference))
        sample.images.append((name, reference))
    elif extension(name) in BESIDE:
        found.other.append(name)
    else:
        before = len(found.files)
        take_unnamed(found, name, reference, sniff(head(HEAD)))
        sample.images += found.files[before:]


def _table(
    samples: list[Sample], root: Path, names: list[str], found: Scan, config: DataConfig, labels: LabelsConfig
) -> Table:
    import polars as pl

    splits, notes = files_by_split(names)
    used = [s for s in samples if s.images]
    items = [_labelled(s, config) for s in used]
    several = [s.images[0][0] for s in used if len(s.images) > 1]
    if several:
        notes.append(
            f"warning: {named(len(several), 'sample', several)} with several images: the first by name is taken"
        )
    images = [min(s.images) for s in used]
    columns = {
        "id": [f"{s.shard}/{text_of(name)}" for s, (name, _) in zip(used, images, strict=True)],
        "image": [reference for _, reference in images],
        "label": [label for label, _ in items],
        "split": [splits.get(s.shard) for s in used],
    }
    for name in dict.fromkeys(key for _, extra in items for key in extra):
        columns[f"{name}_given" if name in (*columns, "group") else name] = [extra.get(name) for _, extra in items]
    rows = pl.DataFrame(
        [pl.Series(name, columns[name], dtype=pl.String) for name in ("id", "image", "split")]
        + [series(name, values) for name, values in columns.items() if name not in ("id", "image", "split")]
    )
    texts = [label for label, _ in items if label is not None]
    numbers = all(isinstance(label, str) and label.isdecimal() for label in texts)
    stated = sorted(set(texts), key=int) if numbers and texts else None
    notes += scan_notes(found)
    if len(samples) > len(used):
        notes.append(f"{len(samples) - len(used):,} label files without an image passed over")
    return assemble(rows, root, config, labels, stated=stated, notes=notes, rejects=found.rejects)


def _labelled(sample: Sample, config: DataConfig) -> tuple[Any, dict[str, Any]]:
    """(label, extra values) of a sample: the label from .cls, else from the .json's label key, else from .txt."""
    texts = {}
    for end, data in sample.sidecars.items():
        try:
            texts[end] = data.decode("utf-8-sig").strip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(
                f"the .{end} of {sample.images[0][0]!r} is not UTF-8.", where=sample.shard, code="label"
            ) from error
    extra = _object(sample, texts.pop("json", None))
    keys = [config.label_column] if config.label_column else ["cls", *LABEL, "txt"]
    if config.label_column == "":
        keys = []
    both = {**extra, **texts}
    key = next((k for k in keys if k in both), None)
    label = both.get(key) if key is not None else None
    rest = {k: v for k, v in both.items() if k != key}
    if label is None or isinstance(label, str):
        return label, rest
    return [str(v) for v in label] if isinstance(label, list) else str(label), rest


def _object(sample: Sample, text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        item = json.loads(text)
    except ValueError as error:
        raise DataError(
            f"the .json of {sample.images[0][0]!r} is damaged ({error}).", where=sample.shard, code="label"
        ) from error
    return item if isinstance(item, dict) else {"json": item}
