"""Every score of a part of the images: of one camera, one folder, one size; the worst part first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from anmok.core.errors import UsageError, did_you_mean
from anmok.core.types import Predictions
from anmok.evaluate.metrics import Asked, scored
from anmok.evaluate.paired import holm
from anmok.evaluate.rows import Rows, of_split, usable_rows

SMALL = 30  # images below which a slice's score says little
LOWER_IS_BETTER = ("log_loss", "brier", "ece", "hamming_loss", "hierarchical_cost")


def evaluate_slices(
    p: Predictions, column: Mapping[str, Any], split: str | None = None, *, by: str = "accuracy", small: int = SMALL,
    **asked: Any,
) -> list[dict[str, Any]]:  # fmt: skip
    """Scores of every value of a column, the worst first by the metric `by`, those where it is undefined last.

    column: id to value; an id without one (or None) is in the slice None.  Of each slice: {value, n, small, metrics,
    p_value}: small is whether it has fewer images than `small`; p_value of Fisher's exact test that its accuracy is
    that of all other images, Holm-corrected for the number of slices, None where there is no other image.  asked: see
    `metrics.Asked`; curves are not computed unless asked for.  UsageError where no metric is called `by`; DataError:
    see `usable_rows`.
    """
    p = of_split(p, split)
    rows = usable_rows(p)
    keep = {identity: n for n, identity in enumerate(p.ids)}
    index = np.array([keep[i] for i in rows.ids])
    values = [column.get(i) for i in rows.ids]
    code, names = _codes(values)
    settings = replace(Asked(**asked), ranking=asked.get("ranking", False))
    right = rows.probs.argmax(axis=1) == rows.targets if rows.targets.ndim == 1 else _all_right(rows)
    out = []
    for number, name in enumerate(names):
        inside = code == number
        found = scored(p.select(index[inside]), split or "", settings)
        out.append({
            "value": name, "n": found["n"], "small": found["n"] < small, "metrics": found["metrics"],
            "p_value": _differs(right, inside),
        })  # fmt: skip
    if out and by not in out[0]["metrics"]:
        raise UsageError(
            f"no such metric as {by}.", where="by", remedy=did_you_mean(by, out[0]["metrics"]), code="setting"
        )
    tested = [row for row in out if row["p_value"] is not None]
    for row, adjusted in zip(tested, holm([row["p_value"] for row in tested]), strict=True):
        row["p_value"] = float(adjusted)
    sign = 1 if by in LOWER_IS_BETTER else -1

    def badness(row: dict[str, Any]) -> tuple[bool, float]:
        value = row["metrics"][by]["value"]
        return value is None, 0.0 if value is None else -sign * value

    return sorted(out, key=badness)


def _all_right(rows: Rows) -> np.ndarray:
    """Whether every known label of an image is right, bool[N]."""
    right = (rows.probs >= 0.5) == rows.targets
    return (right if rows.known is None else right | ~rows.known).all(axis=1)


def buckets(values: Sequence[float | None], parts: int = 4) -> list[str | None]:
    """Numbers as ranges of about equally many, '12 to 40': so that a size or a sharpness can be sliced by.

    None or NaN stays None; equal numbers never part, so there may be fewer ranges.
    """
    numbers = np.array([np.nan if v is None else v for v in values], np.float64)
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        return [None] * len(numbers)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, parts + 1)[1:-1]))
    place = np.searchsorted(edges, numbers)
    names = {}
    for part in np.unique(place[~np.isnan(numbers)]):
        inside = numbers[(place == part) & ~np.isnan(numbers)]
        low, high = inside.min(), inside.max()
        names[part] = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
    return [None if np.isnan(v) else names[n] for v, n in zip(numbers, place, strict=True)]


def _codes(values: list[Any]) -> tuple[np.ndarray, list[Any]]:
    number: dict[Any, int] = {}
    code = np.array([number.setdefault(v, len(number)) for v in values], np.int64)
    return code, list(number)


def _differs(right: np.ndarray, inside: np.ndarray) -> float | None:
    from scipy.stats import fisher_exact

    if inside.all():
        return None
    table = [[int((right & part).sum()), int((~right & part).sum())] for part in (inside, ~inside)]
    return float(fisher_exact(table).pvalue)
