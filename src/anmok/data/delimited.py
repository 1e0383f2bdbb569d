"""Lists of images: CSV with any delimiter and encoding, and Hugging Face metadata as CSV or JSON lines."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.core.errors import DataError, UsageError
from anmok.core.text import visible
from anmok.core.types import Reject
from anmok.data.columns import IMAGE, Columns, choose_columns
from anmok.data.config import DataConfig, LabelsConfig
from anmok.data.label_columns import join_label_columns
from anmok.data.named_files import Finder
from anmok.data.rows import assemble, identifier, split_column, split_of
from anmok.data.storage import file_reference
from anmok.data.table import Table, named

if TYPE_CHECKING:
    import polars as pl

DELIMITERS = (",", ";", "\t", "|")
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
FIRST = 20  # missing files that an error names


def open_list(path: Path, config: DataConfig, labels: LabelsConfig) -> Table:
    """A CSV (`image,label[,split]` or as configured) or JSON lines; paths relative to it or to image_root."""
    rows, columns, notes, stated = read_list(path, config)
    return build(rows, columns, path, config, labels, notes, stated)


def read_list(path: Path, config: DataConfig) -> tuple[pl.DataFrame, Columns, list[str], list[str] | None]:
    """The rows of a list, which columns mean what, how it was read, and the labels that have a column each, if any."""
    read = read_json_lines if path.suffix.lower() in (".jsonl", ".ndjson") else read_csv
    rows, notes = read(path, config)
    columns = choose_columns(rows.columns, config, str(path))
    if columns.image is None:
        raise DataError(
            f"no image column; found {', '.join(map(repr, rows.columns[:20]))}.", where=str(path),
            remedy=f"Name it with --data.image-column, or call it one of {', '.join(IMAGE[:4])}.", code="column",
        )  # fmt: skip
    notes += columns.said()
    rows, columns, stated, told = join_label_columns(rows, columns, config, str(path))
    notes += told
    if columns.label is None and config.label_column is None:
        notes.append("no label column: unlabelled")
    return rows, columns, notes, stated


def build(
    rows: pl.DataFrame,
    columns: Columns,
    path: Path,
    config: DataConfig,
    labels: LabelsConfig,
    notes: list[str],
    stated: list[str] | None = None,
) -> Table:
    """A Table from the rows of a list: files found, repeated rows merged, missing ones left out or an error.

    path: the list, whose folder the images are relative to; stated: the classes in order, where the list gives them.
    """
    import polars as pl

    root = Path(config.image_root) if config.image_root else path.parent
    if not root.is_dir():
        raise UsageError(f"no such folder: {root}.", where="data.image_root", code="source")
    ours = {name: column for name, column in columns._asdict().items() if column}
    extra = rows.drop(list(ours.values()))
    clash = [c for c in extra.columns if c in ("id", *columns._fields)]
    extra = extra.rename({c: f"{c}_given" for c in clash})
    frame = pl.concat([rows.select(pl.col(c).alias(name) for name, c in ours.items()), extra], how="horizontal")
    frame = frame.with_columns(pl.col("image").cast(pl.String))
    if clash:
        notes.append(f"columns renamed: {', '.join(f'{c} → {c}_given' for c in clash)}")
    if "group" in frame.columns:
        group = pl.col("group").cast(pl.String)
        frame = frame.with_columns(pl.when(group.str.strip_chars() != "").then(group).alias("group"))
    if "split" in frame.columns:
        frame = frame.with_columns(split_column(frame["split"], str(path)).alias("split"))
    frame, rejects, told = locate(frame, Finder(str(root), config.allow_links), str(path), config)
    frame, merged = merge_repeated(frame, str(path), config)
    return assemble(frame, root, config, labels, stated=stated, notes=[*notes, *told, *merged], rejects=rejects)


def locate(
    frame: pl.DataFrame, finder: Finder, where: str, config: DataConfig
) -> tuple[pl.DataFrame, list[Reject], list[str]]:
    """Ids and references of the files that are there; DataError where more are missing than max_rejects allows."""
    import polars as pl

    blank = frame["image"].is_null() | (frame["image"].str.strip_chars() == "")
    if blank.any():
        raise DataError(f"{blank.sum():,} rows name no image.", where=where, remedy="Fill them in.", code="list")
    ids: list[str | None] = []
    references: list[str | None] = []
    faults: dict[str, list[str]] = {"missing": [], "outside": []}
    for name in frame["image"].to_list():
        found, fault = finder.find(name)
        ids.append(None if found is None else identifier(found))
        references.append(None if found is None else file_reference(found))
        if fault:
            faults[fault].append(visible(name))
    frame = frame.with_columns(pl.Series("id", ids, pl.String), pl.Series("image", references, pl.String))
    if faults["outside"]:
        raise DataError(
            f"{named(len(faults['outside']), 'path', faults['outside'])} lead outside {finder.root}.", where=where,
            remedy="Name the folder with --data.image-root, or allow it with --data.allow-links.", code="outside-link",
        )  # fmt: skip
    missing = faults["missing"]
    if not missing:
        return frame, [], []
    text = f"{named(len(missing), 'image', missing, FIRST)} of {frame.height:,} not found below {finder.root}"
    if len(missing) > config.max_rejects * frame.height or len(missing) == frame.height:
        raise DataError(
            f"{text}; at most {config.max_rejects:.1%} may be missing.", where=where,
            remedy="Name their folder with --data.image-root, or raise --data.max-rejects.", code="missing-images",
        )  # fmt: skip
    rejects = [Reject(name, "io-error", "named in the list, but not there") for name in missing]
    return frame.filter(pl.col("id").is_not_null()), rejects, [f"warning: {text}: left out"]


def merge_repeated(frame: pl.DataFrame, where: str, config: DataConfig) -> tuple[pl.DataFrame, list[str]]:
    """One row for each image: repeated rows are merged, rows that contradict each other are an error.

    With task multilabel, rows that give one image several labels (text) are joined.
    """
    import polars as pl

    twice = frame.filter(frame["id"].is_duplicated())
    if not twice.height:
        return frame, []
    join = config.task == "multilabel" and frame.schema.get("label") == pl.String
    told = [c for c in ("label", "split", "group") if c in frame.columns and not (join and c == "label")]
    for column in told:
        counts = twice.group_by("id").agg(pl.col(column).n_unique().alias("n")).filter(pl.col("n") > 1)
        if counts.height:
            ids = counts["id"].sort().to_list()
            values = twice.filter(pl.col("id") == ids[0])[column].unique().to_list()
            raise DataError(
                f"rows contradict each other on the {column} of {named(len(ids), 'image', ids, FIRST)}; "
                f"{visible(ids[0])!r} is {' and '.join(map(repr, values))}.",
                where=where,
                remedy="Keep one row for each image; several labels: --data.task multilabel.",
                code="conflicting-rows",
            )
    if join:
        joined = pl.col("label").str.join(config.label_separator).over("id").alias("label")
        frame = frame.with_columns(joined)
    once = frame.unique("id", keep="first", maintain_order=True)
    return once, [f"{frame.height - once.height:,} repeated rows merged"]


def read_csv(path: Path, config: DataConfig) -> tuple[pl.DataFrame, list[str]]:
    """A CSV as text columns; encoding and delimiter found or as configured, and said where they are not the usual."""
    import polars as pl

    text, encoding = decode_text(path.read_bytes(), config.encoding, str(path))
    delimiter = config.delimiter or find_delimiter(text)
    if len(delimiter) != 1:
        raise UsageError(f"{delimiter!r} is not one character.", where="data.delimiter", code="setting")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines: list[list[str]] = []
    try:
        header = next((line for line in reader if line), None)
        if header is None:
            raise DataError("the file is empty.", where=str(path), code="list")
        for line in reader:
            if line and len(line) != len(header):
                raise DataError(
                    f"line {reader.line_num} has {len(line)} fields, the header {len(header)}.", where=str(path),
                    remedy=f"Correct it, or name the delimiter (--data.delimiter; taken: {delimiter!r}).", code="list",
                )  # fmt: skip
            if line:
                lines.append(line)
    except csv.Error as error:
        raise DataError(f"line {reader.line_num}: {error}.", where=str(path), code="list") from error
    if len(set(header)) < len(header) or not lines:
        problem = "no rows below the header." if not lines else f"a column name comes twice: {', '.join(header)}."
        raise DataError(problem, where=str(path), code="list")
    rows = pl.DataFrame(
        dict(zip(header, zip(*lines, strict=True), strict=True)), schema=dict.fromkeys(header, pl.String)
    )
    usual = encoding == "utf-8" and delimiter == "," and "\r" not in text
    ends = "CRLF" if "\r\n" in text else "CR" if "\r" in text else "LF"
    return rows, [] if usual else [f"{path.name}: {encoding}, delimiter {delimiter!r}, line ends {ends}"]


def decode_text(data: bytes, encoding: str | None, where: str) -> tuple[str, str]:
    """(text, encoding): as asked; else by its byte-order mark, else UTF-8, else CP949.  DataError where none fits."""
    tried = [encoding] if encoding else [name for bom, name in _BOMS if data.startswith(bom)][:1] or ["utf-8", "cp949"]
    for name in tried:
        try:
            return data.decode(name), name
        except UnicodeDecodeError:
            continue
        except LookupError as error:
            raise UsageError(f"no encoding {name!r}.", where="data.encoding", code="setting") from error
    raise DataError(
        f"not {' nor '.join(tried)}.", where=where, remedy="Name the encoding with --data.encoding.", code="encoding"
    )


def find_delimiter(text: str) -> str:
    """The delimiter of a CSV by its header: the one that gives a known image column, else the most frequent."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    counts = {d: len(next(csv.reader([header], delimiter=d), [])) for d in DELIMITERS}
    known = [
        d for d in DELIMITERS if {n.strip().lower() for n in next(csv.reader([header], delimiter=d), [])} & {*IMAGE}
    ]
    return max(known or DELIMITERS, key=lambda d: counts[d])


