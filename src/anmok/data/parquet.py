"""Parquet as a source: an image column of bytes that stays in the file, or a column of paths; or a Table of ours."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.core.errors import DataError, UsageError
from anmok.core.types import Reject
from anmok.data.columns import IMAGE, Columns, choose_columns
from anmok.data.config import DataConfig, LabelsConfig
from anmok.data.delimited import build, locate
from anmok.data.folders import files_by_split
from anmok.data.label_columns import join_label_columns
from anmok.data.labels import prepare
from anmok.data.named_files import Finder
from anmok.data.rows import assemble
from anmok.data.saved import refuse_links, require_root
from anmok.data.storage import bytes_column, escape, read_bytes_column
from anmok.data.table import METADATA, Table, named

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


def open_parquet(path: Path, config: DataConfig, labels: LabelsConfig) -> Table:
    """A Parquet file: a Table of ours, a column of image bytes, or a column of paths."""
    if METADATA in (_schema(path).metadata or {}):
        return _reopen(path, config, labels)
    return open_parquets(path.parent, [path.name], config, labels)


def _reopen(path: Path, config: DataConfig, labels: LabelsConfig) -> Table:
    """A saved Table; image_root says where its images lie now, labels, task and positive class may be set anew."""
    table = Table.load(path, links=config.allow_links)
    if config.image_root:
        table = replace(table, root=Path(config.image_root))
    require_root(table, str(path), "Name the folder where they lie now with --data.image-root.")
    if not table.links:
        refuse_links(table, str(path))
    return relabel(table, config, labels)


def relabel(table: Table, config: DataConfig, labels: LabelsConfig) -> Table:
    """A new version of a table with labels merged or dropped, or another task; the table itself where none is asked."""
    task = table.task if config.task == "auto" else config.task
    if not (labels.merge or labels.drop or config.positive or task != table.task):
        return table
    config = config.model_copy(update={"task": "auto" if config.task == "auto" and task != "multilabel" else task})
    table = table.hashed()
    ready = prepare(table.rows, config, labels, table.classes)
    new = table.with_rows(ready.rows, "labels set anew")
    return replace(new, classes=ready.classes, task=ready.task, reason=ready.reason, notes=(*new.notes, *ready.notes))


def open_parquets(root: Path, names: list[str], config: DataConfig, labels: LabelsConfig) -> Table:
    """Parquet files of one schema below `root`; of several, train-*.parquet and test-*.parquet give the split."""
    import polars as pl

    where = str(root / names[0])
    schema = _schema(root / names[0])
    for name in names[1:]:
        if not _schema(root / name).equals(schema, check_metadata=False):
            raise DataError(f"its columns are not those of {names[0]}.", where=str(root / name), code="schema")
    columns, in_file, classes = _columns(schema, config, where)
    notes = columns.said()
    heavy = [f.name for f in schema if f.name != columns.image and _is_heavy(f)]
    if heavy:
        notes.append(f"{named(len(heavy), 'column', heavy)} of bytes not kept")
    splits, told = files_by_split(names if columns.split is None else [])
    notes += told
    light = [f.name for f in schema if f.name not in (columns.image, *heavy)]
    parts, rejects = [], []
    for name in names:
        part, missed = _read(root, name, light, columns, in_file, config)
        parts.append(part.with_columns(pl.lit(splits[name]).alias("split")) if splits else part)
        rejects += missed
    rows = pl.concat(parts, how="vertical_relaxed")
    if not rows.height:
        raise DataError("no rows with an image.", where=where, code="no-images")
    if rejects:
        notes.append(f"warning: {named(len(rejects), 'row', [r.id for r in rejects])} without an image left out")
    rows, columns, stated, told = join_label_columns(rows, columns, config, where)
    notes += told
    if columns.label is not None:
        rows, indexed = _named_labels(rows, columns.label, classes, where)
        stated = stated or indexed
    elif config.label_column is None:
        notes.append("no label column: unlabelled")
    if not in_file:
        given = columns._replace(split="split") if splits else columns
        return build(rows, given, root / names[0], config, labels, notes, stated)
    return assemble(
        rows.rename(_renamed(rows, columns)), root, config, labels, stated=stated, notes=notes, rejects=rejects
    )


def _renamed(rows: pl.DataFrame, columns: Columns) -> dict[str, str]:
    """Our names for the columns that mean something; an extra column that has one of them already is renamed."""
    ours = {c: name for name, c in columns._asdict().items() if c and c != name and name != "image"}
    clash = {c: f"{c}_given" for c in ours.values() if c in rows.columns and c not in ours}
    return {**clash, **ours}


def _schema(path: Path) -> pa.Schema:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path)
    except UnicodeEncodeError as error:
        raise DataError("Parquet is read from paths in UTF-8 only.", where=str(path), code="io-error") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"not readable as Parquet ({error}).", where=str(path), code="damaged") from error


def _is_heavy(field: pa.Field) -> bool:
    """Whether a column holds bytes."""
    import pyarrow.types as pt

    kinds = [field.type, *(c.type for c in field.type)] if pt.is_struct(field.type) else [field.type]
    return any(pt.is_binary(k) or pt.is_large_binary(k) for k in kinds)


def _columns(schema: pa.Schema, config: DataConfig, where: str) -> tuple[Columns, bool, dict[str, list[str]]]:
    """Which column means what, whether the image column holds bytes, and the class names of ClassLabel columns."""
    columns = choose_columns(schema.names, config, where)
    if config.image_column is None and (columns.image is None or not _is_heavy(schema.field(columns.image))):
        columns = columns._replace(image=bytes_column(schema) or columns.image)
    if columns.image is None:
        raise DataError(
            f"no image column; found {', '.join(schema.names[:20])}.", where=where,
            remedy=f"Name it with --data.image-column, or call it one of {', '.join(IMAGE[:4])}.", code="column",
        )  # fmt: skip
    classes = class_names(schema)
    if columns.label is None and config.label_column is None and classes:
        if len(classes) > 1:
            raise UsageError(
                f"several columns of classes: {', '.join(classes)}.", where=where,
                remedy="Name one with --data.label-column.", code="column",
            )  # fmt: skip
        columns = columns._replace(label=next(iter(classes)))
    return columns, _is_heavy(schema.field(columns.image)), classes


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """{column: class names in order} from the schema metadata that Hugging Face `datasets` writes (ClassLabel)."""
    try:
        about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    except ValueError:
        return {}
    info = about.get("info") if isinstance(about, dict) else None
    features = info.get("features") if isinstance(info, dict) else None
    found = {}
    for column, feature in (features or {}).items():
        while isinstance(feature, list) and feature:
            feature = feature[0]
        while isinstance(feature, dict) and isinstance(feature.get("feature"), dict):
            feature = feature["feature"]
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and column in schema.names:
            found[column] = [str(name) for name in feature.get("names", [])]
    return found


def _read(
    root: Path, name: str, light: list[str], columns: Columns, in_file: bool, config: DataConfig
) -> tuple[pl.DataFrame, list[Reject]]:
    """Rows of one file without the bytes; with id and image reference where the images lie in the file."""
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    column = columns.image
    assert column is not None
    try:
        file = pq.ParquetFile(root / name)
        if not in_file:
            return _frame(file.read(columns=[*light, column])), []
        schema = file.schema_arrow
        kind = schema.field(column).type
        has_path = pa.types.is_struct(kind) and any(c.name == "path" for c in kind)
        content = file.read(columns=[*light, f"{column}.path"] if has_path else light)
        absent = _without_bytes(file, column, pa.types.is_struct(kind))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"not readable as Parquet ({error}).", where=str(root / name), code="damaged") from error
    suffix = "" if column == bytes_column(schema) else f"#{escape(column)}"
    places = pl.Series(range(file.metadata.num_rows), dtype=pl.Int64).cast(pl.String)
    rows = pl.DataFrame({"id": f"{name}#" + places, "image": f"parquet:{escape(name)}#" + places + suffix})
    if light:
        given = _frame(content.select(light))
        clash = {c: f"{c}_given" for c in given.columns if c in ("id", "image", "path")}
        rows = rows.hstack(given.rename(clash))
    if has_path:
        paths = content.column(column).combine_chunks().field("path").to_pylist()
        rows = rows.with_columns(pl.Series("path", paths, dtype=pl.String))
    return (rows, []) if absent is None else _settle(rows, absent, root / name, config)


def _frame(content: pa.Table) -> pl.DataFrame:
    import polars as pl

    rows = pl.from_arrow(content.replace_schema_metadata(None))
    assert isinstance(rows, pl.DataFrame)
    return rows


def _without_bytes(file: Any, column: str, struct: bool) -> pl.Series | None:
    """Which rows hold no bytes (boolean); None where the file's statistics, or a look, say that all do."""
    import polars as pl

    leaf = f"{column}.bytes" if struct else column
    at = next(i for i in range(len(file.schema)) if file.schema.column(i).path == leaf)
    groups = range(file.metadata.num_row_groups)
    stats = [file.metadata.row_group(g).column(at).statistics for g in groups]
    if all(s is not None and s.has_null_count and s.null_count == 0 for s in stats):
        return None
    absent = [value for g in groups for value in read_bytes_column(file, column, [g]).is_null().to_pylist()]
    return pl.Series("absent", absent, dtype=pl.Boolean) if any(absent) else None


