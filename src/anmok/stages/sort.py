"""Images copied into folders by their label, under names that any system takes and that never collide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from anmok.core.errors import ImageError
from anmok.core.files import new_folder
from anmok.core.progress import warn
from anmok.core.types import Predictions
from anmok.data.header import EXTENSIONS
from anmok.data.sniff import HEAD, sniff
from anmok.data.table import Table, named
from anmok.evaluate.answers import Answers

MAX_BYTES = 200  # of a name; file systems take 255
UNREADABLE, NONE, ASK = "_unreadable", "_none", "_ask"


def sort_images(p: Predictions, table: Table, folder: Path) -> None:
    """Copy each image of the table to folder/label/; those without an answer to `_unreadable`, without a label `_none`,
    those that a person should look at to `_ask`.

    The folder appears whole or not at all. Nothing is moved. An image whose bytes cannot be read is passed over, and
    said aloud.
    """
    images = dict(table.rows.select("id", "image").iter_rows())
    named_folders = (UNREADABLE, NONE, ASK, *p.classes)
    folders = dict(zip(named_folders, unique_names(named_folders), strict=True))
    asked = p.asked if isinstance(p, Answers) and p.asked is not None else np.zeros(len(p), bool)
    gone: list[str] = []
    with new_folder(folder) as new:
        for identity, name, label, ask in zip(p.ids, names_for(p.ids, images), p.labels, asked, strict=True):
            if identity not in images:
                continue  # left out by the source: there is nothing to copy
            try:
                data = table.storage.read(images[identity])
            except ImageError as error:
                gone.append(f"{identity}: {error.message}")
                continue
            labels = [ASK] if ask else [label or UNREADABLE] if isinstance(label, str) else label or [NONE]
            for one in [UNREADABLE] if identity in p.errors else labels:
                target = new / folders[one] / with_extension(name, data, images[identity])
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(data)
    if gone:
        warn(f"{named(len(gone), 'image', gone)} could not be copied")


def safe_name(text: str) -> str:
    """A text as one file or folder name: no separators, no dots in front, at most MAX_BYTES bytes, extension kept."""
    clean = "".join("_" if c in '/\\:*?"<>|' or ord(c) < 32 else c for c in text).lstrip(".").strip() or "_"
    data = clean.encode("utf-8", "replace")
    if len(data) <= MAX_BYTES:
        return data.decode()
    stem, dot, end = data.rpartition(b".")
    tail = dot + end if stem and len(end) <= 8 else b""
    return data[: MAX_BYTES - len(tail)].decode("utf-8", "ignore") + tail.decode("utf-8", "ignore")


def unique_names(texts: Sequence[str]) -> Iterator[str]:
    """A safe name for each text; one that is taken (any case) gets a number before its extension."""
    seen: set[str] = set()
    for text in texts:
        name = first = safe_name(text)
        number = 1
        while name.casefold() in seen:
            number += 1
            stem, dot, end = first.rpartition(".")
            name = f"{stem}-{number}.{end}" if dot and stem else f"{first}-{number}"
        seen.add(name.casefold())
        yield name


def names_for(ids: Sequence[str], images: dict[str, str]) -> Iterator[str]:
    """A file name for each id: its last part; of a row of Parquet, the file's name and the row's number."""
    return unique_names(
        [
            i.rpartition("/")[2].replace(".parquet#", "-") if images.get(i, "").startswith("parquet:") else Path(i).name
            for i in ids
        ]
    )


def with_extension(name: str, data: bytes, reference: str) -> str:
    """The name, with the extension of what the bytes are where it is a row's, which has none."""
    kind = sniff(data[:HEAD]) if reference.startswith("parquet:") else None
    return f"{name}.{EXTENSIONS[kind][0]}" if kind in EXTENSIONS else name
