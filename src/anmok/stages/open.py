"""`anmok.open`: any source as a Table."""

from __future__ import annotations

from typing import Any

from anmok.core.config import resolve
from anmok.data.sources import open_table
from anmok.data.table import Table
from anmok.stages.config import SourceConfig


def open_(source: Any, **settings: Any) -> Table:
    """The Table of a source: class folders, split folders, CSV, metadata.csv or .jsonl, Parquet, tar, zip, a flat
    folder, or a table of ours.

    settings: paths of the configuration tree, as `labels={'drop': ['trash']}` or `**{'data.task': 'binary'}`.
    """
    resolved = resolve(SourceConfig, settings)
    return open_table(source, resolved.data, resolved.labels)
