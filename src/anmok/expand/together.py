"""Two tables of images that lie in different places as one: at the nearest folder that holds both."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from anmok.data.storage import escape, file_name, file_reference, parse
from anmok.data.table import Table


def at_one_root(first: Table, second: Table) -> tuple[Table, Table]:
    """The same tables with one root, the nearest folder that holds both of theirs; ids stay as they are."""
    roots = [os.path.realpath(table.root) for table in (first, second)]
    if roots[0] == roots[1]:
        return first, second
    common = os.path.commonpath(roots)
    return _moved(first, roots[0], common), _moved(second, roots[1], common)


def _moved(table: Table, old: str, new: str) -> Table:
    import polars as pl

    if old == new:
        return table
    below = os.path.relpath(old, new)
    images = pl.Series("image", [below_folder(image, below) for image in table.rows["image"]], dtype=pl.String)
    return replace(table, rows=table.rows.with_columns(images), root=Path(new))


def below_folder(reference: str, folder: str) -> str:
    """The reference of the same image from higher up, where its root is `folder`."""
    name = file_name(reference)
    if name is not None:
        return file_reference(f"{folder}/{name}")
    part = parse(reference)
    return f"{part.kind}:{escape(f'{folder}/{part.file}')}#{part.place}"
