"""Does something beside the content tell the label? One property at a time, by permutation test.

A property is cut into bins; a bin is taken for a class that has a larger share of its images there than the others have
on average, by the images of the other folds. How well that tells the class from the rest is a balanced accuracy; the
class that is told best counts, and is compared with the same of labels dealt at random (Ojala & Garriga 2010, JMLR 11,
test 1). p is corrected for the number of properties (Holm 1979).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anmok.audit.config import AuditConfig
from anmok.core.types import Finding
from anmok.data.table import Table

if TYPE_CHECKING:
    import polars as pl

BINS = 16  # at most, of a property
IMAGES_A_BIN = 25  # at least, on average
FOLDS = 5
PERMUTATIONS = 499  # the smallest p is 1 / 500
SAMPLE = 5000  # images that are looked at, at most
CLASSES = 50  # the largest, at most
SEED = 0
_AT_ONCE = 1 << 21  # labels dealt at a time

# Of what a picture shows; of how its file was made.
SHOWN = ("brightness", "contrast", "colorfulness", "sharpness")
MADE = ("pixels", "aspect", "bytes", "format", "jpeg_quality", "mtime", "exif", "icc")


class Shortcut(NamedTuple):
    """How well one property tells a class from the rest.

    score: balanced accuracy over folds for the class that is told best, in [0, 1]; chance: the mean of the same over
    dealt labels (a little above 1/2, as the best of the classes is taken there too); p: the share of dealt labels that
    are told as well; p_corrected: after Holm; label: that class.
    """

    property: str
    score: float
    chance: float
    p: float
    p_corrected: float
    label: str

    def effect(self) -> float:
        """Youden's J: 0 is a coin, 1 always right."""
        return 2 * self.score - 1


def shortcuts(images: pl.DataFrame, table: Table) -> list[Shortcut]:
    """Every property that differs between images, the one that tells most first.

    [] where there is nothing to test: one class, several labels an image, or fewer than five images of each class. Of
    large sets a sample is taken, of many classes the largest; the same one every time.
    """
    sample = _sample(images, table)
    if sample is None:
        return []
    rows, targets, classes = sample
    rng = np.random.default_rng(SEED)
    folds = rng.permutation(len(targets)) % FOLDS
    dealt = rng.permuted(np.tile(targets.astype(np.int16), (PERMUTATIONS, 1)), axis=1)
    tested = []
    for name, values in _values(rows).items():
        bins = binned(values)
        if bins.max() == 0:
            continue
        told = one_against_rest(fold_counts(bins, folds, targets[None]))[0]
        null = np.concatenate([one_against_rest(fold_counts(bins, folds, d)).max(axis=1) for d in _parts(dealt)])
        best = int(told.argmax())
        p = (1 + int((null >= told[best] - 1e-12).sum())) / (1 + PERMUTATIONS)
        tested.append(Shortcut(name, float(told[best]), float(null.mean()), p, p, classes[best]))
    corrected = holm([found.p for found in tested])
    found = [s._replace(p_corrected=p) for s, p in zip(tested, corrected, strict=True)]
    return sorted(found, key=lambda s: -s.score)


def findings(tested: list[Shortcut], config: AuditConfig) -> Iterator[Finding]:
    """shortcut (score: effect, 0 a coin, 1 always right): what is significant and large enough, as a question."""
    for found in tested:
        if found.p_corrected > config.shortcut_p or found.effect() < config.shortcut:
            continue
        ask = (
            "is that the thing itself, or how it was photographed?" if found.property in SHOWN
            else "were the classes collected in different ways?"
        )  # fmt: skip
        evidence = (
            f"{found.property} alone tells {found.label} from the rest in {found.score:.0%} (balanced accuracy; chance "
            f"{found.chance:.0%}, corrected p = {found.p_corrected:.3f}): {ask}"
        )
        yield Finding("shortcut", [], found.effect(), evidence)


def as_dicts(tested: list[Shortcut]) -> list[dict[str, Any]]:
    """property, score, chance, p, p_corrected, label: as audit.json holds them."""
    return [{k: round(v, 6) if isinstance(v, float) else v for k, v in s._asdict().items()} for s in tested]