def _settle(rows: pl.DataFrame, absent: pl.Series, file: Path, config: DataConfig) -> tuple[pl.DataFrame, list[Reject]]:
    """Rows without bytes, found as files by their path; those that have none either are left out."""
    import polars as pl

    held, gone = rows.filter(~absent), rows.filter(absent)
    linked = gone.filter(pl.col("path").is_not_null()) if "path" in rows.columns else gone.clear()
    empty = gone.filter(~gone["id"].is_in(linked["id"].to_list()))
    rejects = [Reject(i, "empty", "the row holds no image") for i in empty["id"].to_list()]
    if linked.height:
        linked = linked.with_columns(pl.col("path").alias("image"))
        linked, missed, _ = locate(linked, Finder(str(file.parent), config.allow_links), str(file), config)
        held, rejects = pl.concat([held, linked]), rejects + missed
    return held, rejects


def _named_labels(
    rows: pl.DataFrame, column: str, classes: dict[str, list[str]], where: str
) -> tuple[pl.DataFrame, list[str] | None]:
    """Labels as text, and the classes in order where the file states them: ClassLabel names, or integers by value.

    -1 is unlabelled, as Hugging Face writes it.  DataError for an index without a name.
    """
    import polars as pl

    values = rows[column]
    lists = isinstance(values.dtype, pl.List)
    inner = values.dtype.inner if isinstance(values.dtype, pl.List) else values.dtype
    if not inner.is_integer():
        return rows.with_columns(pl.col(column).cast(pl.List(pl.String) if lists else pl.String)), None
    present = [int(i) for i in values.explode().drop_nulls().unique().sort().to_list()]
    names = classes.get(column)
    if names is None:
        names_by_index = {i: str(i) for i in present}
    else:
        names_by_index = dict(enumerate(names))
        if wrong := [i for i in present if i not in names_by_index and i != -1]:
            raise DataError(
                f"label {wrong[0]} has no name; the file names {len(names)} classes.", where=where, code="label"
            )
        present = list(names_by_index)
    whole = pl.element() if lists else pl.col(column)
    text = whole.replace_strict(names_by_index, default=None, return_dtype=pl.String)
    text = pl.col(column).list.eval(text) if lists else text
    return rows.with_columns(text.alias(column)), [names_by_index[i] for i in present]
