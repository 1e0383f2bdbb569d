"""What is odd about the classes: images without one, classes of few images, one class of far more than another."""

from __future__ import annotations

from collections.abc import Iterator

from anmok.audit.config import AuditConfig
from anmok.core.types import Finding
from anmok.data.table import Table, class_counts


def balance(table: Table, config: AuditConfig) -> Iterator[Finding]:
    """unlabelled (an image a row, score 1), tiny-class (score: images), imbalance (score: largest over smallest)."""
    for name in table.rows.filter(table.rows["label"].is_null())["id"]:
        yield Finding("unlabelled", [name], 1.0, "no label")
    counts = class_counts(table)
    yield from _tiny(table, {name: n for name, n in counts.items() if n < config.tiny_class})
    present = {label: n for label, n in counts.items() if n}
    if len(present) < 2:
        return
    most, least = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
    ratio = present[most] / present[least]
    if ratio > config.imbalance:
        high, low = (effective_number(present[name], config.effective_beta) for name in (most, least))
        evidence = (
            f"{most} {present[most]:,}, {least} {present[least]:,}: {ratio:.1f} to 1 "
            f"(effective numbers {high:,.0f} and {low:,.0f}: {high / low:.1f} to 1)"
        )
        yield Finding("imbalance", [], ratio, evidence)


def effective_number(images: int, beta: float) -> float:
    """(1 - βⁿ) / (1 - β): how many images n of one class are worth, where each new one overlaps with those before it
    (Cui et al. 2019, arXiv:1901.05555, proposition 1).  β in [0, 1): 0 gives 1, near 1 gives n.
    """
    return (1 - beta**images) / (1 - beta)


def _tiny(table: Table, tiny: dict[str, int]) -> Iterator[Finding]:
    import polars as pl

    if not tiny:
        return
    rows = table.rows.select("id", "label")
    if rows.schema["label"] == pl.List(pl.String):
        rows = rows.explode("label")
    rows = rows.filter(pl.col("label").is_in(list(tiny)))
    members = dict(rows.group_by("label", maintain_order=True).agg("id").iter_rows())
    for label, n in tiny.items():
        yield Finding("tiny-class", members.get(label, []), float(n), f"{label}: {n} image{'' if n == 1 else 's'}")
