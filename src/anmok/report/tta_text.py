"""What test-time views gain and what they cost, as text."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from anmok.report.paired_text import paired_lines


def tta_lines(facts: Mapping[str, Any], split: str, row: Mapping[str, Any]) -> list[str]:
    """The views and their weights, both figures with their difference, and the time of an image beside them.

    facts: see `stages.tta_evaluate.Viewed`; row: of `evaluate.paired.compare_all`, a without views, b with them.
    """
    times = facts["latency_ms"]
    return [
        f"Test-time views: {facts['tta']}, {len(facts['views'])} of each image ({', '.join(facts['views'])}).",
        *_weights(facts),
        *[line for line in paired_lines(split, [row]) if line],
        f"Cost: {times['views']:.1f} ms an image instead of {times['plain']:.1f} ms, "
        f"{times['views'] / max(times['plain'], 1e-9):.1f} times as long (one at a time, decoding left out).",
    ]


def _weights(facts: Mapping[str, Any]) -> list[str]:
    if facts["in_folds"]:
        return ["Weights: fitted on the other four fifths of the validation images, for each fifth."]
    if facts["weights"] is None:
        return ["Weights: the same for every view."]
    return [
        f"Weights{'' if len(facts['weights']) == 1 else f' of {name}'} ({facts['weighting']}): "
        + ", ".join(f"{view} {w:.3f}" for view, w in zip(facts["views"], weights, strict=True)) + "."
        for name, weights in facts["weights"].items()
    ]  # fmt: skip


def tta_html(facts: Mapping[str, Any], split: str, row: Mapping[str, Any]) -> str:
    """The same for a notebook."""
    return f"<pre>{html.escape(chr(10).join(tta_lines(facts, split, row)))}</pre>"
