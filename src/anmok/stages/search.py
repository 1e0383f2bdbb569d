"""`anmok search`: images by a text or by an image, and texts by an image."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anmok.core.config import resolve
from anmok.core.errors import UsageError, near_path
from anmok.core.files import must_not_exist
from anmok.core.progress import warn
from anmok.core.text import visible
from anmok.data.decode import to_rgb
from anmok.data.sniff import EXTENSIONS
from anmok.data.sources import open_table
from anmok.data.table import Table, named
from anmok.nshot.search import nearest
from anmok.stages.predict_settings import ANY, PredictTree
from anmok.stages.search_reader import DEFAULT, Reader, any_reader, text_vectors
from anmok.stages.search_result import ENDS, Found, Hit
from anmok.stages.search_vectors import BATCH, Reading, Vectors, indexed_vectors


def search(
    images: Any = None, query: Any = None, *, model: Any = DEFAULT, texts: Any = None, top: int = 10,
    out: Path | str | None = None, index: Path | str | None = None, batch_size: int = BATCH,
    threads: int | None = None, device: str = "cpu", layers: tuple[Mapping[str, Any], ...] = (), **settings: Any,
) -> Found:  # fmt: skip
    """The `top` nearest of a source's images to a text or an image, or of `texts` to images.

    query: a text, the path of an image, or a list of either. texts: a list or a text file with one a line; they are
    then what is searched, for the image(s) of `query`, or without one for every image of the source. model: a dual
    encoder as in `zeroshot`; between images also a run or a model folder, by the vectors before its head. index: where
    vectors are kept, see `indexed_vectors`. out: .csv or .parquet, or a sheet of what was found: .png, .webp, .html.
    settings: how the source is read.

    UsageError for a wrong call, before any image is read; MachineError where the weights cannot be had.
    """
    if top < 1:
        raise UsageError(f"--top must be at least 1, found {top}.", code="setting")
    if out is not None and Path(out).suffix.lower() not in ENDS:
        raise UsageError(f"--out {out}: expected one of {', '.join(ENDS)}.", code="out")
    target = None if out is None else must_not_exist(out)
    queries = [] if query is None else list(query) if isinstance(query, list | tuple) else [query]
    pictures = [picture_query(one) for one in queries]
    lines = None if texts is None else read_texts(texts)
    _check(images, queries, pictures, lines)
    data = resolve(PredictTree, ANY, *layers, settings).data
    table = None if images is None else open_table(images, data)
    reader, how = any_reader(model, device), Reading(batch_size, threads, data.allow_truncated)
    found = (
        _images(reader, table, queries, pictures, top, how, index)
        if lines is None and table is not None
        else _texts(reader, table, queries, lines or [], top, how, index)
    )
    if target is not None:
        found.save(target)
    return found


def _check(images: Any, queries: Sequence[Any], pictures: Sequence[bool], lines: list[str] | None) -> None:
    """UsageError where what is asked does not fit together."""
    if lines is None and (images is None or not queries):
        raise UsageError(
            "name images and what to look for in them.", where="search", code="query",
            remedy='For example: anmok search photos/ --query "a crushed can", or --query photo.jpg.',
        )  # fmt: skip
    if lines is not None and not all(pictures):
        raise UsageError("texts are searched by an image, not by a text.", where="--query", code="query")
    if lines is not None and images is None and not queries:
        raise UsageError("name an image to find its text, or images.", where="--texts", code="query")


def picture_query(query: Any) -> bool:
    """Whether a query is an image.  UsageError for an image file that is not there, and for an empty text."""
    if isinstance(query, np.ndarray) or not isinstance(query, str | os.PathLike):
        return True
    name = os.fspath(query)
    if not name.strip():
        raise UsageError("an empty text says nothing.", where="--query", code="query")
    path = Path(name)
    try:
        if path.is_file():
            return True
    except OSError:  # a text too long for a path
        return False
    if isinstance(query, os.PathLike) or (path.suffix.lower().lstrip(".") in EXTENSIONS and " " not in name):
        raise UsageError("no such image.", where=f"--query {name}", remedy=near_path(path), code="query")
    return False


def read_texts(given: Any) -> list[str]:
    """The texts of a list or of a file with one a line, each once, blank lines left out.  UsageError: none."""
    if isinstance(given, str | os.PathLike):
        try:
            given = Path(given).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UsageError(f"cannot be read ({reason}).", where=f"--texts {given}", code="file") from error
    lines = list(dict.fromkeys(line.strip() for line in map(str, given) if line.strip()))
    if not lines:
        raise UsageError("there is no text.", where="--texts", code="file")
    return lines


def _images(
    reader: Reader, table: Table, queries: Sequence[Any], pictures: Sequence[bool], top: int, how: Reading,
    index: Path | str | None,
) -> Found:  # fmt: skip
    """Images that are near texts or images."""
    words = [str(q) for q, picture in zip(queries, pictures, strict=True) if not picture]
    of_words = iter(text_vectors(reader, words) if words else ())
    asked = [_vector(reader, q) if picture else next(of_words) for q, picture in zip(queries, pictures, strict=True)]
    vectors = _told(indexed_vectors(reader, table, how, index))
    hits = nearest(np.stack(asked), vectors.values, top)
    ids: list[str] = table.rows["id"].to_list()
    rows = [
        Hit(name_of(q, n), rank, ids[row], float(cosine))
        for n, q in enumerate(queries)
        for rank, (row, cosine) in enumerate(zip(hits.rows[n], hits.cosines[n], strict=True), 1)
    ]
    images = {name_of(q, n): q for n, (q, picture) in enumerate(zip(queries, pictures, strict=True)) if picture}
    return Found("image", reader.name, rows, hits.how, table, images)


def _texts(
    reader: Reader, table: Table | None, queries: Sequence[Any], lines: list[str], top: int, how: Reading,
    index: Path | str | None,
) -> Found:  # fmt: skip
    """Texts that are near images: those of the query, else every image of the table."""
    words = text_vectors(reader, lines)
    if queries:
        names, images = (
            [name_of(q, n) for n, q in enumerate(queries)],
            {name_of(q, n): q for n, q in enumerate(queries)},
        )
        asked = np.stack([_vector(reader, q) for q in queries])
    else:
        assert table is not None
        vectors = _told(indexed_vectors(reader, table, how, index))
        good = np.isfinite(vectors.values).all(axis=1)
        names, images = [i for i, g in zip(table.rows["id"].to_list(), good, strict=True) if g], {}
        asked = vectors.values[good]
    hits = nearest(asked, words, top)
    rows = [
        Hit(name, rank, lines[row], float(cosine))
        for n, name in enumerate(names)
        for rank, (row, cosine) in enumerate(zip(hits.rows[n], hits.cosines[n], strict=True), 1)
    ]
    return Found("text", reader.name, rows, hits.how, table, images)


def _vector(reader: Reader, query: Any) -> np.ndarray:
    """The unit vector float32[D] of one image."""
    return reader.encode([reader.prepare(to_rgb(query, channels=reader.channels))])[0]


def _told(vectors: Vectors) -> Vectors:
    if vectors.errors:
        warn(f"{named(len(vectors.errors), 'image', [visible(i) for i in vectors.errors])} could not be read")
    return vectors


def name_of(query: Any, place: int) -> str:
    """A query as it is shown."""
    return os.fspath(query) if isinstance(query, str | os.PathLike) else f"image {place + 1}"
