"""How the network represents images: their vectors before its head, as points on a plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anmok.augment.color import convert
from anmok.augment.preprocess import resize
from anmok.core.optional import need
from anmok.core.progress import bar
from anmok.data.batches import Loader
from anmok.data.table import Table
from anmok.report.thumbnails import thumbnail

if TYPE_CHECKING:
    from anmok.deploy.model import Model
    from anmok.models.encoder import Encoder

BATCH = 64
THUMBNAIL_BYTES = 1_500_000  # of all points together


class Vectors(NamedTuple):
    """ids of N images, their vectors float32[N, D], a small picture of each as WebP bytes, and the first few inputs."""

    ids: list[str]
    values: np.ndarray
    pictures: list[bytes]
    prepared: np.ndarray


class Plane(NamedTuple):
    """Points float64[N, 2], the names of the axes, and how they came about, as a text."""

    points: np.ndarray
    axes: tuple[str, str]
    how: str


def embed(
    model: Model, encoder: Encoder, table: Table, keep: int, threads: int | None, allow_truncated: bool
) -> Vectors:  # fmt: skip
    """The vectors of a table's images, those that can be read; of the first `keep` also uint8[n, S, S, C]."""
    from anmok.models.classifier import evaluating
    from anmok.stages.inspect_looks import as_input

    pre = model.preprocess
    loader = Loader(table, preprocess=pre, batch_size=BATCH, threads=threads, allow_truncated=allow_truncated)
    ids: list[str] = []
    values, pictures = [], []
    first: list[np.ndarray] = []
    side = 56 if len(table) <= 500 else 40
    with bar("embed", len(table)) as progress:
        for batch in loader.epoch():
            if len(batch):
                with evaluating(encoder):
                    values.append(encoder(as_input(model, batch.images)).float().cpu().numpy())
                first += [image.copy() for image in batch.images[: max(0, keep - len(first))]]
                pictures += [_small(image, pre.colorspace, side) for image in batch.images]
            ids += batch.ids
            progress.advance(len(batch))
    spent = np.cumsum([len(picture) for picture in pictures])
    pictures = [p if total <= THUMBNAIL_BYTES else b"" for p, total in zip(pictures, spent, strict=True)]
    empty = np.zeros((0, encoder.width), np.float32)
    inputs = np.stack(first) if first else np.zeros((0, pre.image_size, pre.image_size, pre.depth), np.uint8)
    return Vectors(ids, np.concatenate(values) if values else empty, pictures, inputs)


def _small(image: np.ndarray, colorspace: Any, side: int) -> bytes:
    shown = image if colorspace == "rgb" else convert(image, colorspace, "rgb")
    return thumbnail(resize(shown, side, side), side, 60)


def on_plane(values: np.ndarray, kind: str, seed: int) -> Plane:
    """float32[N, D] as points: `pca`, or `umap` (McInnes et al. 2018), which `require_map` has asked for before."""
    if kind == "pca":
        points, shares = pca(values)
        axes = tuple(f"direction {i + 1}: {100 * share:.0f} % of the variance" for i, share in enumerate(shares))
        return Plane(points, (axes[0], axes[1]), "along the two directions in which they differ most (PCA)")
    umap = require_map(kind)
    near = min(15, len(values) - 1)
    points = umap.UMAP(n_neighbors=near, random_state=seed, n_jobs=1).fit_transform(values)
    return Plane(np.asarray(points, np.float64), ("UMAP 1", "UMAP 2"),
                 "placed by UMAP: neighbours stay neighbours, distances between groups mean little")  # fmt: skip


def require_map(kind: str) -> Any:
    """The package that a map needs, None for PCA.  MachineError that names the extra where it is not installed."""
    return None if kind == "pca" else need("umap", "umap")


def pca(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64[N, 2] along the two directions of largest variance, and their shares of it, float64[2].

    The sign of each direction is such that its largest component is positive. Of vectors that are all alike, and of
    one component, what is missing is 0.
    """
    centred = values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)
    left, singular, right = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(np.take_along_axis(right, np.abs(right).argmax(axis=1)[:, None], axis=1))[:, 0]
    points, shares = np.zeros((len(values), 2)), np.zeros(2)
    n = min(2, len(singular))
    points[:, :n] = (left * singular * np.where(signs == 0, 1, signs))[:, :n]
    total = float((singular**2).sum())
    shares[:n] = singular[:n] ** 2 / total if total > 0 else 0
    return points, shares


def same_neighbours(values: np.ndarray, labels: np.ndarray) -> float:
    """The share of vectors float[N, D] whose nearest other one (Euclidean) has the same label of labels int[N]."""
    v = values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)
    squares = (v * v).sum(axis=1)
    same = 0
    for start in range(0, len(v), 512):
        part = slice(start, start + 512)
        distance = squares[None] - 2 * v[part] @ v.T
        distance[np.arange(len(distance)), np.arange(start, start + len(distance))] = np.inf
        same += int((labels[distance.argmin(axis=1)] == labels[part]).sum())
    return same / len(v)
