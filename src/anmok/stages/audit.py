"""`anmok audit`: look at every image of a source once, and keep what was found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anmok.audit.result import Audit, unsafe
from anmok.audit.result import audit as audit_table
from anmok.core.config import resolve
from anmok.core.files import must_not_exist
from anmok.data.sources import open_table
from anmok.stages.config import AuditTree

__all__ = ["Audit", "audit", "unsafe"]


def audit(
    source: Any, *, out: Path | str | None = None, config: Path | str | None = None,
    layers: tuple[Mapping[str, Any], ...] = (), threads: int | None = None, **settings: Any,
) -> Audit:  # fmt: skip
    """Open a source, look at every image once, and write audit.json and its tables to the new folder `out`, if given.

    settings: paths of the configuration tree, as `audit={'aspect': 4}` or `**{'data.allow_links': True}`.
    """
    path = must_not_exist(out) if out is not None else None
    resolved = resolve(AuditTree, *layers, settings, file=config)
    result = audit_table(open_table(source, resolved.data, resolved.labels), threads=threads, config=resolved.audit)
    if path is not None:
        result.save(path)
    return result
