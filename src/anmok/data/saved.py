"""What a saved Table must be before anybody works with it: complete, consistent, and at home below its root."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.core.errors import DataError
from anmok.core.text import visible
from anmok.data.scan import inside
from anmok.data.storage import file_name, parse

if TYPE_CHECKING:
    import polars as pl

    from anmok.data.table import Table

# What to do where the images of a run are no longer where its table says.
MOVED = "Bring them back, or say where they lie now: anmok train --resume {run} --image-root FOLDER."
TASKS = ("binary", "multiclass", "multilabel")
TEXTS = ("id", "image", "split", "group", "hash")
SPLITS = ("train", "val", "test")
KEYS = {"root": str, "classes": list, "task": str, "reason": str, "parents": list, "notes": list, "rejects": list}


def check_saved(rows: pl.DataFrame, about: dict[str, Any], where: str) -> None:
    """DataError (code damaged) unless these are rows and metadata that `Table.save` could have written."""
    import polars as pl

    def refuse(what: str) -> DataError:
        return DataError(
            f"the table is damaged: {what}.", where=where, remedy="Write it anew with `anmok split`.", code="damaged"
        )

    wrong = [key for key, kind in KEYS.items() if not isinstance(about.get(key), kind)]
    wrong += [c for c in TEXTS if rows.schema.get(c) not in (pl.String, pl.Null)]
    whole = all(isinstance(r, list) and [type(v) for v in r] == [str] * 3 for r in about.get("rejects") or ())
    wrong += [] if whole else ["rejects"]
    wrong += [] if rows.schema.get("unknown", pl.List(pl.String)) == pl.List(pl.String) else ["unknown"]
    pairs = about.get("hierarchy") or []
    wrong += [] if isinstance(pairs, list) and all(_is_pair(pair) for pair in pairs) else ["hierarchy"]
    wrong += [] if rows.schema.get("label") in (pl.String, pl.Null, pl.List(pl.String)) else ["label"]
    if wrong:
        raise refuse(f"{', '.join(wrong)} missing or of another type")
    if about["task"] not in TASKS or not all(isinstance(name, str) for name in about["classes"]):
        raise refuse("its task or classes")
    if (about["task"] == "multilabel") != isinstance(rows.schema["label"], pl.List) and about["classes"]:
        raise refuse("its labels do not fit its task")
    if rows["id"].null_count() or rows["image"].null_count() or rows["id"].n_unique() < rows.height:
        raise refuse("an id or an image is missing, or an id comes twice")
    for column, known in (("label", about["classes"]), ("split", SPLITS), ("unknown", about["classes"])):
        if column not in rows.columns:
            continue
        present = rows[column].explode().drop_nulls().unique().cast(pl.String)
        if other := sorted(set(present.to_list()) - set(known)):
            raise refuse(f"{column} {other[0]!r} is not among {', '.join(known[:12])}")


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list) and [type(part) for part in pair] == [str, str]


def refuse_outside(rows: pl.DataFrame, where: str) -> None:
    """DataError (code outside-link) for a reference that leads out of the root by its name: '..', an absolute path."""
    images = rows["image"]
    files = images.filter(images.str.contains(r"^/|^bytes:|(^|/)\.\.(/|$)|\x00"))
    archives = images.filter(images.str.contains("^(parquet|tar|zip):")).str.replace("(?s)#.*", "#").unique()
    places = {file_name(reference) or parse(reference).file for reference in (*files, *archives)}
    out = sorted(place for place in places if _leaves(place))
    if out:
        names = ", ".join(visible(place) for place in out[:5])
        raise DataError(
            f"{len(out):,} of its references lead outside the table's root ({names}{', …' if len(out) > 5 else ''}).",
            where=where, remedy="Allow them, if you trust the table, with --data.allow-links.", code="outside-link",
        )  # fmt: skip


def _leaves(place: str) -> bool:
    return place.startswith("/") or "\0" in place or os.path.normpath(place).split("/")[0] == ".."


def refuse_links(table: Table, where: str) -> None:
    """DataError (code outside-link) for a file of the table that a link leads out of the root."""
    root = os.path.realpath(table.root)

    @cache
    def stays(place: str) -> bool:
        return inside(os.path.realpath(f"{root}/{place}"), root)

    for place in dict.fromkeys(file_name(r) or parse(r).file for r in table.rows["image"].to_list()):
        whole = os.path.islink(f"{root}/{place}")  # noqa: PTH114 - else its folder tells
        if not stays(place if whole else os.path.dirname(place)):  # noqa: PTH120
            raise DataError(
                f"{visible(place)} is a link that leads outside {root}.", where=where,
                remedy="Allow it with --data.allow-links.", code="outside-link",
            )  # fmt: skip


def require_root(table: Table, where: str, remedy: str) -> None:
    """DataError (code missing-root) that names the folder of the images, where it is not there."""
    root = Path(table.root).absolute()
    if not root.is_dir():
        raise DataError(
            f"its images lie in {root}, which is not there.", where=where, remedy=remedy, code="missing-root"
        )
