"""Scores of slices: those of the rows alone, the worst first, few images and chance named."""

from __future__ import annotations

import numpy as np
import pytest
from made_predictions import made
from scipy.stats import fisher_exact

from anmok.core.errors import UsageError
from anmok.evaluate.metrics import evaluate
from anmok.evaluate.slices import buckets, evaluate_slices


def test_each_slice_is_its_rows_alone_and_the_worst_is_first() -> None:
    p = made(200)
    camera = {i: ("old" if n % 3 == 0 else "new") for n, i in enumerate(p.ids)} | {"i7": None}
    found = evaluate_slices(p, camera, "val", small=2)
    assert {row["value"]: row["n"] for row in found} == {"old": 67, "new": 132, None: 1}
    assert [row["small"] for row in found if row["value"] is None] == [True]
    values = [row["metrics"]["accuracy"]["value"] for row in found]
    assert values == sorted(values)
    keep = np.array([camera[i] == "old" for i in p.ids])
    row = next(row for row in found if row["value"] == "old")
    assert row["metrics"] == evaluate(p.select(keep), "val", ranking=False)["metrics"]


def test_a_bad_slice_is_told_from_chance() -> None:
    p = made(400, seed=3)
    right = p.probs.argmax(axis=1) == p.targets
    column = {i: ("bad" if not r and n % 2 else f"s{n % 4}") for n, (i, r) in enumerate(zip(p.ids, right, strict=True))}
    found = evaluate_slices(p, column, by="log_loss")
    assert found[0]["value"] == "bad"
    assert found[0]["p_value"] < 1e-6
    inside = np.array([column[i] == "s0" for i in p.ids])
    table = [[(right & part).sum(), (~right & part).sum()] for part in (inside, ~inside)]
    got = next(row["p_value"] for row in found if row["value"] == "s0")
    assert got >= fisher_exact(table).pvalue


def test_one_slice_has_nothing_to_differ_from() -> None:
    p = made(30)
    (only,) = evaluate_slices(p, dict.fromkeys(p.ids, "x"))
    assert only["p_value"] is None
    assert only["n"] == 30


def test_buckets() -> None:
    got = buckets([1, 2, 3, 4, None, 5, 6, 7, 8, float("nan")], 4)
    assert got == ["1 to 2", "1 to 2", "3 to 4", "3 to 4", None, "5 to 6", "5 to 6", "7 to 8", "7 to 8", None]
    assert set(buckets([3, 3, 3, 3, 9], 4)) == {"3", "9"}
    assert buckets([None], 4) == [None]


def test_an_unknown_metric_is_named() -> None:
    p = made(10)
    with pytest.raises(UsageError, match=r"no such metric as acuracy\. Did you mean accuracy"):
        evaluate_slices(p, dict.fromkeys(p.ids, "x"), by="acuracy")
