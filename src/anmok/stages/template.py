"""A sample submission: its ids in their order, its answers replaced by a model's."""

from __future__ import annotations

import io
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.core.text import visible
from anmok.core.types import Predictions
from anmok.data.config import DataConfig
from anmok.data.delimited import decode_text, find_delimiter, read_csv

if TYPE_CHECKING:
    import polars as pl


class Template(NamedTuple):
    """A template read and matched: its cells as text, the row of the table that each of its rows means, its delimiter,
    and the columns that take probabilities (none: the second column takes the label).
    """

    path: Path
    cells: pl.DataFrame
    rows: list[int]
    delimiter: str
    classes: list[str]


def read_template(path: Path, ids: Sequence[str], classes: Sequence[str]) -> Template:
    """Read a template and find its images among `ids`: by id, by file name or by stem, where these are unique.

    UsageError (code template) for a file that is no CSV, an image that is not among them, and a column that names no
    class beside others that do, or beside several.
    """
    try:
        cells, _ = read_csv(path, DataConfig())
        delimiter = find_delimiter(decode_text(path.read_bytes(), None, str(path))[0])
    except OSError as error:
        raise UsageError(f"cannot read the template ({error.strerror}).", where=str(path), code="template") from error
    except DataError as error:
        raise UsageError(f"the template is no CSV: {error.message}", where=str(path), code="template") from error
    if cells.width < 2:
        raise UsageError("expected an id column and at least one more.", where=str(path), code="template")
    place = lookup(ids)
    wanted = [unicodedata.normalize("NFC", name) for name in cells[cells.columns[0]].to_list()]
    missing = [name for name in wanted if name not in place]
    if missing:
        names = ", ".join(visible(name) for name in missing[:3])
        raise UsageError(
            f"{len(missing):,} of its {len(wanted):,} ids are not among the images, such as {names}.", where=str(path),
            remedy="Predict the folder that holds these images.", code="template",
        )  # fmt: skip
    answers = cells.columns[1:]
    named = [name for name in answers if name in classes]
    if (named or len(answers) > 1) and len(named) < len(answers):
        stranger = next(name for name in answers if name not in classes)
        raise UsageError(
            f"its column {stranger!r} is no class of the model.", where=str(path), code="template",
            remedy=did_you_mean(stranger, classes),
        )  # fmt: skip
    return Template(path, cells, [place[name] for name in wanted], delimiter, named)


def filled(template: Template, p: Predictions) -> str:
    """The template as CSV text with the answers of `p`; a blank cell where an image could not be read."""
    import polars as pl

    cells, rows = template.cells, template.rows
    bad = np.isnan(p.probs).any(axis=1)
    if template.classes:
        columns = {c: p.probs[rows, p.classes.index(c)].astype(float) for c in template.classes}
        cells = cells.with_columns(pl.Series(c, v).fill_nan(None) for c, v in columns.items())
    else:
        labels = p.labels
        texts = [";".join(v) if isinstance(v, list) else v for v in (labels[r] for r in rows)]
        shown = [None if bad[r] else text for r, text in zip(rows, texts, strict=True)]
        cells = cells.with_columns(pl.Series(cells.columns[1], shown, pl.String))
    out = io.StringIO()
    cells.write_csv(out, separator=template.delimiter)
    return out.getvalue()


def lookup(ids: Sequence[str]) -> dict[str, int]:
    """Row of each id, also by file name and by stem where these are unique."""
    out: dict[str, int] = {}
    for cut in (lambda i: Path(i).stem, lambda i: Path(i).name, lambda i: i):
        names = [cut(i) for i in ids]
        counts = Counter(names)
        out |= {name: row for row, name in enumerate(names) if counts[name] == 1}
    return out
