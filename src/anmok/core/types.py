"""The shapes that rooms hand to each other."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from anmok.core.text import visible

Task = Literal["binary", "multiclass", "multilabel"]


class Batch(NamedTuple):
    """Images of one step. Unpacks as (images, targets, ids).

    images: uint8[B, H, W, C], or float32[B, C, H, W] once normalised; of several views a tuple of such arrays; targets:
    int64[B] (-1: unlabelled), or float32[B, K] of 0/1 for multi-label (NaN: unknown); ids: B strings.
    """

    images: Any
    targets: Any
    ids: list[str]

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, rows: slice) -> Batch:
        """The images of these rows, of every view."""
        images = tuple(v[rows] for v in self.images) if isinstance(self.images, tuple) else self.images[rows]
        return Batch(images, self.targets[rows], self.ids[rows])


class Reject(NamedTuple):
    """An image that could not be used: its row id, the kind of fault (see ImageError) and the reason."""

    id: str
    kind: str
    reason: str


class Finding(NamedTuple):
    """Something the audit found: kind, the ids it concerns, a score, evidence as text, a proposed decision."""

    kind: str
    ids: list[str]
    score: float
    evidence: str
    decision: str = ""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model says of N images over K classes.

    ids: N strings; classes: K names in order; probs: float32[N, K] (rows sum to 1, but for multi-label; NaN where the
    image could not be read); targets: int64[N] (-1: unlabelled), or float32[N, K] for multi-label
    (NaN: unknown), or None;
    split: N strings or None; errors: id -> reason, for images that could not be read.
    """

    ids: list[str]
    classes: list[str]
    probs: np.ndarray
    targets: np.ndarray | None = None
    task: Task = "multiclass"
    split: list[str] | None = None
    model_hash: str = ""
    fingerprint: str = ""
    errors: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.probs.shape != (len(self.ids), len(self.classes)):
            raise ValueError(f"probs is {self.probs.shape}, expected ({len(self.ids)}, {len(self.classes)})")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> list[str] | list[list[str]]:
        """The predicted label of each image (of a multi-label one: those at 0.5 or above); '' where unreadable."""
        bad = np.isnan(self.probs).any(axis=1)
        if self.task == "multilabel":
            return [[c for c, p in zip(self.classes, row, strict=True) if p >= 0.5] for row in self.probs]
        best = np.where(bad, 0, np.nan_to_num(self.probs).argmax(axis=1))
        return ["" if b else self.classes[i] for i, b in zip(best, bad, strict=True)]

    def select(self, keep: np.ndarray) -> Predictions:
        """The rows where `keep` (bool[N] or int[M]) says so."""
        index = np.flatnonzero(keep) if keep.dtype == bool else keep
        ids = [self.ids[i] for i in index]
        return Predictions(
            ids, self.classes, self.probs[index], None if self.targets is None else self.targets[index], self.task,
            None if self.split is None else [self.split[i] for i in index], self.model_hash, self.fingerprint,
            {i: self.errors[i] for i in ids if i in self.errors},
        )  # fmt: skip

    def rows(self, limit: int = 10) -> list[tuple[str, str, float]]:
        """The first `limit` rows as (id, label, probability of that label)."""
        labels, top = self.labels, np.nan_to_num(self.probs).max(axis=1) if self.classes else np.zeros(len(self))
        return [
            (self.ids[i], ", ".join(labels[i]) if isinstance(labels[i], list) else str(labels[i]), float(top[i]))
            for i in range(min(limit, len(self)))
        ]

    def __repr__(self) -> str:
        images = f"{len(self)} image{'' if len(self) == 1 else 's'}"
        lines = [f"Predictions: {images}, {len(self.classes)} classes ({self.task})"]
        for i, label, p in self.rows():
            text = f"no answer, {self.errors[i]}" if i in self.errors else f"{label or 'none of the classes'} ({p:.3f})"
            lines.append("  " + visible(f"{i}: {text}"))
        return "\n".join(lines + (["  …"] if len(self) > 10 else []))

    def _repr_html_(self) -> str:
        body = "".join(
            f"<tr><td>{html.escape(i)}</td><td>{html.escape(label)}</td><td>{p:.3f}</td></tr>"
            for i, label, p in self.rows(20)
        )
        return f"<table><tr><th>id</th><th>label</th><th>probability</th></tr>{body}</table>"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The content of evaluation.json; `data` has the keys that design.md names.

    split, n, task, metrics {name: {value, low, high} or {value: None, reason}}, per_class, confusion, decision, and
    what a stage adds (baselines, looks, leaked, rejected).
    """

    data: dict[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.data[key]

    def value(self, metric: str) -> float | None:
        """The value of a metric, None where it is undefined. KeyError names the known ones."""
        return self.data["metrics"][metric]["value"]

    def lines(self) -> list[tuple[str, str]]:
        """(name, value with interval) of every metric, as text."""
        out = []
        for name, m in self.data["metrics"].items():
            if m["value"] is None:
                out.append((name, f"n/a ({m.get('reason', '')})"))
            elif m.get("low") is not None:
                out.append((name, f"{m['value']:.4f}  [{m['low']:.4f}, {m['high']:.4f}]"))
            else:
                out.append((name, f"{m['value']:.4f}"))
        return out

    def __repr__(self) -> str:
        head = f"Evaluation of {self.data['n']} {(self.data['split'] + ' images').strip()} ({self.data['task']})"
        body = [f"  {name:<20} {text}" for name, text in self.lines()]
        for name, metrics in self.data.get("baselines", {}).items():
            value = metrics["accuracy"]["value"]
            body.append(f"  baseline {name:<11} accuracy {'n/a' if value is None else format(value, '.4f')}")
        return "\n".join([head, *body])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{html.escape(n)}</td><td>{html.escape(t)}</td></tr>" for n, t in self.lines())
        return f"<table><tr><th>metric</th><th>value [95 % interval]</th></tr>{rows}</table>"
