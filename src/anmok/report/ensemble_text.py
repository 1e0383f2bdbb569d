"""An ensemble in a few lines: its members, what it gains over the best of them, and what it costs in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HOW = {
    "hard": "votes of the members", "soft": "mean of the probabilities", "weighted": "weighted mean of the "
    "probabilities", "greedy": "mean of a greedy selection", "stack": "logistic regression on the members",
    "soup": "mean of the weights: one network", "greedy-soup": "mean of the weights of a greedy selection: one network",
}  # fmt: skip
IDLE = 0.0005  # a weight that is shown as 0.000


def ensemble_lines(facts: Mapping[str, Any]) -> list[str]:
    """The content of ensemble.json as sentences."""
    rows = ensemble_rows(facts)
    width = max(len(name) for name in rows)
    return [f"  {name:<{width}}  {text}" for name, text in rows.items()]


def ensemble_rows(facts: Mapping[str, Any]) -> dict[str, str]:
    """The same as {name: text}."""
    out = {"how": HOW[facts["how"]]}
    weights = facts.get("weights") or [None] * len(facts["members"])
    latency = facts.get("latency_ms") or {}
    for name, weight in zip(facts["members"], weights, strict=True):
        parts = [] if weight is None else [f"weight {weight:.3f}"]
        parts += [f"{latency[name]:.1f} ms an image"] if name in latency else []
        out[f"member {name}"] = ", ".join(parts) or "alike"
    if latency:
        out["latency"] = latency_text(facts)
    if "gain" in facts:
        out["gain"] = gain_text(facts["gain"]) if facts["gain"] else "not measured: no member has a validation split"
    pairs = zip(facts["members"], weights, strict=True)
    if idle := [name for name, weight in pairs if weight is not None and weight < IDLE]:
        out["to leave out"] = f"{', '.join(idle)}: of no weight, but paid for in time"
    return out


def latency_text(facts: Mapping[str, Any]) -> str:
    """What an answer takes: the sum over the members, of a soup one of them."""
    times = list(facts["latency_ms"].values())
    if "soup" in facts["how"]:
        return f"{facts['soup_ms']:.1f} ms an image, one at a time: that of one network"
    return f"{sum(times):.1f} ms an image, one at a time: {sum(times) / max(min(times), 1e-9):.1f} × its fastest member"


def gain_text(gain: Mapping[str, Any]) -> str:
    """What is gained over the best member, with the interval."""
    accuracy, loss = gain["metrics"]["accuracy"], gain["metrics"]["log_loss"]
    how = ", the weights fitted in folds" if gain["in_folds"] else ""
    return (
        f"accuracy {accuracy['b']:.4f} against {accuracy['a']:.4f} of {gain['best']}, the best member "
        f"({accuracy['value']:+.4f} [{accuracy['low']:+.4f}, {accuracy['high']:+.4f}]); log loss "
        f"{loss['b']:.4f} against {loss['a']:.4f} [{loss['low']:+.4f}, {loss['high']:+.4f}], "
        f"on {gain['n']:,} {gain['split']} images{how}"
    )
