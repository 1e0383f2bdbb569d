"""A decision in plain sentences: what was fitted, what it promises, what it does on each split."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

DELTA = (
    "What delta says: of all validation sets that could have been drawn, at most that share makes a promise that is "
    "then broken, and those that make none count as keeping it. So it is not the chance that this very promise is "
    "broken: where few sets could have made one, as with few images, more of the promises made may be broken."
)
WHERE = {
    "val": "On {n} validation images, those it was fitted on",
    "oof": "On {n} out-of-fold images, those it was fitted on",
    "test": "On {n} test images, which it was not fitted on",
}


def decision_lines(
    calibration: str, decision: Mapping[str, Any], outcomes: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Everything that there is to say: the calibration, the rule, the promises, and the outcome of each split.

    decision: the content of decision.json; outcomes: {split: see `evaluate.outcome`}.
    """
    lines = [calibration, *rule_lines(decision), *promise_lines(decision)]
    for split, found in outcomes.items():
        head = WHERE.get(split, "On {n} images").format(n=f"{found['n']:,}")
        lines.append(f"{head}:")
        lines += [f"  {text}{_counts(found, text)}" for text in found["text"]]
    return lines


def rule_lines(decision: Mapping[str, Any]) -> list[str]:
    """By what rule an answer follows from the probabilities."""
    out = []
    if decision.get("costs"):
        out.append("The answer is the class that is expected to cost least, by the cost matrix.")
    for label, threshold in (decision.get("thresholds") or {}).items():
        if threshold > 1:
            out.append(f"No alarm for {label} is raised.")
        elif threshold <= 0:
            out.append(f"Every image is an alarm for {label}.")
        else:
            out.append(f"An alarm for {label} from a probability of {threshold:.4g} on.")
    if decision.get("abstain_below") is not None:
        out.append("Where the model is least sure, a person is asked.")
    return out


def promise_lines(decision: Mapping[str, Any]) -> list[str]:
    """What is promised of each label, or why nothing can be; and what delta counts, where something is."""
    out = []
    promises = decision.get("promises") or {}
    for label, promise in promises.items():
        if promise["threshold"] is not None:
            out.append(f"Promised for {label}: {promise['reason']}.")
            continue
        needed = promise.get("needed")
        more = f"; about {needed:,} validation images would do" if needed else ""
        out.append(f"Nothing can be promised for {label}: {promise['reason']}{more}.")
    return out + ([DELTA] if any(promise["threshold"] is not None for promise in promises.values()) else [])


def decision_html(lines: Sequence[str]) -> str:
    """The same for a notebook."""
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)


def _counts(found: Mapping[str, Any], text: str) -> str:
    """How many images a sentence on one label rests on."""
    for label, row in found["labels"].items():
        if any(said in text for said in (f"alarms for {label},", f"alarm for {label};", f"alarm for {label}.")):
            return f" ({row['tp'] + row['fp']:,} alarms, {row['tp'] + row['fn']:,} images of {label})"
    return ""
