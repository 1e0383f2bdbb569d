"""From an open table to the locked one a run learns from."""

from __future__ import annotations

from anmok.core.errors import DataError
from anmok.core.progress import warn
from anmok.data.split import split_table
from anmok.data.table import Table, class_counts, split_counts
from anmok.stages.config import SourceConfig
from anmok.stages.hierarchy import with_hierarchy


def prepare(table: Table, config: SourceConfig) -> Table:
    """Split and check: the table that a run locks.  DataError where nothing can be learned from it."""
    if not table.classes:
        raise DataError(
            "no image has a label.", where=str(table.root), code="unlabelled",
            remedy="Put the images of each label into a folder of its own, or write a CSV with image,label.",
        )  # fmt: skip
    table = with_hierarchy(split_table(table, config.split), config.data.hierarchy)
    counts = split_counts(table.labelled())
    if len(table.classes) < 2 and table.task != "multilabel":
        raise DataError(
            f"there is only one class ({table.classes[0]}); there is nothing to tell apart.",
            remedy="Bring images of at least two labels.", code="one-class",
        )  # fmt: skip
    if not counts.get("train"):
        raise DataError(
            "no labelled image is left to train on.", remedy="Check the split and the labels.", code="empty-table"
        )
    train = class_counts(table.where(split="train"))
    absent = [name for name, n in train.items() if not n]
    if absent:
        warn(f"no training image of: {', '.join(absent[:10])}; the model cannot learn what it never sees")
    return table
