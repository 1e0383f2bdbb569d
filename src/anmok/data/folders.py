"""Folders of images as rows: class folders, split folders with classes in them, or a flat folder."""

from __future__ import annotations

import os
from pathlib import Path

from anmok.core.errors import DataError
from anmok.core.types import Reject
from anmok.data.config import DataConfig, LabelsConfig
from anmok.data.rows import assemble, identifier, split_of, text_of
from anmok.data.scan import FolderScan, Scan, scan_notes
from anmok.data.storage import file_reference
from anmok.data.table import Table, named


def open_folder(path: Path, config: DataConfig, labels: LabelsConfig) -> Table:
    """Class folders, train|val|test/class, or a flat folder without labels."""
    found = FolderScan(os.fspath(path), config.allow_links).run()
    return open_scan(found, path, config, labels)


def open_scan(found: Scan, root: Path, config: DataConfig, labels: LabelsConfig) -> Table:
    """A Table of what a folder or an archive holds, labels taken from the folders.

    DataError (code empty-class) for class folders without images, unless `drop_empty`; (code no-images) for no image.
    """
    import polars as pl

    if not found.files:
        seen = "; ".join(scan_notes(found))
        raise DataError(f"no images found{seen and f' ({seen})'}.", where=str(root), code="no-images")
    prefix, notes = _wrapper(found)
    rows, told = _lay_out(found, prefix, config, str(root))
    ids = [identifier(name) for name, _, _, _ in rows]
    frame = pl.DataFrame(
        {
            "id": ids,
            "image": [row[1] for row in rows],
            "label": [row[2] for row in rows],
            "split": [row[3] for row in rows],
        },
        schema={"id": pl.String, "image": pl.String, "label": pl.String, "split": pl.String},
    ).sort("id")
    notes += [*told, *_csv_beside(found), *scan_notes(found)]
    return assemble(frame, root, config, labels, notes=notes, rejects=found.rejects)


def _wrapper(found: Scan) -> tuple[str, list[str]]:
    """The folder in which everything else lies, as in an archive of a whole folder; '' where there is none."""
    prefix = ""
    notes: list[str] = []
    while True:
        names = [name[len(prefix) :] for name, _ in found.files]
        tops = {name.split("/", 1)[0] for name in names}
        (top, *others) = tops
        if others or split_of(top) or any(name.count("/") < 2 for name in names):
            return prefix, notes
        prefix = f"{prefix}{top}/"
        notes = [f"all images lie in {text_of(prefix)}: the folders in it are the classes"]


def _lay_out(
    found: Scan, prefix: str, config: DataConfig, where: str
) -> tuple[list[tuple[str, str, str | None, str | None]], list[str]]:
    """(name, reference, label, split) of each image, and what was decided."""
    parts = [name[len(prefix) :].split("/") for name, _ in found.files]
    folders = [f[len(prefix) :].split("/") for f in found.folders if f.startswith(prefix) and f != prefix[:-1]]
    tops = {p[0] for p in parts if len(p) > 1}
    splits = {top: split for top in tops if (split := split_of(top))}
    by_split = bool(splits) and (len(splits) == len(tops) or ("train" in splits.values() and len(splits) > 1))
    if not tops:
        return [(name, ref, None, None) for name, ref in found.files], ["a flat folder: no labels"]
    notes: list[str] = []
    if by_split:
        notes.append("split by folder: " + ", ".join(f"{top} → {split}" for top, split in sorted(splits.items())))
    depth = 1 if by_split else 0
    rows: list[tuple[str, str, str | None, str | None]] = []
    astray: list[str] = []
    nested = 0
    for (name, reference), part in zip(found.files, parts, strict=True):
        split = splits.get(part[0]) if by_split else None
        labelled = len(part) > depth + 1
        if (by_split and split is None) or not (labelled or by_split):
            astray.append(name)
            if config.allow_unlabelled:
                rows.append((name, reference, None, None))
            continue
        nested += len(part) > depth + 2
        rows.append((name, reference, text_of(part[depth]) if labelled else None, split))
    if not config.allow_unlabelled:
        reason = "beside the class folders, not in one (--data.allow-unlabelled takes it without a label)"
        found.rejects += [Reject(file_reference(name), "unlabelled", reason) for name in astray]
    if nested:
        notes.append(f"{nested:,} images lie deeper than their class folder; the uppermost folder is the label")
    have = {row[2] for row in rows}
    classes = {text_of(f[depth]) for f in folders if len(f) == depth + 1 and (not by_split or f[0] in splits)}
    notes += _empty_classes(sorted(classes - have), have, config, where)
    return rows, notes


def _empty_classes(empty: list[str], have: set[str | None], config: DataConfig, where: str) -> list[str]:
    if not empty or have == {None}:
        return []
    if not config.drop_empty:
        raise DataError(
            f"{named(len(empty), 'class folder', empty)} without any image.", where=where,
            remedy="Fill or remove it, or leave it out with --data.drop-empty.", code="empty-class",
        )  # fmt: skip
    return [f"{named(len(empty), 'empty class folder', empty)} left out"]


def _csv_beside(found: Scan) -> list[str]:
    """Lists that lie beside the images and are not used: the folders win."""
    lists = [n for n in found.other if n.count("/") <= 1 and n.lower().endswith((".csv", ".tsv", ".jsonl"))]
    if not lists:
        return []
    found.other = [name for name in found.other if name not in lists]
    names = [text_of(name) for name in lists]
    return [f"labels come from the folders; {named(len(names), 'list', names)} not used (open it to use it)"]


def files_by_split(names: list[str]) -> tuple[dict[str, str], list[str]]:
    """({file: split}, notes) for shards such as train-00000-of-00002.parquet or test/0.tar; {} unless every name tells.

    One file alone has no split: its name says where it came from, not what it is opened for.
    """
    out: dict[str, str] = {}
    for name in names if len(names) > 1 else ():
        folder, _, base = name.rpartition("/")
        stem = base.split(".")[0]
        told = (split_of(word) for word in (stem, stem.split("-")[0], stem.split("_")[0], folder.rpartition("/")[2]))
        if split := next((s for s in told if s), None):
            out[name] = split
    silent = [name for name in names if name not in out]
    if out and silent:
        return {}, [f"warning: no split taken from file names: {named(len(silent), 'name', silent)} without one"]
    shown = ", ".join(f"{text_of(name)} → {split}" for name, split in list(out.items())[:6])
    return out, [f"split by file: {shown}{', …' if len(out) > 6 else ''}"] if out else []
