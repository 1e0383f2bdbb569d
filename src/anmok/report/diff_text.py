"""What differs between two runs, as text."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from anmok.core.text import printable, visible


def diff_lines(found: Mapping[str, Any]) -> list[str]:
    """Settings, data, scores, and what a paired test says; `found` as `Difference.to_dict` has it."""
    lines = [f"a: {found['a']}", f"b: {found['b']}", "", "Configuration"]
    lines += _settings(found["settings"]) or ["  the same"]
    lines += ["", "Data", *_data(found)]
    for split, metrics in found["scores"].items():
        lines += ["", f"Scores, {split}", *(_score(name, a, b) for name, (a, b) in metrics.items())]
    if not found["scores"]:
        lines += ["", "Scores", "  no split that both were evaluated on"]
    if found["verdict"]:
        lines += ["", printable(found["verdict"])]
    return lines


def diff_html(found: Mapping[str, Any]) -> str:
    """The same for a notebook."""
    return f"<pre>{html.escape(chr(10).join(diff_lines(found)))}</pre>"


def _settings(settings: Mapping[str, Any]) -> list[str]:
    width = max(map(len, settings), default=0)
    return [f"  {name:<{width}}  {_shown(a)} → {_shown(b)}" for name, (a, b) in settings.items()]


def _shown(value: Any) -> str:
    return "not set" if value is None else visible(str(value))


def _data(found: Mapping[str, Any]) -> list[str]:
    a, b = (text[:12] for text in found["fingerprints"])
    if a == b:
        return [f"  the same ({a})"]
    changes = [f"  {visible(line)}" for line in found["data"]]
    return [f"  fingerprint {a} → {b}", *(changes or ["  only what no model sees differs"])]


def _score(name: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    gap = "" if a["value"] is None or b["value"] is None else f"  ({b['value'] - a['value']:+.4f})"
    return f"  {name:<18} {_value(a)} → {_value(b)}{gap}"


def _value(metric: Mapping[str, Any]) -> str:
    if metric["value"] is None:
        return f"n/a ({metric.get('reason', '')})"
    if metric.get("low") is None:
        return f"{metric['value']:.4f}"
    return f"{metric['value']:.4f} [{metric['low']:.4f}, {metric['high']:.4f}]"
