"""The Table: one row an image, with its label, split, group and content hash. Never changed in place."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.core.errors import DataError, ImageError, did_you_mean
from anmok.core.files import write_atomic
from anmok.core.progress import bar
from anmok.core.types import Reject, Task
from anmok.data.storage import Storage

if TYPE_CHECKING:
    import polars as pl

COLUMNS = ("id", "image", "label", "split", "group", "hash")
VERSION = 1
METADATA = b"anmok"
HASH_BYTES = 16
STEP = 64  # images that one thread reads before it reports


@dataclass(frozen=True, eq=False)
class Table:
    """Images by reference, with what is known of each.

    rows: a polars DataFrame with id (text, unique, NFC), image (reference, see data/storage.py), label (text, or a list
    of texts for multi-label; null: unlabelled), split ('train', 'val', 'test'; null: in none), group (text or null),
    hash (BLAKE2b-16 hex of the image's bytes; null: not read yet, or unreadable) and every extra column of the source;
    of a multi-label table `unknown` where any is: a list of the labels that are neither known to be there nor not.
    root: what references are relative to; classes: in the order of the model's outputs; reason: why this task;
    parents: fingerprints of the versions before this one; notes: what was done and said;
    rejects: what the source holds and the table leaves out; links: whether images may lie outside the root;
    hierarchy: (class, parent) of every class, of parents that have one too; empty where classes lie side by side.
    """

    rows: pl.DataFrame
    root: Path
    classes: tuple[str, ...]
    task: Task = "multiclass"
    reason: str = ""
    parents: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    rejects: tuple[Reject, ...] = ()
    links: bool = False
    hierarchy: tuple[tuple[str, str], ...] = ()

    @cached_property
    def storage(self) -> Storage:
        """Reads the images of this table."""
        return Storage(self.root)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over task, classes and the sorted rows (id, label, split, hash, and `unknown` where there is
        such a column); hashes contents first."""
        rows = self.hashed().rows
        rows = rows.select("id", "label", "split", "hash", *(c for c in ("unknown",) if c in rows.columns)).sort("id")
        digest = hashlib.sha256(json.dumps([self.task, self.classes], ensure_ascii=False).encode())
        for row in rows.iter_rows():
            digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        return digest.hexdigest()

    @property
    def class_hash(self) -> str:
        """Short hex over task and classes in order: two models or tables with the same one mean the same outputs."""
        return class_hash(self.task, self.classes)

    def __len__(self) -> int:
        return self.rows.height

    def __repr__(self) -> str:
        from anmok.data.show import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from anmok.data.show import as_html

        return as_html(self)

    def _with(self, **changes: Any) -> Table:
        """A copy with other fields, which shares what the storage has read already."""
        new = replace(self, **changes)
        new.__dict__["storage"] = self.storage
        return new

    def where(self, split: str) -> Table:
        """The rows of one split."""
        import polars as pl

        return self.take(pl.col("split") == split)

    def take(self, which: Sequence[int] | np.ndarray | pl.Expr) -> Table:
        """Some rows: by index, by a boolean array of N, or by a polars filter."""
        import polars as pl

        if isinstance(which, pl.Expr):
            return self._with(rows=self.rows.filter(which))
        index = np.asarray(which)
        index = np.flatnonzero(index) if index.dtype == bool else index.astype(np.int64)
        return self._with(rows=self.rows[index])

    def labelled(self) -> Table:
        """The rows that have a label."""
        import polars as pl

        return self.take(pl.col("label").is_not_null())

    def targets(self) -> np.ndarray:
        """int64[N], the index of each label, -1 unlabelled; multi-label: float32[N, K] of 0/1, NaN where unknown, a
        whole row where unlabelled."""
        import polars as pl

        index = {name: i for i, name in enumerate(self.classes)}
        if self.task != "multilabel":
            labels = self.rows["label"].cast(pl.String)
            return labels.replace_strict(index, default=-1, return_dtype=pl.Int64).fill_null(-1).to_numpy()
        out = np.zeros((len(self), len(self.classes)), np.float32)
        for i, names in enumerate(self.rows["label"].to_list()):
            out[i, [index[name] for name in names or ()]] = 1
            if names is None:
                out[i] = np.nan
        if "unknown" in self.rows.columns:
            for i, names in enumerate(self.rows["unknown"].to_list()):
                out[i, [index[name] for name in names or ()]] = np.nan
        return out

    def with_classes(self, classes: Sequence[str]) -> Table:
        """The same rows with the classes of a model, in its order.  DataError for a label that is not among them."""
        present = set(self.rows["label"].explode().drop_nulls().unique().to_list())
        for name in sorted(present - set(classes)):
            raise DataError(f"no such class as {name!r}.", remedy=did_you_mean(name, classes), code="class-map")
        return self._with(classes=tuple(classes))

    def hashed(self) -> Table:
        """The table with `hash` filled, by threads; an image that cannot be read keeps a null and is noted."""
        import polars as pl

        todo = self.rows.with_row_index("_row").filter(pl.col("hash").is_null())
        if not todo.height:
            return self
        found, errors = _hash_all(self.storage, todo["image"].to_list(), todo["id"].to_list())
        hashes = self.rows["hash"].to_list()
        for row, value in zip(todo["_row"].to_list(), found, strict=True):
            hashes[row] = value
        rows = self.rows.with_columns(pl.Series("hash", hashes, dtype=pl.String))
        known = {r.id for r in self.rejects}
        errors = [e for e in errors if e.id not in known]
        notes = (f"warning: {named(len(errors), 'image', [f'{e.id}: {e.reason}' for e in errors])}",) if errors else ()
        return self._with(rows=rows, notes=self.notes + notes, rejects=self.rejects + tuple(errors))

    def with_rows(self, rows: pl.DataFrame, note: str) -> Table:
        """A new version with other rows, which names this one as its parent."""
        return self._with(rows=rows, parents=(*self.parents, self.fingerprint), notes=(*self.notes, note))

    def save(self, path: Path | str) -> Path:
        """Write the table as Parquet, contents hashed, atomically; references stay relative to the root."""
        import pyarrow.parquet as pq

        path, table = Path(path), self.hashed()
        root, home = table.root.resolve(), path.parent.resolve()
        inside = root.is_relative_to(home)
        about = {
            "version": VERSION,
            "root": root.relative_to(home).as_posix() if inside else os.fspath(root),
            "classes": table.classes,
            "task": table.task,
            "reason": table.reason,
            "fingerprint": table.fingerprint,
            "parents": table.parents,
            "notes": table.notes,
            "rejects": table.rejects[:1000],
            "links": table.links,
            "hierarchy": table.hierarchy,
        }
        content = table.rows.to_arrow()
        meta = {METADATA: json.dumps(about).encode()}
        return write_atomic(path, lambda to: pq.write_table(content.replace_schema_metadata(meta), to))

    @classmethod
    def load(cls, path: Path | str, *, links: bool = False) -> Table:
        """Read a saved table.  links: allow images outside its root, as if they had been when it was made.

        DataError where it is missing, damaged, no table of ours, of a later version, or leads outside (outside-link).
        """
        import polars as pl
        import pyarrow as pa
        import pyarrow.parquet as pq

        from anmok.data.saved import check_saved, refuse_outside

        path = Path(path)
        try:
            content = pq.read_table(path)
        except FileNotFoundError as error:
            raise DataError("no such table.", where=str(path), code="missing-file") from error
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"not readable as a table ({error}).", where=str(path), code="damaged") from error
        about = _metadata(content.schema, str(path))
        rows = pl.from_arrow(content.replace_schema_metadata(None))
        assert isinstance(rows, pl.DataFrame)
        check_saved(rows, about, str(path))
        links = links or about.get("links") is True
        if not links:
            refuse_outside(rows, str(path))
        return cls(
            rows=rows,
            root=path.parent / about["root"],
            classes=tuple(about["classes"]),
            task=about["task"],
            reason=about["reason"],
            parents=tuple(about["parents"]),
            notes=tuple(about["notes"]),
            rejects=tuple(Reject(*r) for r in about["rejects"]),
            links=links,
            hierarchy=tuple((str(c), str(p)) for c, p in about.get("hierarchy") or ()),
        )


