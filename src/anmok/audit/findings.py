"""From the measurements to findings: what is wrong or odd, of which images, how much, by which evidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from anmok.audit.balance import balance
from anmok.audit.config import AuditConfig
from anmok.audit.files import names, properties, sizes
from anmok.audit.kinds import decision
from anmok.audit.quality import quality
from anmok.core.types import Finding
from anmok.data.duplicates import conflicts, leaks
from anmok.data.table import Table

if TYPE_CHECKING:
    import polars as pl


def find(images: pl.DataFrame, table: Table, config: AuditConfig) -> list[Finding]:
    """Every finding, of the images (in their order), then among them, then of the classes."""
    return [
        *rejected(table),
        *faults(images),
        *names(images),
        *properties(images),
        *sizes(images, config),
        *quality(images, config),
        *duplicates(images, table),
        *balance(table, config),
    ]


def to_frame(findings: Iterable[Finding]) -> pl.DataFrame:
    """kind, ids (list), score, evidence, decision (that of its kind where the finding has none): one row a finding."""
    import polars as pl

    schema: dict[str, Any] = {
        "kind": pl.String,
        "ids": pl.List(pl.String),
        "score": pl.Float64,
        "evidence": pl.String,
        "decision": pl.String,
    }
    rows = [finding._replace(decision=finding.decision or decision(finding.kind)) for finding in findings]
    return pl.DataFrame(rows, schema=schema, orient="row")


def rejected(table: Table) -> Iterator[Finding]:
    """What the source holds and the table had to leave out; score 1."""
    for reject in table.rejects:
        yield Finding(reject.kind, [reject.id], 1.0, reject.reason)


def faults(images: pl.DataFrame) -> Iterator[Finding]:
    """Images that cannot be used: unreadable, truncated, empty, too-large, unsupported-format, io-error; score 1."""
    for name, kind, reason in images.filter(images["fault"].is_not_null()).select("id", "fault", "reason").iter_rows():
        yield Finding(kind, [name], 1.0, reason)


def duplicates(images: pl.DataFrame, table: Table) -> Iterator[Finding]:
    """exact-duplicate (a copy and the first of its content), conflicting-labels, leakage: one pair a row, score 1."""
    hashes = images.filter(_has_content()).select("id", "hash")
    rows = table.rows.drop("hash").join(hashes, on="id", how="inner", maintain_order="left")
    known = replace(table, rows=rows)
    first: dict[str, str] = {}
    twice = known.rows.filter(known.rows["hash"].is_duplicated())
    for name, content in twice.select("id", "hash").iter_rows():
        if content not in first:
            first[content] = name
        else:
            yield Finding("exact-duplicate", [first[content], name], 1.0, f"the same bytes, {content}")
    for kind, pairs in (("conflicting-labels", conflicts(known)), ("leakage", leaks(known))):
        for pair in pairs:
            yield Finding(kind, [pair.first, pair.second], 1.0, pair.evidence)


def _has_content() -> pl.Expr:
    import polars as pl

    return pl.col("hash").is_not_null() & (pl.col("bytes") > 0)
