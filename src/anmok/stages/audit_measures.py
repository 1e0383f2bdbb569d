"""The measurements of an audit as a report shows them: distributions, sizes, what tells classes apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.core.text import visible
from anmok.report.audit_content import Histogram, Shortcut, Sizes, Spread

if TYPE_CHECKING:
    import polars as pl

DRAWN = ("brightness", "contrast", "sharpness", "colorfulness", "entropy", "bytes", "jpeg_quality")
BY_CLASS = ("brightness", "contrast")
FEW_CLASSES = 12
BINS = 26
POINTS = 2000  # sizes that a scatter shows
FORMS = ("format", "mode", "bits", "orientation", "alpha", "icc", "exif", "animated")
MOST_SHARES = 3  # formats told of a class


def distributions(images: pl.DataFrame, labels: np.ndarray, classes: Sequence[str]) -> list[Histogram]:
    """A histogram of each measurement that was made, with the spread of each class where classes are few.

    labels: the class of each image as object[N] (None: none, or several).
    """
    out = []
    for name in DRAWN:
        values = numbers(images, name)
        if values is None or not np.isfinite(values).any():
            continue
        few = name in BY_CLASS and 1 < len(classes) <= FEW_CLASSES
        by_class = spreads(values, labels, classes) if few else {}
        out.append(histogram(name, values[np.isfinite(values)], by_class))
    return out


def numbers(images: pl.DataFrame, name: str) -> np.ndarray | None:
    """A measurement as float64[N], NaN where there is none; `aspect` and `pixels` from width and height.

    None: there is no such column, or it holds no numbers.
    """
    import polars as pl

    if name in ("aspect", "pixels") and name not in images.columns:
        width, height = numbers(images, "width"), numbers(images, "height")
        if width is None or height is None:
            return None
        return width / height if name == "aspect" else width * height
    if name not in images.columns or not images.schema[name].is_numeric():
        return None
    return images[name].cast(pl.Float64).fill_null(math.nan).to_numpy()


def histogram(name: str, values: np.ndarray, by_class: Mapping[str, Spread], bins: int = BINS) -> Histogram:
    """Counts of finite values in equal bins, logarithmic where they reach over more than a factor of twenty.

    Whole numbers of few values get a bin each.
    """
    low, high = float(values.min()), float(values.max())
    logarithmic = name == "bytes" and low > 0 and high > 20 * low
    if logarithmic:
        edges = np.geomspace(low, high, bins + 1)
    elif name == "jpeg_quality":
        step = max(1, math.ceil((high - low + 1) / bins))
        edges = np.arange(low - 0.5, high + 0.5 + step, step)
    else:
        edges = np.linspace(low, high if high > low else low + max(abs(low), 1) * 1e-3, bins + 1)
    counts, edges = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return Histogram(name, edges.tolist(), counts.tolist(), logarithmic, spread(values), by_class)


def spread(values: np.ndarray) -> Spread:
    """5 %, 50 % and 95 % quantile of finite values."""
    return Spread(*np.quantile(values, (0.05, 0.5, 0.95)).tolist())


def spreads(values: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> dict[str, Spread]:
    """The spread of each class that has a finite value."""
    known = np.isfinite(values)
    found = {name: values[known & (labels == name)] for name in classes}
    return {visible(name): spread(some) for name, some in found.items() if len(some)}


def size_points(images: pl.DataFrame) -> Sizes:
    """Each width × height with its images; of very many, evenly taken ones, the commonest first."""
    import polars as pl

    if "width" not in images.columns:
        return Sizes((), 0)
    rows = images.filter(pl.col("width").is_not_null() & pl.col("fault").is_null())
    found = rows.group_by("width", "height").len().sort("len", "width", "height", descending=True)
    if found.height > POINTS:
        found = found[np.linspace(0, found.height - 1, POINTS).round().astype(int)]
    return Sizes(found.rows(), rows.select("width", "height").n_unique())


def forms(images: pl.DataFrame) -> dict[str, dict[str, int]]:
    """{what: {value: images}} of what the files are, commonest first; what is the same for all is one value."""
    out = {}
    for name in FORMS:
        if name in images.columns:
            counts = images[name].drop_nulls().value_counts(sort=True).rows()
            if counts:
                out[name] = {_form(name, value): n for value, n in counts}
    return out


def _form(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value.upper() if name == "format" else str(value)


def shortcuts(
    found: Iterable[Mapping[str, Any]], told: Iterable[str], images: pl.DataFrame, labels: np.ndarray,
    classes: Sequence[str],
) -> list[Shortcut]:  # fmt: skip
    """The tested properties as the summary has them, in their order, with each property class by class.

    told: the evidence of those that are findings; each begins with its property.
    """
    out = []
    for test in found:
        name = test["property"]
        values = numbers(images, name)
        by_class = {} if values is None else spreads(values, labels, classes)
        shares = class_shares(images, name, labels, classes) if values is None and name in images.columns else {}
        begins = (name, name.replace("_", " "))
        evidence = visible(next((said for said in told if said.startswith(begins)), ""))
        p, label = test.get("p_corrected", test["p"]), visible(test.get("label", ""))
        out.append(Shortcut(name, test["score"], test["chance"], p, label, evidence, by_class, shares))
    return out


def class_shares(
    images: pl.DataFrame, name: str, labels: np.ndarray, classes: Sequence[str]
) -> dict[str, dict[str, float]]:
    """{class: {value: share of its images}} of a named property, the commonest values."""
    import polars as pl

    out = {}
    for label in classes:
        counts = images[name].filter(pl.Series(labels == label)).drop_nulls().value_counts(sort=True).rows()
        total = sum(n for _, n in counts)
        if total:
            out[visible(label)] = {visible(_form(name, value)): n / total for value, n in counts[:MOST_SHARES]}
    return out
