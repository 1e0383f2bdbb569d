"""What `anmok decide` is asked for, from the texts of the command line or from Python's own values."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.data.delimited import decode_text, find_delimiter
from anmok.evaluate.costs import ErrorCosts, cost_matrix, error_costs

Costs = ErrorCosts | dict[str, ErrorCosts] | np.ndarray


def numbers(given: Any, where: str, known: Iterable[str] | None = None) -> dict[str, float]:
    """{name: number} of 'thief=0.001,ring=0.01' or of a mapping; {} of None.

    known: the names there may be.  UsageError, code `setting`: no such name, or no number.
    """
    if given is None:
        return {}
    pairs = given.items() if isinstance(given, Mapping) else [_pair(part, where) for part in str(given).split(",")]
    allowed = None if known is None else list(known)
    out: dict[str, float] = {}
    for name, value in pairs:
        if allowed is not None and name not in allowed:
            raise UsageError(f"no {name} here.", where=where, remedy=did_you_mean(name, allowed), code="setting")
        try:
            out[str(name)] = float(value)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{name} must be a number, found {value!r}.", where=where, code="setting") from error
    return out


def read_costs(given: Any, classes: Sequence[str]) -> Costs | None:
    """Costs as `fit_decision` takes them.

    given: None; 'fp=1,fn=50' or {'fp': 1, 'fn': 50}; {label: such a mapping}; numbers [K][K]; or the path of a CSV that
    has a row label,fp,fn for each label, or K × K costs (rows true, columns decided, with the names of the classes in
    any order on both sides, or without names in the classes' order).  UsageError; DataError for a file that is no such
    table.
    """
    if given is None or isinstance(given, ErrorCosts):
        return given
    if isinstance(given, Mapping):
        if set(given) & {"fp", "fn"} or not given:
            return _pair_of_costs(numbers(given, "cost", ("fp", "fn")))
        return {label: c if isinstance(c, ErrorCosts) else _by_name(c) for label, c in given.items()}
    if isinstance(given, str) and "=" in given and not Path(given).is_file():
        return _pair_of_costs(numbers(given, "cost", ("fp", "fn")))
    if isinstance(given, str | os.PathLike):
        return _of_file(Path(given), classes)
    return cost_matrix(given, classes)


def _pair(part: str, where: str) -> tuple[str, str]:
    name, equals, value = part.strip().rpartition("=")
    if not equals or not name.strip():
        raise UsageError(
            f"{part.strip()!r} is no name=number.", where=where, code="setting", remedy="As in fp=1,fn=50."
        )
    return name.strip(), value.strip()


def _by_name(given: Any) -> ErrorCosts:
    return _pair_of_costs(numbers(given, "cost", ("fp", "fn")))


def _pair_of_costs(given: Mapping[str, float]) -> ErrorCosts:
    missing = [name for name in ("fp", "fn") if name not in given]
    if missing:
        raise UsageError(
            f"the cost of {missing[0]} is missing.", where="cost", code="setting",
            remedy="Name both: what a false alarm costs and what a miss costs, as in fp=1,fn=50.",
        )  # fmt: skip
    return error_costs(given["fp"], given["fn"])


def _of_file(path: Path, classes: Sequence[str]) -> Costs:
    rows = _cells(path)
    head, body = rows[0], rows[1:]
    if [cell.lower() for cell in head] == ["label", "fp", "fn"]:
        found = {row[0]: error_costs(*map(_number(path), row[1:])) for row in body}
        strange = [label for label in found if label not in classes]
        if strange:
            raise UsageError(
                f"no such class as {strange[0]}.", where=str(path), remedy=did_you_mean(strange[0], classes),
                code="setting",
            )  # fmt: skip
        return found
    if set(head[1:]) != set(classes):  # no names: numbers alone, in the order of the classes
        return cost_matrix([[_number(path)(cell) for cell in row] for row in rows], classes)
    if sorted(row[0] for row in body) != sorted(classes) or len(head) - 1 != len(classes):
        raise DataError(
            "its rows and its columns do not name the classes, each once.", where=str(path), code="list",
            remedy=f"Rows are true classes, columns decisions: {', '.join(classes[:5])}.",
        )  # fmt: skip
    by_name = {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in body}
    return cost_matrix([[_number(path)(by_name[true][called]) for called in classes] for true in classes], classes)


def _cells(path: Path) -> list[list[str]]:
    """The cells of a CSV, all rows as long as the first."""
    try:
        text, _ = decode_text(path.read_bytes(), None, str(path))
    except OSError as error:
        raise UsageError(
            f"cannot read the costs ({error.strerror}).",
            where=str(path),
            code="cost",
            remedy="Give fp=1,fn=50, or a CSV with a cost for every true and every decided class.",
        ) from error
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=find_delimiter(text))
    rows = [[cell.strip() for cell in row] for row in reader if any(cell.strip() for cell in row)]
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise DataError("it is empty, or its rows are not equally long.", where=str(path), code="list")
    return rows


def _number(path: Path) -> Any:
    def number(cell: str) -> float:
        try:
            return float(cell)
        except ValueError as error:
            raise DataError(f"{cell!r} is no number.", where=str(path), code="list") from error

    return number
