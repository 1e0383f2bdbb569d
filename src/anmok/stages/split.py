"""`anmok split`: a source with its rows divided, as a table that can be trained on as it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from anmok.audit.decisions import decide
from anmok.audit.kinds import KINDS
from anmok.audit.result import Audit, load_audit
from anmok.core.config import resolve
from anmok.core.errors import UsageError
from anmok.core.files import must_not_exist
from anmok.core.progress import say
from anmok.data.made import MADE, drop_made
from anmok.data.sources import open_table
from anmok.data.split import split_table
from anmok.data.table import Table
from anmok.stages.config import SourceConfig

AUDIT_FIRST = "Run `anmok audit DATA --out AUDIT` first, and name that folder"


def split(
    source: Any, *, out: Path | str | None = None, audit: Path | str | Audit | None = None, drop: Collection[str] = (),
    config: Path | str | None = None, layers: tuple[Mapping[str, Any], ...] = (), **settings: Any,
) -> Table:  # fmt: skip
    """Open a source, divide it into train, val and test (or folds), and write the Table to `out` if it is given.

    audit: an Audit of the source, or its folder: the decisions in its findings (keep, drop, group, relabel:LABEL) are
    carried out first; drop: kinds of findings whose images are left out besides, or pseudo and generated, for the rows
    that a program made (no audit needed). settings: paths of the configuration tree, as `split={'test': 0.2}` or
    `**{'split.seed': 1}`.
    """
    path = must_not_exist(out) if out is not None else None
    if path is not None and path.suffix.lower() != ".parquet":
        raise UsageError(f"--out {out}: expected a .parquet file.", code="out")
    made, drop = [kind for kind in drop if kind in MADE], [kind for kind in drop if kind not in MADE]
    if drop and audit is None:
        raise UsageError("--drop needs --audit: it names findings.", code="audit", remedy=f"{AUDIT_FIRST}.")
    resolved = resolve(SourceConfig, *layers, settings, file=config)
    table = open_table(source, resolved.data, resolved.labels)
    if made:
        table = drop_made(table, made)
        say(table.notes[-1] if table.notes else "no such rows")
    if audit is not None:
        found = audit if isinstance(audit, Audit) else load_audit(audit)
        table = decide(table, found.findings, found.images, drop=drop, known=KINDS)
        say(table.notes[-1])
    table = split_table(table, resolved.split)
    if path is not None:
        table.save(path)
    return table
