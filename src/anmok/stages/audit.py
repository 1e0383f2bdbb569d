"""`anmok audit`: look at every image of a source once, and keep what was found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.audit.result import Audit, unsafe
from anmok.audit.result import audit as audit_table
from anmok.core.config import resolve
from anmok.core.files import must_not_exist
from anmok.core.types import Finding
from anmok.data.sources import open_table
from anmok.stages.config import AuditTree

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Audit", "audit", "unsafe"]


def audit(
    source: Any, *, out: Path | str | None = None, config: Path | str | None = None,
    layers: tuple[Mapping[str, Any], ...] = (), threads: int | None = None, suspect_labels: bool = False,
    predictions: Path | str | None = None, **settings: Any,
) -> Audit:  # fmt: skip
    """Open a source, look at every image once, and write what was found to the new folder `out`, if it is given:
    audit.json, images.parquet, findings.parquet and report.html.

    suspect_labels: judge the labels too, by predictions made here in k folds, or by those of `predictions`, a run or a
    file of them (which implies it). settings: paths of the configuration tree, as `audit={'aspect': 4}` or
    `**{'data.allow_links': True}`.
    """
    path = must_not_exist(out) if out is not None else None
    resolved = resolve(AuditTree, {"data.allow_unlabelled": True}, *layers, settings, file=config)
    table = open_table(source, resolved.data, resolved.labels)

    def judge(images: pl.DataFrame) -> list[Finding]:
        from anmok.stages.suspects import suspect_labels as judged

        groups = images["group"].to_list()
        truncated = resolved.data.allow_truncated
        return judged(table, predictions, threads=threads, groups=groups, allow_truncated=truncated).findings

    more = judge if suspect_labels or predictions is not None else None
    result = audit_table(table, threads=threads, config=resolved.audit, more=more)
    if path is not None:
        from anmok.stages.audit_report import audit_report

        result.save(path, lambda folder: audit_report(result, table, folder / "report.html", threads=threads))
    return result
