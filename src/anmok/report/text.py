"""An evaluation on the terminal: scores with intervals, the confusion matrix where it fits, the baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anmok.core.types import Evaluation
from anmok.report import words

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDEST_MATRIX = 12  # classes


def print_evaluation(evaluation: Evaluation, console: Console | None = None) -> None:
    """Print an evaluation as clean tables, on standard output unless a console is given.  Labels are never markup."""
    from rich.console import Console
    from rich.text import Text

    console = console or Console(highlight=False)
    data = evaluation.data
    console.print()
    for sentence in words.headline(data) + words.remarks(data):
        console.print(Text(sentence.replace("\u00a0", " ")))
    console.print(_scores(data))
    if len(data["per_class"]) <= WIDEST_MATRIX:
        if data["task"] != "multilabel":
            console.print(_matrix(data["confusion"]))
        console.print(_classes(data["per_class"]))
    else:
        console.print(Text(f"{len(data['per_class'])} classes: see the report for each.", style="dim"))


def plain(label: str) -> str:
    """A label without what a terminal would obey: escapes, line breaks, direction marks."""
    return "".join(c if c.isprintable() else "\ufffd" for c in label)


def _table(title: str, first: str, *numbers: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    table.add_column(Text(first), overflow="fold")
    for name in numbers:
        table.add_column(Text(name), justify="right", overflow="fold")
    return table


def _scores(data: dict[str, Any]) -> Table:
    from rich.text import Text

    baselines = data.get("baselines", {})
    table = _table(
        f"Scores on {words.count(data['n'], (data['split'] + ' image').strip())}",
        "metric", "value", "95 % interval", *(words.baseline_name(name) for name in baselines),
    )  # fmt: skip
    for name in words.MAIN:
        m = data["metrics"].get(name)
        if m is None or m["value"] is None:
            continue
        labels = name not in words.OF_PROBABILITIES
        others = [words.number(b[name]["value"]) if labels and name in b else "" for b in baselines.values()]
        table.add_row(words.metric_name(name)[0], words.number(m["value"]), words.interval(m), *others)
    for name in words.MAIN:
        m = data["metrics"].get(name)
        if m is not None and m["value"] is None:
            table.add_row(words.metric_name(name)[0], "n/a", Text(m["reason"], style="dim"), *("" for _ in baselines))
    return table


def _matrix(confusion: dict[str, Any]) -> Table:
    from rich.text import Text

    table = _table("Rows: true label; columns: predicted label", "", *(plain(c) for c in confusion["classes"]))
    for i, (label, row) in enumerate(zip(confusion["classes"], confusion["counts"], strict=True)):
        cells = [
            Text(f"{n:,}" if n else "·", style="bold" if i == j else "" if n else "dim") for j, n in enumerate(row)
        ]
        table.add_row(Text(plain(label)), *cells)
    return table


def _classes(per_class: dict[str, Any]) -> Table:
    from rich.text import Text

    table = _table("Class by class", "class", "images", "TP", "FP", "FN", "TN", "precision", "recall", "F1")
    for label, row in per_class.items():
        counts = [f"{row[key]:,}" for key in ("support", "tp", "fp", "fn", "tn")]
        table.add_row(Text(plain(label)), *counts, *(words.number(row[key]["value"]) for key in words.SCORES))
    return table
