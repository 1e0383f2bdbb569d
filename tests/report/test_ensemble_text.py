"""An ensemble in a few lines."""

from __future__ import annotations

from anmok.report.ensemble_text import ensemble_lines, ensemble_rows

TIMES = {"a": 200.0, "b": 0.5, "c": 0.5}


def test_a_member_without_weight_is_named() -> None:
    facts = {"how": "weighted", "members": list(TIMES), "weights": [0.9999, 0.0001, 0.0], "latency_ms": TIMES}
    rows = ensemble_rows(facts)
    assert rows["member a"] == "weight 1.000, 200.0 ms an image"
    assert rows["to leave out"] == "b, c: of no weight, but paid for in time"
    assert rows["latency"] == "201.0 ms an image, one at a time: 402.0 × its fastest member"
    assert ensemble_lines(facts)[0] == "  how           weighted mean of the probabilities"


def test_where_all_count_none_is_named() -> None:
    for weights in ([0.5, 0.3, 0.2], None):
        rows = ensemble_rows({"how": "soft", "members": list(TIMES), "weights": weights})
        assert "to leave out" not in rows
