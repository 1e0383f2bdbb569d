"""`anmok evaluate A B`: is B really better than A? Tests on the same images, corrected for how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from anmok.core.artifacts import load_predictions
from anmok.core.errors import DataError, UsageError
from anmok.core.types import Predictions
from anmok.evaluate.paired import compare_all
from anmok.report.paired_text import paired_html, paired_lines
from anmok.stages.ensemble_run import find_run
from anmok.stages.evaluate_file import FILES, read_predictions
from anmok.stages.judge import groups_of

SPLITS = ("test", "val", "oof")  # the first that all have


@dataclass(frozen=True)
class Paired:
    """Every two of some models on the same images: rows as `paired.compare_all` has them, of `n` images of `split`."""

    split: str
    names: tuple[str, ...]
    rows: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return {"split": self.split, "models": list(self.names), "pairs": self.rows}

    def __repr__(self) -> str:
        return "\n".join(paired_lines(self.split, self.rows))

    def _repr_html_(self) -> str:
        return paired_html(self.split, self.rows)


def paired(models: Sequence[Any], *, split: str | None = None, seed: int = 0) -> Paired:
    """Compare the stored predictions of runs, ensembles or files, every two of them, on a split that all have.

    models: paths, Runs or Predictions, two or more; the first of each pair is what the other is measured against.
    split: test where all have predictions of it, else val, unless one is named.  UsageError where there is no split
    that all have; DataError where classes or ids do not match.
    """
    if len(models) < 2:
        raise UsageError("a comparison needs two models.", where="evaluate", code="setting")
    names = _names(models)
    chosen = split or _common(models, names)
    found = {name: _predictions(model, chosen) for name, model in zip(names, models, strict=True)}
    for (a, p), (b, q) in combinations(found.items(), 2):
        if p.fingerprint and q.fingerprint and p.fingerprint != q.fingerprint and set(p.ids) != set(q.ids):
            raise DataError(
                f"{a} and {b} were not split alike: their {chosen} images are others.", where="predictions", code="ids",
                remedy="Split once, with `anmok split DATA --out table.parquet`, and train both on that table.",
            )  # fmt: skip
    groups = next((g for m in models if (g := _groups(m)) is not None), None)
    return Paired(chosen, tuple(names), compare_all(found, groups=groups, seed=seed))


def _names(models: Sequence[Any]) -> list[str]:
    texts = [
        f"model {number}" if isinstance(model, Predictions) else str(getattr(model, "path", model))
        for number, model in enumerate(models, 1)
    ]
    short = [Path(text).name for text in texts]
    names = short if len(set(short)) == len(short) else texts
    if len(set(names)) < len(names):
        raise UsageError("a model is named twice.", where="evaluate", code="setting")
    return names


def _is_file(model: Any) -> bool:
    return isinstance(model, str | Path) and Path(model).suffix.lower() in FILES


def _groups(model: Any) -> dict[str, str] | None:
    if isinstance(model, Predictions) or _is_file(model):
        return None
    return groups_of(find_run(model).table)


def _common(models: Sequence[Any], names: Sequence[str]) -> str:
    """The first split that every run has predictions of; files and Predictions are taken as they are."""
    runs = [find_run(m) for m in models if not isinstance(m, Predictions) and not _is_file(m)]
    if not runs:
        return ""
    for split in SPLITS:
        if all((run.path / "predictions" / f"{split}.parquet").is_file() for run in runs):
            return split
    raise UsageError(
        f"there is no split of which {' and '.join(names)} all have predictions.", where="evaluate", code="run",
        remedy="Evaluate each of them first.",
    )  # fmt: skip


def _predictions(model: Any, split: str) -> Predictions:
    if isinstance(model, Predictions):
        found = model
    elif _is_file(model):
        found = read_predictions(Path(model))
    else:
        path = find_run(model).path / "predictions" / f"{split}.parquet"
        if not path.is_file():
            raise UsageError(
                f"it has no {split} predictions.", where=str(path.parent.parent), code="run",
                remedy=f"anmok evaluate {path.parent.parent} --split {split} makes them.",
            )  # fmt: skip
        return load_predictions(path)
    marked = {s for s in found.split or () if s}
    if split and split in marked and len(marked) > 1:
        from anmok.evaluate.rows import of_split

        return of_split(found, split)
    return found