def _metadata(schema: Any, where: str) -> dict[str, Any]:
    """What a table's file says of itself."""
    try:
        about = json.loads((schema.metadata or {}).get(METADATA, b"{}"))
    except ValueError as error:
        raise DataError(f"its metadata are damaged ({error}).", where=where, code="damaged") from error
    found = about.get("version", "none") if isinstance(about, dict) else "none"
    if found != VERSION:
        raise DataError(f"not a Table of version {VERSION} (found {found}).", where=where, code="damaged")
    return about


def class_hash(task: str, classes: Sequence[str]) -> str:
    """Short hex over task and classes in order."""
    return hashlib.sha256(json.dumps([task, list(classes)], ensure_ascii=False).encode()).hexdigest()[:16]


def content_hash(data: bytes) -> str:
    """BLAKE2b of 16 bytes over an image's bytes, hex."""
    return hashlib.blake2b(data, digest_size=HASH_BYTES).hexdigest()


def named(count: int, what: str, names: Sequence[str], limit: int = 5) -> str:
    """'3 images (a, b, c)', or '9 images (a, b, c, d, e, …)': a count that names the first few."""
    plural = what if count == 1 else f"{what}es" if what.endswith("s") else f"{what}s"
    return f"{count:,} {plural} ({', '.join(names[:limit])}{', …' if count > limit else ''})"


def _hash_all(storage: Storage, images: list[str], ids: list[str]) -> tuple[list[str | None], list[Reject]]:
    from concurrent.futures import ThreadPoolExecutor

    errors: list[Reject] = []

    def some(start: int) -> list[str | None]:
        hashes: list[str | None] = []
        for image, identity in zip(images[start : start + STEP], ids[start : start + STEP], strict=True):
            try:
                hashes.append(content_hash(storage.read(image)))
            except ImageError as error:
                hashes.append(None)
                errors.append(Reject(identity, error.code, error.message))
        return hashes

    found: list[str | None] = []
    with bar("reading", len(images)) as progress, ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 2)) as pool:
        for hashes in pool.map(some, range(0, len(images), STEP)):
            found += hashes
            progress.advance(len(hashes))
    return found, sorted(errors)


def split_counts(table: Table) -> dict[str, int]:
    """Images in train, val, test and 'none', those that have any."""
    counts: dict[str | None, Any] = dict(table.rows["split"].value_counts().iter_rows())
    found = {name: counts.get(name, 0) for name in ("train", "val", "test")}
    return {k: v for k, v in (*found.items(), ("none", counts.get(None, 0))) if v}


def class_counts(table: Table) -> dict[str, int]:
    """Images of each class, in the order of the classes, with zeros."""
    counts = dict(table.rows["label"].explode().drop_nulls().value_counts().iter_rows())
    return {name: counts.get(name, 0) for name in table.classes}
