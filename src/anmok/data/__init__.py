"""Sources, tables, splits, decoding and batches."""

from __future__ import annotations

from typing import Any

__all__ = ["Dataset", "Loader", "Table", "loader", "open_table", "split_table"]

_HOME = {
    "Dataset": "dataset",
    "Loader": "batches",
    "Table": "table",
    "loader": "loading",
    "open_table": "sources",
    "split_table": "split",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name in _HOME:
        return getattr(importlib.import_module(f"anmok.data.{_HOME[name]}"), name)
    raise AttributeError(f"module 'anmok.data' has no attribute {name!r}")
