"""An evaluation on the terminal: scores with intervals, the confusion matrix where it fits, the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anmok.core.types import Evaluation
from anmok.report import words
from anmok.report.judged_page import chance, column_name, part_name
from anmok.report.language import ENGLISH, Language
from anmok.report.plain import plain_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDEST_MATRIX = 12  # classes
MOST_PARTS = 12  # of a column; the report has all


def print_evaluation(evaluation: Evaluation, console: Console | None = None, language: Language = ENGLISH) -> None:
    """Print an evaluation as clean tables, on standard output unless a console is given.  Labels are never markup."""
    from rich.console import Console
    from rich.text import Text

    console = console or Console(highlight=False)
    data, said = evaluation.data, language.words
    console.print()
    for sentence in said.headline(data) + said.remarks(data):
        console.print(Text(sentence.replace("\u00a0", " ")))
    console.print()
    for line in plain_lines(data, language):
        console.print(Text(plain(line)))
    for sentence in (data.get("hierarchy") or {}).get("text", ()):
        console.print(Text(plain(said.note(sentence))))
    console.print(_scores(data, language))
    if len(data["per_class"]) <= WIDEST_MATRIX:
        if data["task"] != "multilabel":
            console.print(_matrix(data["confusion"], language))
        console.print(_classes(data["per_class"], language))
    else:
        console.print(Text(language.say("terminal_many", k=len(data["per_class"])), style="dim"))
    for column, rows in (data.get("slices") or {}).items():
        console.print(_slices(column, rows, language))


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


def _scores(data: dict[str, Any], language: Language) -> Table:
    from rich.text import Text

    t, said, baselines = language.labels, language.words, data.get("baselines", {})
    table = _table(
        language.say("terminal_scores", images=said.count(data["n"], (data["split"] + " image").strip())),
        t["metric"], t["value"], t["interval_95"], *(said.baseline_name(name) for name in baselines),
    )  # fmt: skip
    for name in words.MAIN:
        m = data["metrics"].get(name)
        if m is None or m["value"] is None:
            continue
        labels = name not in words.OF_PROBABILITIES
        others = [said.number(b[name]["value"]) if labels and name in b else "" for b in baselines.values()]
        table.add_row(said.metric_name(name)[0], said.number(m["value"]), said.interval(m), *others)
    for name in words.MAIN:
        m = data["metrics"].get(name)
        if m is not None and m["value"] is None:
            why = Text(said.reason(m["reason"]), style="dim")
            table.add_row(said.metric_name(name)[0], t["na"], why, *("" for _ in baselines))
    return table


def _matrix(confusion: dict[str, Any], language: Language) -> Table:
    from rich.text import Text

    table = _table(language.labels["terminal_matrix"], "", *(plain(c) for c in confusion["classes"]))
    for i, (label, row) in enumerate(zip(confusion["classes"], confusion["counts"], strict=True)):
        cells = [
            Text(f"{n:,}" if n else "·", style="bold" if i == j else "" if n else "dim") for j, n in enumerate(row)
        ]
        table.add_row(Text(plain(label)), *cells)
    return table


def _classes(per_class: dict[str, Any], language: Language) -> Table:
    from rich.text import Text

    t = language.labels
    scores = (t["score_precision"], t["score_recall"], t["score_f1"])
    table = _table(t["classes"], t["class"].lower(), t["images"].lower(), "TP", "FP", "FN", "TN", *scores)
    for label, row in per_class.items():
        counts = [f"{row[key]:,}" for key in ("support", "tp", "fp", "fn", "tn")]
        table.add_row(Text(plain(label)), *counts, *(words.number(row[key]["value"]) for key in words.SCORES))
    return table


def _slices(column: str, rows: Sequence[Mapping[str, Any]], language: Language) -> Table:
    from rich.text import Text

    t, said = language.labels, language.words
    table = _table(
        language.say("terminal_slices", column=plain(column_name(column, language))), t["slice"].lower(),
        t["images"].lower(), t["accuracy_big"], t["interval_95"], f"{t['macro']} F1", t["slice_chance"].lower(),
    )  # fmt: skip
    for row in rows[:MOST_PARTS]:
        accuracy, f1 = row["metrics"]["accuracy"], row["metrics"].get("macro_f1", {"value": None})
        few = f" ({t['slice_few']})" if row["small"] else ""
        table.add_row(
            Text(plain(part_name(column, row, language) + few)), f"{row['n']:,}", said.number(accuracy["value"]),
            said.interval(accuracy), said.number(f1["value"]), chance(row["p_value"]),
        )  # fmt: skip
    return table
