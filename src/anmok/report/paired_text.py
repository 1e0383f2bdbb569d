"""Paired comparisons as text: the figures of both, their difference with its interval, and what may be said of it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

LEVEL = 0.05
NAMES = {
    "accuracy": "accuracy", "log_loss": "log loss", "brier": "Brier score", "macro_f1": "macro F1",
    "balanced_accuracy": "balanced accuracy",
}  # fmt: skip
LOWER_IS_BETTER = ("log_loss", "brier")


def paired_lines(split: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every pair: a sentence, then its figures."""
    out: list[str] = []
    for row in rows:
        on = f"{row['n']:,} {split} images".replace("  ", " ")
        out += [verdict(row, on, len(rows)), *_figures(row), ""]
    if split == "test":
        out.append("What is chosen by the test split is no longer tested by it.")
    return out


def verdict(row: Mapping[str, Any], on: str, comparisons: int) -> str:
    """Is b really better than a? A sentence by the accuracy, its interval and its p-value."""
    a, b, found = row["a"], row["b"], row["metrics"]["accuracy"]
    exact = row["mcnemar"].get("p_value") is not None
    test = row["mcnemar"] if exact else found
    p = test.get("p_holm", test["p_value"])
    how = "exact McNemar test" if exact else "paired bootstrap over groups"
    how += f", corrected for {comparisons} comparisons" if comparisons > 1 else ""
    interval = f"[{100 * found['low']:+.2f}, {100 * found['high']:+.2f}]"
    gap = f"{100 * found['value']:+.2f} points {interval}, p = {p:.2g} ({how})"
    if p < LEVEL and found["value"] != 0:
        better, worse = (b, a) if found["value"] > 0 else (a, b)
        return f"{better} is better than {worse} on {on}: the accuracy of {b} less that of {a} is {gap}."
    return f"On {on} nobody can say whether {b} is better than {a}: the accuracy of {b} less that of {a} is {gap}."


def _figures(row: Mapping[str, Any]) -> list[str]:
    out = []
    width = max(len(text) for text in NAMES.values())
    for name, m in row["metrics"].items():
        note = " (lower is better)" if name in LOWER_IS_BETTER else ""
        out.append(
            f"  {NAMES.get(name, name):<{width}}  {row['a']} {m['a']:.4f}  {row['b']} {m['b']:.4f}  difference "
            f"{m['value']:+.4f} [{m['low']:+.4f}, {m['high']:+.4f}]  p = {m.get('p_holm', m['p_value']):.2g}{note}"
        )
    test = row["mcnemar"]
    if "only_a" in test:
        out.append(f"  right alone: {row['a']} {test['only_a']:,} images, {row['b']} {test['only_b']:,}")
    return out


def paired_html(split: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The same for a notebook."""
    return f"<pre>{html.escape(chr(10).join(paired_lines(split, rows)))}</pre>"
