"""Which column of a source is the image, the label, the split and the group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from anmok.core.errors import UsageError, did_you_mean
from anmok.data.config import DataConfig

IMAGE = ("image", "file_name", "filename", "image_path", "file", "path", "filepath", "img", "image_name", "image_id")
LABEL = ("label", "labels", "class", "category", "target", "class_name", "tags")
SPLIT = ("split", "subset")
GROUP = ("group",)


class Columns(NamedTuple):
    """The names of the columns that mean something to us; None where the source has none."""

    image: str | None
    label: str | None
    split: str | None
    group: str | None

    def said(self) -> list[str]:
        """A note, where a column goes by another name than ours."""
        pairs = zip(("image", "label", "split", "group"), self, strict=True)
        other = [f"{name} = {column}" for name, column in pairs if column and column != name]
        return [f"columns: {', '.join(other)}"] if other else []


def choose_columns(names: Sequence[str], config: DataConfig, where: str) -> Columns:
    """The columns by the configured name, or by the usual ones (any case).

    UsageError for a configured column that does not exist, with the nearest.
    """
    return Columns(
        _choose(names, config.image_column, IMAGE, "data.image_column", where),
        _choose(names, config.label_column, LABEL, "data.label_column", where),
        _choose(names, config.split_column, SPLIT, "data.split_column", where),
        _choose(names, config.group_column, GROUP, "data.group_column", where),
    )


def _choose(names: Sequence[str], asked: str | None, usual: Sequence[str], option: str, where: str) -> str | None:
    if asked == "":
        return None
    if asked is not None:
        if asked not in names:
            raise UsageError(
                f"no column {asked!r} ({option}); found {', '.join(map(repr, list(names)[:20]))}.",
                where=where, remedy=did_you_mean(asked, names), code="column",
            )  # fmt: skip
        return asked
    folded = {name.strip().lower(): name for name in reversed(names)}
    return next((folded[name] for name in usual if name in folded), None)
