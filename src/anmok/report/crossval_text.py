"""A cross-validation in a few lines."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any


def crossval_lines(content: Mapping[str, Any]) -> list[str]:
    """'name: text' of each fold and of all, from an evaluation with `folds`."""
    out, values = [], []
    for fold in content["folds"]:
        if fold["value"] is None:
            out.append(f"{fold['fold']}: n/a, {fold['reason']}")
            continue
        values.append(fold["value"])
        interval = f"[{fold['low']:.4f}, {fold['high']:.4f}]"
        out.append(f"{fold['fold']}: accuracy {fold['value']:.4f} {interval} on {fold['n']:,} images")
    if len(values) > 1:
        out.append(
            f"folds: mean accuracy {statistics.fmean(values):.4f}, standard deviation {statistics.stdev(values):.4f} "
            "between folds"
        )
    return out
