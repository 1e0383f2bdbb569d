"""Small runs of one split, to decide by and to put together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from small_runs import SMALL

from anmok.stages.run import Run
from anmok.stages.split import split
from anmok.stages.train import train

SHARES = {"split.val": 0.3, "split.test": 0.3}


def one_table(digits: Path, folder: Path, **settings: Any) -> Path:
    """The digits divided once, 40 : 30 : 30."""
    split(digits, out=folder / "table.parquet", **SHARES, **settings)
    return folder / "table.parquet"


def trained(table: Path, out: Path, **settings: Any) -> Run:
    """A run of a few seconds."""
    return train(table, out=out, **{**SMALL, "epochs": 4, **settings})