def binned(values: np.ndarray, most: int = BINS) -> np.ndarray:
    """int64[N], the bin of each value, from 0: each its own where they are few, else quantiles; NaN has one to itself.

    values: float[N].
    """
    known = ~np.isnan(values)
    most = int(np.clip(len(values) // IMAGES_A_BIN, 2, most))
    out = np.zeros(len(values), np.int64)
    if known.any():
        different = np.unique(values[known])
        if len(different) > most:
            cuts = np.quantile(values[known], np.arange(1, most) / most, method="inverted_cdf")
            often = cuts[1:][cuts[1:] == cuts[:-1]]  # fills a bin by itself, so what is above it starts another
            different = np.unique(np.concatenate([different[:1], cuts, np.nextafter(often, np.inf)]))
        out[known] = np.searchsorted(different, values[known], side="right") - 1
        out[~known] = len(different)
    return np.unique(out, return_inverse=True)[1]


def fold_counts(bins: np.ndarray, folds: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """int64[P, B, F, K]: images of each class in each bin and fold.

    bins: int64[N]; folds: int64[N]; targets: int64[P, N], P labellings by the same classes, all of which occur.
    """
    p, k, f, b = len(targets), int(targets.max()) + 1, int(folds.max()) + 1, int(bins.max()) + 1
    places = targets + ((bins * f + folds) * k + b * f * k * np.arange(p)[:, None])
    return np.bincount(places.ravel(), minlength=p * b * f * k).reshape(p, b, f, k)


def rates(counts: np.ndarray) -> np.ndarray:
    """float64[P, B, F, K]: of the images of a class in the other folds, the share that lies in a bin."""
    others = counts.sum(axis=2, keepdims=True) - counts
    return others / np.maximum(others.sum(axis=1, keepdims=True), 1)


def one_against_rest(counts: np.ndarray) -> np.ndarray:
    """float64[P, K]: balanced accuracy of "this class or not" over folds, the other classes weighing the same.

    counts: int64[P, B, F, K].
    """
    k, share = counts.shape[3], rates(counts)
    chosen = share > (share.sum(axis=3, keepdims=True) - share) / (k - 1) + 1e-12  # not where they are equal
    images = counts / counts.sum(axis=(1, 2), keepdims=True)
    own = (chosen * images).sum(axis=(1, 2))
    every = (chosen * images.sum(axis=3, keepdims=True)).sum(axis=(1, 2))
    return (1 + own - (every - own) / (k - 1)) / 2


def holm(p: list[float]) -> list[float]:
    """p values corrected for their number (Holm 1979, step down), in the order given."""
    order = np.argsort(p, kind="stable")
    steps = np.array(p, np.float64)[order] * np.arange(len(p), 0, -1)
    out = np.empty(len(p))
    out[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(p) else steps
    return out.tolist()


def _sample(images: pl.DataFrame, table: Table) -> tuple[pl.DataFrame, np.ndarray, list[str]] | None:
    """(rows measured, int64 of their classes, these), at most SAMPLE of at most CLASSES; None: nothing to test."""
    import polars as pl

    if table.rows.schema["label"] != pl.String:
        return None
    labels = table.rows.select("id", pl.col("label").alias("_label"))
    rows = images.filter(pl.col("brightness").is_not_null()).join(labels, on="id", maintain_order="left")
    counts = rows["_label"].drop_nulls().value_counts().filter(pl.col("count") >= FOLDS)
    largest = counts.sort(["count", "_label"], descending=[True, False])["_label"].head(CLASSES).to_list()
    rows = rows.filter(pl.col("_label").is_in(largest))
    if rows.height > SAMPLE:
        chosen = np.random.default_rng(SEED).choice(rows.height, SAMPLE, replace=False)
        rows = rows[np.sort(chosen)]
    if rows["_label"].n_unique() < 2:
        return None
    classes = rows["_label"].unique().sort()
    return rows, rows["_label"].rank("dense").to_numpy().astype(np.int64) - 1, classes.to_list()


def _values(rows: pl.DataFrame) -> dict[str, np.ndarray]:
    """float64[N] of each property, NaN where it is not known; a category by its number.

    Times are left out where the files were written faster than one a second: that is the order of a copy.
    """
    import polars as pl

    told = rows.with_columns(
        pixels=pl.col("width") * pl.col("height"),
        aspect=pl.col("width") / pl.col("height"),
        format=pl.col("format").rank("dense"),
    )
    times = rows["mtime"].drop_nulls()
    copied = times.len() == 0 or float(times.max()) - float(times.min()) < times.len()  # type: ignore[arg-type]
    kept = [name for name in (*SHOWN, *MADE) if not (name == "mtime" and copied)]
    return {name: told[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in kept}


def _parts(dealt: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, _AT_ONCE // dealt.shape[1])
    for start in range(0, len(dealt), step):
        yield dealt[start : start + step].astype(np.int64)
