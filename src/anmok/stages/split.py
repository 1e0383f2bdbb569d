"""`anmok split`: a source with its rows divided, as a table that can be trained on as it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anmok.core.config import resolve
from anmok.core.files import must_not_exist
from anmok.data.sources import open_table
from anmok.data.split import split_table
from anmok.data.table import Table
from anmok.stages.config import SourceConfig


def split(source: Any, *, out: Path | str | None = None, config: Path | str | None = None,
          layers: tuple[Mapping[str, Any], ...] = (), **settings: Any) -> Table:  # fmt: skip
    """Open a source, divide it into train, val and test (or folds), and write the Table to `out` if it is given.

    settings: paths of the configuration tree, as `split={'test': 0.2}` or `**{'split.seed': 1}`.
    """
    path = must_not_exist(out) if out is not None else None
    resolved = resolve(SourceConfig, *layers, settings, file=config)
    table = split_table(open_table(source, resolved.data, resolved.labels), resolved.split)
    if path is not None:
        table.save(path)
    return table
