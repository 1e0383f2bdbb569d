"""Classes that lie in a tree: mistaking a poodle for a terrier is a smaller mistake than for a lorry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from anmok.core.errors import DataError, did_you_mean


def class_distances(classes: Sequence[str], parents: Mapping[str, str]) -> np.ndarray:
    """Edges between every two classes in the tree, float64[K, K]: what a mistake costs.

    The tree-induced error of Dekel, Keshet & Singer (2004).  parents: of each class, and of each parent that has one,
    what is above it; what has nothing above it hangs from one common root.  DataError: a class is not named, or the
    tree has a circle.
    """
    paths = [_path(label, parents) for label in classes]
    k = len(classes)
    out = np.zeros((k, k))
    depth = max(len(path) for path in paths)
    table = np.full((k, depth), -1, np.int64)
    number: dict[str, int] = {}
    for row, path in zip(table, paths, strict=True):
        row[: len(path)] = [number.setdefault(name, len(number)) for name in path]
    lengths = (table >= 0).sum(axis=1)
    for i in range(k):
        shared = np.cumprod((table == table[i]) & (table[i] >= 0), axis=1).sum(axis=1)
        out[i] = lengths[i] + lengths - 2 * shared
    return out


def _path(label: str, parents: Mapping[str, str]) -> list[str]:
    """From the top down to the class."""
    if label not in parents and label not in parents.values():
        raise DataError(
            f"the class {label!r} has no parent.",
            where="hierarchy",
            remedy=did_you_mean(label, parents),
            code="classes",
        )
    path = [label]
    while path[-1] in parents:
        path.append(parents[path[-1]])
        if path[-1] in path[:-1]:
            raise DataError(f"{path[-1]!r} is its own ancestor.", where="hierarchy", code="circle")
    return path[::-1]
