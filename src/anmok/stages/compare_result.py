"""What a comparison has found: its table on the terminal, as CSV and as JSON."""

from __future__ import annotations

import html
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from anmok.core.config import read_toml, resolve
from anmok.core.errors import UsageError
from anmok.core.files import write_atomic, write_json
from anmok.core.text import visible
from anmok.data.table import Table
from anmok.stages.compare_advice import advice, front, ranked
from anmok.stages.compare_child import folder_of
from anmok.stages.compare_row import Metric, Row, load_row, value
from anmok.stages.compare_settings import CompareTree

SHORT = ("model", "accuracy", "95 % interval", "macro F1", "train", "images/s", "latency", "params", "GMACs", "memory")


class Comparison:
    """A comparison's folder. Everything is read when it is asked for."""

    def __init__(self, path: Path | str):
        self.path = Path(path)
        if not (self.path / "config.toml").is_file() or not (self.path / "table.parquet").is_file():
            raise UsageError(
                "no comparison here.", where=str(path), remedy="Expected a folder that `anmok compare` wrote.",
                code="run",
            )  # fmt: skip

    @cached_property
    def config(self) -> CompareTree:
        """The settings."""
        return resolve(CompareTree, read_toml(self.path / "config.toml"))

    @cached_property
    def table(self) -> Table:
        """The locked table, the same for all."""
        return Table.load(self.path / "table.parquet")

    @property
    def rows(self) -> list[Row]:
        """A row for each model that has one by now, best first, then those that failed."""
        rows = [load_row(folder_of(self.path, name), name) for name in self.config.models]
        rows = [row for row in rows if row.done or row.error]
        good = ranked([row for row in rows if not row.error])
        return good + [row for row in rows if row not in good]

    @property
    def missing(self) -> list[str]:
        """Models that have no figures yet; of those that failed, all."""
        done = {row.model for row in self.rows if not row.error}
        return [name for name in self.config.models if name not in done]

    @property
    def advice(self) -> list[str]:
        """What follows from the figures."""
        return advice(self.rows)

    @property
    def front(self) -> list[str]:
        """Models that no other beats in accuracy and latency both."""
        return front(self.rows)

    def __repr__(self) -> str:
        rows = [SHORT, *(_cells(row) for row in self.rows if not row.error)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(SHORT))]
        lines = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        failed = [f"{visible(row.model)} has no figures: {row.error}" for row in self.rows if row.error]
        return "\n".join([f"Comparison {self.path}", *lines, *failed, *self.advice]).replace("\u00a0", " ")

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"


def _cells(row: Row) -> tuple[str, ...]:
    a = row.accuracy or {}
    interval = "" if a.get("low") is None else f"{a['low']:.3f} – {a['high']:.3f}"
    memory = "" if row.peak_memory_bytes is None else f"{row.peak_memory_bytes / 1e9:.2f} GB"
    return (
        visible(row.model), _number(value(row.accuracy), ".3f"), interval, _number(value(row.macro_f1), ".3f"),
        _number(value(row.train_accuracy), ".3f"), _number(row.train_images_per_s, ",.0f"),
        f"{row.latency_ms:.3g} ms" if row.latency_ms is not None else "n/a",
        _number(row.parameters, ",d"), _number(row.gmacs, ".3g"), memory,
    )  # fmt: skip


def _number(number: float | None, form: str) -> str:
    return "n/a" if number is None else format(number, form)


def write_tables(found: Comparison) -> None:
    """compare.csv, one row a model, and compare.json with everything that is known."""
    import polars as pl

    rows = found.rows
    frame = pl.DataFrame([_flat(row) for row in rows], infer_schema_length=None)
    write_atomic(found.path / "compare.csv", frame.write_csv)
    write_json(
        found.path / "compare.json",
        {
            "fingerprint": found.table.fingerprint, "task": found.table.task, "front": found.front,
            "advice": [sentence.replace("\u00a0", " ") for sentence in found.advice],
            "models": [asdict(row) for row in rows],
        },
    )  # fmt: skip


def _flat(row: Row) -> dict[str, Any]:
    """A row of compare.csv."""
    out: dict[str, Any] = {"model": row.model, "family": row.family, "setting": row.setting}
    out |= _spread("accuracy", row.accuracy) | _spread("macro_f1", row.macro_f1)
    out |= {"train_accuracy": value(row.train_accuracy), "gap": row.gap}
    for name in ("image_size", "epochs", "train_seconds", "train_images_per_s", "latency_ms", "throughput", "batch",
                 "runtime", "batch_runtime", "device", "parameters", "gmacs", "peak_memory_bytes"):  # fmt: skip
        out[name] = getattr(row, name)
    out |= {f"accuracy_at_{part['share']:g}": value(part["accuracy"]) for part in row.shares}
    out["accuracy_shuffled"] = value(row.shuffled)
    out |= {f"accuracy_at_{part['scale']:g}x": value(part["accuracy"]) for part in row.sizes}
    return out | {"reach": value(row.reach), "notes": "; ".join(row.notes), "error": row.error}


def _spread(name: str, metric: Metric | None) -> dict[str, Any]:
    metric = metric or {}
    return {
        name: metric.get("value"),
        f"{name}_low": metric.get("low"),
        f"{name}_high": metric.get("high"),
    }
