"""What `anmok decide` understands of costs and numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anmok.core.errors import DataError, UsageError
from anmok.evaluate.costs import ErrorCosts
from anmok.stages.decide_asked import numbers, read_costs

CLASSES = ["glass", "paper", "유리, 깨진"]


def test_numbers_by_name() -> None:
    assert numbers("precision=0.95, recall=0.99", "at-least") == {"precision": 0.95, "recall": 0.99}
    assert numbers({"thief": "0.001"}, "prevalence") == {"thief": 0.001}
    assert numbers(None, "prevalence") == {}
    assert numbers("a=b=0.5", "prevalence") == {"a=b": 0.5}


@pytest.mark.parametrize(
    ("given", "match"),
    [("precision", "no name=number"), ("precison=0.9", "Did you mean precision"), ("recall=often", "must be a number")],
)
def test_what_is_no_number_is_named(given: str, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        numbers(given, "at-least", ("precision", "recall"))


def test_costs_of_errors() -> None:
    assert read_costs("fp=1,fn=50", CLASSES) == ErrorCosts(1.0, 50.0)
    assert read_costs({"fp": 2, "fn": 3}, CLASSES) == ErrorCosts(2.0, 3.0)
    assert read_costs({"glass": {"fp": 2, "fn": 3}}, CLASSES) == {"glass": ErrorCosts(2.0, 3.0)}
    assert read_costs(None, CLASSES) is None
    for wrong, match in (("fp=1", "cost of fn is missing"), ("fp=0,fn=1", "above 0"), ("fx=1,fn=1", "fp")):
        with pytest.raises(UsageError, match=match):
            read_costs(wrong, CLASSES)


NAMED = ',paper,"유리, 깨진",glass\nglass,1,2,0\n"유리, 깨진",3,0,4\npaper,0,5,6\n'
IN_ORDER = [[0, 1, 2], [6, 0, 5], [4, 3, 0]]  # the same, rows and columns as CLASSES are


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
def test_a_matrix_finds_its_classes_by_name(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "costs.csv"
    file.write_bytes(NAMED.encode(encoding))
    np.testing.assert_array_equal(read_costs(file, CLASSES), IN_ORDER)
    file.write_bytes(
        NAMED.replace('"유리, 깨진"', "유리, 깨진").replace(",", ";").replace("유리;", "유리,").encode(encoding)
    )
    np.testing.assert_array_equal(read_costs(str(file), CLASSES), IN_ORDER)


def test_a_matrix_of_numbers_is_in_the_order_of_the_classes(tmp_path: Path) -> None:
    file = tmp_path / "costs.csv"
    file.write_text("0,1,2\n6,0,5\n4,3,0\n")
    np.testing.assert_array_equal(read_costs(file, CLASSES), IN_ORDER)
    np.testing.assert_array_equal(read_costs(np.array(IN_ORDER), CLASSES), IN_ORDER)


def test_costs_of_labels_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "costs.csv"
    file.write_text("label,fp,fn\nglass,1,10\npaper,2,3\n")
    assert read_costs(file, CLASSES) == {"glass": ErrorCosts(1.0, 10.0), "paper": ErrorCosts(2.0, 3.0)}
    file.write_text("label,fp,fn\nglas,1,10\n")
    with pytest.raises(UsageError, match="Did you mean glass"):
        read_costs(file, CLASSES)


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("", DataError, "empty"),
        ("0,1\n1,0\n", UsageError, "3 classes need 3 × 3"),
        ("0,1,2\n1,0\n", DataError, "not equally long"),
        ("0,1,x\n1,0,1\n1,1,0\n", DataError, "'x' is no number"),
        (',glass,paper,"유리, 깨진"\nglass,0,1,1\npaper,1,0,1\n', DataError, "do not name the classes"),
        ("0,1,1\n1,9,1\n1,1,0\n", UsageError, "costs, not gains"),
    ],
)
def test_a_file_that_is_no_cost_matrix(tmp_path: Path, text: str, error: Any, match: str) -> None:
    file = tmp_path / "costs.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=match):
        read_costs(file, CLASSES)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the costs"):
        read_costs(str(tmp_path / "costs.csv"), CLASSES)
