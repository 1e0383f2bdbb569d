"""The words of a generated image: classes as somebody would say them, templates, captions of training images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.data.captions import caption_column
from anmok.data.made import given
from anmok.data.table import Table
from anmok.expand.generate import Start
from anmok.nshot.prompts import BETWEEN_WORDINGS, SLOT, ClassText

if TYPE_CHECKING:
    import polars as pl

TEMPLATES = ("a photo of {}",)


def read_words(given_words: str | Sequence[str] | None, classes: Sequence[str]) -> list[ClassText]:
    """The wordings of every class, by default its name: 'trash=litter|garbage, glass=a glass bottle', or a list.

    UsageError (code class): a class that is not there, named twice, or without a wording.
    """
    items = [] if given_words is None else given_words.split(",") if isinstance(given_words, str) else given_words
    found: dict[str, tuple[str, ...]] = {}
    for item in items:
        name, sign, rest = (part.strip() for part in item.partition("="))
        wordings = tuple(part.strip() for part in rest.split(BETWEEN_WORDINGS))
        if name not in classes or name in found or not sign or not all(wordings):
            why = "is named twice" if name in found else "is no class" if name not in classes else "has no wording"
            raise UsageError(
                f"{name or repr(item)} {why}.", where="--words", code="class",
                remedy=did_you_mean(name, classes) or 'Expected CLASS=WORDING|WORDING, as in "trash=litter|garbage".',
            )  # fmt: skip
        found[name] = wordings
    return [ClassText(name, found.get(name, (name,))) for name in classes]


def prompts_of(words: ClassText, templates: Sequence[str]) -> list[str]:
    """Every wording in every template."""
    return [template.replace(SLOT, wording) for template in templates for wording in words.wordings]


def starts_of(table: Table, name: str, captions: dict[str, str] | None) -> list[Start]:
    """The training images of a class that somebody gave, by id, with their captions; without one left out, where
    captions are asked for.  DataError (code caption) where no image has one.
    """
    import polars as pl

    rows = table.rows.filter((pl.col("split") == "train") & (pl.col("label") == name) & given(table)).sort("id")
    pairs = rows.select("id", "image").rows()
    if captions is None:
        return [Start(identity, image) for identity, image in pairs]
    found = [Start(i, image, captions[i]) for i, image in pairs if captions.get(i)]
    if not found:
        raise DataError(
            f"no training image of {name} has a caption.", where="--captions", code="caption",
            remedy="`anmok describe DATA --out captions.csv` writes them.",
        )  # fmt: skip
    return found


def read_captions(asked: str | Path | None, table: Table) -> dict[str, str] | None:
    """Id to caption, from a column of the table or a .csv or .parquet with id (or image) and caption.

    UsageError for a column or file that is not there; DataError where the file has no captions.
    """
    import polars as pl

    if asked is None:
        return None
    text = str(asked)
    path = Path(asked)
    if path.suffix.lower() not in (".csv", ".parquet"):
        if text not in table.rows.columns:
            raise UsageError(
                f"no column {text!r}, and no .csv or .parquet.", where="--captions", code="column",
                remedy=did_you_mean(text, table.rows.columns),
            )  # fmt: skip
        return dict(zip(table.rows["id"], _texts(table.rows[text]), strict=True))
    if not path.is_file():
        raise UsageError("no such file.", where=f"--captions {path}", code="missing-file")
    try:
        rows = pl.read_parquet(path) if path.suffix.lower() == ".parquet" else pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot be read ({error}).", where=f"--captions {path}", code="damaged") from error
    column = caption_column(rows.columns, None, str(path))
    key = next((c for c in ("id", "image") if c in rows.columns), None)
    if key is None:
        raise DataError("it has no column id or image.", where=f"--captions {path}", code="column")
    return dict(zip(rows[key].cast(pl.String), _texts(rows[column]), strict=True))


def _texts(column: pl.Series) -> list[str]:
    """One text a row, the first of a list; '' for none."""
    values: list[Any] = column.to_list()
    firsts = [next((v for v in value if v), "") if isinstance(value, list) else value for value in values]
    return [" ".join(str(value).split()) if value is not None else "" for value in firsts]
