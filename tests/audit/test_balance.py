from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.audit.balance import balance, effective_number
from anmok.audit.config import AuditConfig
from anmok.data.table import Table


def table_of(counts: dict[str, int], unlabelled: int = 0) -> Table:
    labels = [label for label, n in counts.items() for _ in range(n)] + [None] * unlabelled
    names = [f"{i}.png" for i in range(len(labels))]
    columns = {"id": names, "image": names, "label": pl.Series(labels, dtype=pl.String)}
    return Table(rows=pl.DataFrame(columns), root=Path(), classes=tuple(counts))


def test_imbalance_with_effective_numbers() -> None:
    found = list(balance(table_of({"many": 4500, "some": 1200, "few": 45}), AuditConfig(effective_beta=0.99)))
    assert [(f.kind, f.score, f.ids) for f in found] == [("imbalance", 100.0, [])]
    # by hand: (1 - 0.99^4500) / 0.01 = 100.0, (1 - 0.99^45) / 0.01 = 36.4
    assert found[0].evidence == "many 4,500, few 45: 100.0 to 1 (effective numbers 100 and 36: 2.7 to 1)"


def test_tiny_classes_and_images_without_a_label() -> None:
    found = list(balance(table_of({"many": 12, "one": 1, "none": 0}, unlabelled=2), AuditConfig(imbalance=12)))
    assert [(f.kind, f.ids, f.score) for f in found] == [
        ("unlabelled", ["13.png"], 1.0), ("unlabelled", ["14.png"], 1.0), ("tiny-class", ["12.png"], 1.0),
        ("tiny-class", [], 0.0),
    ]  # fmt: skip
    assert found[2].evidence == "one: 1 image"


def test_balanced_classes_are_no_finding() -> None:
    assert not list(balance(table_of({"a": 20, "b": 30}), AuditConfig()))
    assert not list(balance(table_of({"a": 20}), AuditConfig()))


@given(st.integers(1, 2000), st.floats(0, 0.9999))
def test_effective_number_is_a_geometric_sum(images: int, beta: float) -> None:
    assert effective_number(images, beta) == pytest.approx(sum(beta**i for i in range(images)), rel=1e-6)
