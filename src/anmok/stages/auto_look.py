"""The first steps of `anmok auto`: the images looked at as far as the time allows, cleaned and divided."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from anmok.audit.decisions import decide
from anmok.audit.kinds import KINDS
from anmok.audit.result import Audit, audit, unsafe
from anmok.core.errors import DataError
from anmok.core.progress import say, warn
from anmok.data.table import Table
from anmok.stages.auto_settings import AutoTree
from anmok.stages.prepare import prepare

SAMPLE = 200  # images by which the speed of looking is measured
SHARE = 0.08  # of the whole time, at most, for looking


def look(folder: Path, table: Table, config: AutoTree) -> tuple[Table, dict[str, Any]]:
    """The table with the audit's own decisions carried out, and {images, of, seconds_estimated, findings, side}.

    side: the median of the images' short sides, pixels. Where not all images can be looked at in SHARE of the time,
    a sample of them is, and nothing is changed. The audit is written to audit/.
    """
    budget, n = SHARE * 60 * config.minutes, len(table)
    rows = np.sort(np.random.default_rng(config.seed).permutation(n)[:SAMPLE])
    began = time.perf_counter()
    found = audit(table.take(rows), threads=config.runtime.threads)
    each = (time.perf_counter() - began) / len(rows)
    whole = n <= SAMPLE or each * n <= budget
    if n > SAMPLE:
        able = n if whole else max(SAMPLE, int(budget / each))
        rows = np.sort(np.random.default_rng(config.seed).permutation(n)[:able])
        seen = table if whole else table.take(rows)
        found = audit(seen, threads=config.runtime.threads)
    _save(found, folder / "audit")
    facts: dict[str, Any] = {
        "images": found.summary["images"], "of": n, "findings": dict(found.summary["findings"]),
        "side": short_side(found), "note": "",
    }  # fmt: skip
    if not whole:
        facts["note"] = f"{facts['images']:,} of {n:,} images were looked at, as the time allows; nothing was changed"
        warn(facts["note"])
        return table, facts
    if reason := unsafe(found):
        warn(f"the audit finds: {reason}; see {folder / 'audit'}")
    table = decide(table, found.findings, found.images, known=KINDS)
    facts["note"] = table.notes[-1]
    say(facts["note"])
    return table, facts


def short_side(found: Audit) -> float | None:
    """The median short side, pixels, of the images that could be measured."""
    import polars as pl

    sides = found.images.select(pl.min_horizontal("width", "height")).to_series().drop_nulls()
    return None if sides.is_empty() else float(np.median(sides.to_numpy()))


def divide(table: Table, config: AutoTree) -> Table:
    """The table split, with images to validate on.  DataError where there are none."""
    table = prepare(table, config)
    if not len(table.labelled().where(split="val")):
        raise DataError(
            "there is no labelled validation image to choose by.", code="empty-table",
            remedy="Set --split.val, or mark some rows val.",
        )  # fmt: skip
    return table


def _save(found: Audit, path: Path) -> None:
    """Write the audit's tables, in the place of those of an interrupted look."""
    import shutil

    shutil.rmtree(path, ignore_errors=True)
    found.save(path)