def read_json_lines(path: Path, config: DataConfig) -> tuple[pl.DataFrame, list[str]]:
    """JSON objects, one a line; a value that is neither scalar nor list of texts is kept as JSON text."""
    import polars as pl

    text, _ = decode_text(path.read_bytes(), config.encoding, str(path))
    items: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except ValueError as error:
            raise DataError(f"line {number} is not JSON ({error}).", where=str(path), code="list") from error
        if not isinstance(item, dict):
            raise DataError(f"line {number} is no JSON object.", where=str(path), code="list")
        items.append(item)
    if not items:
        raise DataError("the file is empty.", where=str(path), code="list")
    names = dict.fromkeys(name for item in items for name in item)
    return pl.DataFrame([series(name, [item.get(name) for item in items]) for name in names]), []


def series(name: str, values: list[Any]) -> pl.Series:
    """A column of one type from JSON values: scalars of one type, lists of scalars as texts, anything else as JSON."""
    import polars as pl

    kinds = {type(v) for v in values if v is not None}
    if kinds == {list} and all(isinstance(x, str | int | float) for v in values if v is not None for x in v):
        texts = [None if v is None else [str(x) for x in v] for v in values]
        return pl.Series(name, texts, dtype=pl.List(pl.String))
    if len(kinds) <= 1 and kinds <= {str, bool, float, int}:
        return pl.Series(name, values, strict=False)
    return pl.Series(
        name,
        [v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values],
        dtype=pl.String,
    )


