"""Slices of a split by columns of its table, or by what follows from it: folder, size, duplicates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.core.progress import say
from anmok.core.types import Predictions
from anmok.data.table import COLUMNS, Table
from anmok.evaluate.slices import buckets, evaluate_slices

if TYPE_CHECKING:
    import polars as pl

MADE = ("folder", "size", "duplicates")  # what follows from a table without being a column of it
MOST = 30  # parts of a column: the largest; all others are one more
OWN_MOST = 12  # parts that a column may have to be sliced unasked
OWN_COLUMNS = 4  # columns that are sliced unasked
OWN_SIZES = 5_000  # images up to which headers are read for their size unasked
OWN_LEAST = 5  # images that at least two parts must have for a column to be sliced unasked
RANGES = 4  # of a column of many numbers
SIZES = ("small", "medium", "large")
RESAMPLES = 400  # of the bootstrap of each part
_OTHERS = "\0others"


class Division(NamedTuple):
    """A column by which a split is divided: id to part, and what else is said of a part."""

    column: str
    parts: dict[str, Any]
    said: dict[Any, dict[str, Any]]


def divisions(table: Table, split: str, asked: Sequence[str] | str | None = None) -> list[Division]:
    """How the labelled images of a split are divided, before anything is predicted.

    asked: names with commas between them, or a sequence; each a column of the table, `folder` (of the image), `size`
    (small, medium, large: thirds of the images by width × height, with `pixels` [least, most]) or `duplicates`
    (`first` of each image: the score with duplicates left out; `again`: those whose bytes are in the split already, or
    in another).  A column of more than MOST texts keeps the most frequent, the rest is one part with `others`; many
    numbers become RANGES ranges.  None: columns that divide this split sensibly, of few parts, at most OWN_COLUMNS.
    One that is the same for all images is passed over,
    and said.  UsageError: no such column.
    """
    rows = table.labelled().where(split=split)
    out = []
    for name in own_columns(rows) if asked is None else names_of(asked):
        values, said = _column(table, rows, name)
        if len(set(values)) > 1:
            out.append(Division(name, dict(zip(rows.rows["id"], values, strict=True)), said))
        elif asked is not None:
            say(f"{name} does not divide the {split} split: it is the same for all {len(rows):,} images")
    return out


def file_divisions(frame: pl.DataFrame, asked: Sequence[str] | str) -> list[Division]:
    """The same of a file of predictions, by its other columns, or the `folder` of its ids."""
    ids, out = [str(i) for i in frame["id"]], []
    for name in names_of(asked):
        if name in frame.columns:
            values = _parts(frame[name])
        elif name == "folder":
            values = _few([_folder(i) for i in ids])
        else:
            raise _unknown(name, [*frame.columns, "folder"])
        out.append(Division(name, dict(zip(ids, values, strict=True)), {}))
    return out


def sliced(
    found: Sequence[Division], p: Predictions, split: str | None, groups: dict[str, str] | None = None
) -> dict[str, list[dict[str, Any]]]:
    """{column: parts, the worst first} as `evaluate_slices` gives them: what stands in evaluation.json.

    DataError: see `usable_rows`.
    """
    out: dict[str, list[dict[str, Any]]] = {}
    for column, parts, said in found:
        out[column] = []
        for row in evaluate_slices(p, parts, split, groups=groups, resamples=RESAMPLES):
            more = {"value": "others", "others": True} if row["value"] == _OTHERS else said.get(row["value"], {})
            out[column].append(row | more)
    return out


def names_of(asked: Sequence[str] | str) -> list[str]:
    """The names asked for, each once.  UsageError: none."""
    names = [n.strip() for n in (asked.split(",") if isinstance(asked, str) else asked)]
    if not any(names) or "" in names:
        raise UsageError(
            "name the columns, with commas between them.", where="--slices", code="setting",
            remedy="Such as --slices camera,folder,size,duplicates.",
        )  # fmt: skip
    return list(dict.fromkeys(names))


def own_columns(rows: Table) -> list[str]:
    """The columns by which a split is sliced unasked: few parts, two of them not tiny, and not the label itself."""
    import polars as pl

    frame = rows.rows
    labels = frame["label"].cast(pl.String) if rows.task != "multilabel" else None
    found = []
    for name in [c for c in frame.columns if c not in COLUMNS and frame[c].dtype in (pl.String, pl.Boolean)]:
        if _divides(frame[name].cast(pl.String), labels):
            found.append(name)
    if _divides(pl.Series(_folders(rows), dtype=pl.String), labels):
        found.append("folder")
    if {"width", "height"} <= set(frame.columns) or len(rows) <= OWN_SIZES:
        found.append("size")
    return found[:OWN_COLUMNS]


def _divides(values: pl.Series, labels: pl.Series | None) -> bool:
    """Whether a column has few parts, two of them not tiny, and says more, or less, than the label does."""
    import polars as pl

    sizes = values.value_counts(sort=True)["count"].to_list()
    if not 2 <= len(sizes) <= OWN_MOST or sizes[1] < OWN_LEAST:
        return False
    if labels is None:
        return True
    pairs = pl.DataFrame({"value": values, "label": labels})
    return bool(pairs.group_by("value").agg(pl.col("label").n_unique())["label"].max() > 1)  # type: ignore[operator]


def _column(table: Table, rows: Table, name: str) -> tuple[list[Any], dict[Any, dict[str, Any]]]:
    """The part of each row, and what else is said of a part."""
    if name in rows.rows.columns:
        return _parts(rows.rows[name]), {}
    made: dict[str, Callable[[], tuple[list[Any], dict[Any, dict[str, Any]]]]] = {
        "folder": lambda: (_few(_folders(rows)), {}),
        "size": lambda: _sizes(rows),
        "duplicates": lambda: (_duplicates(table, rows), {}),
    }
    if name not in made:
        raise _unknown(name, [*(c for c in rows.rows.columns if c not in ("id", "hash")), *MADE])
    return made[name]()


def _unknown(name: str, known: Sequence[str]) -> UsageError:
    return UsageError(
        f"no such column as {name}; there are {', '.join(known[:20])}.", where="--slices", code="setting",
        remedy=did_you_mean(name, known),
    )  # fmt: skip


def _parts(column: pl.Series) -> list[Any]:
    """The part of each row: a text, a range of many numbers; None where nothing is given."""
    import polars as pl

    if column.dtype.is_numeric() and column.n_unique() > OWN_MOST:
        return buckets(column.cast(pl.Float64).to_list(), RANGES)
    if isinstance(column.dtype, pl.List | pl.Struct):
        return _few([None if v is None else ", ".join(map(str, v)) for v in column.to_list()])
    return _few([None if v is None or v == "" else str(v) for v in column.to_list()])


def _few(values: list[str | None]) -> list[str | None]:
    """The most frequent MOST values; all others become one."""
    counts: dict[str | None, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    if len(counts) <= MOST + 1:
        return values
    kept = set(sorted(counts, key=lambda v: (-counts[v], str(v)))[:MOST])
    return [v if v in kept else _OTHERS for v in values]


def _folders(rows: Table) -> list[str | None]:
    return [_folder(i) for i in rows.rows["id"]]


def _folder(identity: str) -> str:
    """The folder of an image by its id, '.' at the root."""
    return PurePosixPath(identity).parent.as_posix()


def _sizes(rows: Table) -> tuple[list[str | None], dict[Any, dict[str, Any]]]:
    """small, medium or large of each image; an image that cannot be read has none."""
    if {"width", "height"} <= set(rows.rows.columns):
        pairs = zip(rows.rows["width"], rows.rows["height"], strict=True)
        pixels = [None if w is None or h is None else float(w) * float(h) for w, h in pairs]
    else:
        with ThreadPoolExecutor() as pool:
            pixels = list(pool.map(lambda reference: _pixels(rows, reference), rows.rows["image"]))
    ranges = buckets(pixels, len(SIZES))
    spans: dict[str, list[int]] = {}
    for name, n in zip(ranges, pixels, strict=True):
        if name is not None and n is not None:
            low, high = spans.get(name, [int(n), int(n)])
            spans[name] = [min(low, int(n)), max(high, int(n))]
    ordered = sorted(spans, key=lambda name: spans[name][0])
    words = {1: SIZES[:1], 2: (SIZES[0], SIZES[2])}.get(len(ordered), SIZES)
    size = dict(zip(ordered, words, strict=True))
    return [None if r is None else size[r] for r in ranges], {size[r]: {"pixels": spans[r]} for r in ordered}


def _pixels(rows: Table, reference: str) -> float | None:
    from anmok.data.decode import probe

    try:
        info = probe(rows.storage.read(reference))
    except DataError:  # an ImageError is one too
        return None
    return float(info.width * info.height)


def _duplicates(table: Table, rows: Table) -> list[str]:
    """'again' for an image whose bytes come earlier in the split or stand in another split, else 'first'."""
    import polars as pl

    every = table.hashed().rows.select("id", "split", "hash")
    ids = set(rows.rows["id"])
    elsewhere = set(every.filter(pl.col("split").is_not_null() & ~pl.col("id").is_in(list(ids)))["hash"].drop_nulls())
    own = dict(every.filter(pl.col("id").is_in(list(ids))).select("id", "hash").iter_rows())
    seen, out = set(elsewhere), []
    for identity in rows.rows["id"]:
        digest = own.get(identity)
        out.append("again" if digest is not None and digest in seen else "first")
        if digest is not None:
            seen.add(digest)
    return out