def metadata_files(folder: Path) -> dict[str, Path]:
    """Hugging Face metadata in a folder, as {'': file}, or in its split folders, as {folder name: file}."""
    found: dict[str, Path] = {}
    places = {"": folder}
    with os.scandir(folder) as entries:
        places.update({e.name: Path(e.path) for e in entries if split_of(e.name) and e.is_dir()})
    for place, path in places.items():
        files = (path / name for name in ("metadata.csv", "metadata.jsonl"))
        if file := next((f for f in files if f.is_file() and _names_files(f)), None):
            found[place] = file
    return {"": found[""]} if "" in found else found


def _names_files(path: Path) -> bool:
    with path.open("rb") as handle:
        return b"file_name" in handle.read(1 << 16)


def open_metadata(folder: Path, files: dict[str, Path], config: DataConfig, labels: LabelsConfig) -> Table:
    """A folder with metadata.csv or metadata.jsonl (column file_name), or one of these in each of its split folders."""
    import polars as pl

    config = config.model_copy(update={"image_column": config.image_column or "file_name"})
    parts, notes = [], []
    columns = Columns(None, None, None, None)
    stated: list[str] | None = None
    for place, file in sorted(files.items()):
        rows, columns, told, names = read_list(file, config)
        stated = stated if names is None else list(dict.fromkeys([*(stated or ()), *names]))
        assert columns.image is not None
        image = pl.col(columns.image).cast(pl.String)
        if place:
            rows = rows.with_columns(pl.concat_str(pl.lit(f"{place}/"), image).alias(columns.image))
        if columns.split is None and config.split_column is None:
            first = [name.split("/")[0] if "/" in name else "" for name in rows[columns.image].to_list()]
            if all(split_of(name) for name in first):
                rows = rows.with_columns(pl.Series("split", first))
                columns = columns._replace(split="split")
                notes.append("split by the folder in file_name")
        parts.append(rows)
        notes += [f"labels from {file.relative_to(folder)}", *told]
    rows = pl.concat(parts, how="diagonal")
    return build(rows, columns, folder / "metadata", config, labels, list(dict.fromkeys(notes)), stated)
