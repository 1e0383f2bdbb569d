"""Classes that lie in a tree: mistaking a poodle for a terrier is a smaller mistake than for a lorry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from anmok.core.errors import DataError, did_you_mean
from anmok.core.types import Predictions


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


class Coarse(NamedTuple):
    """The parents right above the classes, in order of their first class, and which each class has, int64[K]."""

    names: list[str]
    codes: np.ndarray


def check_parents(classes: Sequence[str], parents: Mapping[str, str]) -> None:
    """DataError, naming the culprits: a class without a parent, a name that is no class and above none, a parent that
    is called like a class, a circle, or one parent for all."""
    missing = [name for name in classes if name not in parents]
    if missing:
        raise DataError(
            f"{len(missing):,} classes have no parent: {', '.join(map(repr, missing[:5]))}.", where="hierarchy",
            remedy="Name the parent of every class (a class may be the only one of its parent).", code="classes",
        )  # fmt: skip
    above = set(parents.values())
    strange = [name for name in parents if name not in classes and name not in above]
    if strange:
        raise DataError(
            f"no such class as {strange[0]!r}.", where="hierarchy", remedy=did_you_mean(strange[0], classes),
            code="classes",
        )  # fmt: skip
    for name in classes:
        _path(name, parents)  # a circle
        if name in above:
            raise DataError(
                f"{name!r} is a class and the parent of {_child(name, parents)!r}; a model answers with classes only.",
                where="hierarchy", remedy="Give the parent a name of its own.", code="classes",
            )  # fmt: skip
    if len(coarse_of(classes, parents).names) < 2:
        raise DataError(
            f"all classes have the same parent ({parents[classes[0]]!r}): that tells nothing.", where="hierarchy",
            code="classes",
        )  # fmt: skip


def _child(parent: str, parents: Mapping[str, str]) -> str:
    return next(name for name, above in parents.items() if above == parent)


def coarse_of(classes: Sequence[str], parents: Mapping[str, str]) -> Coarse:
    """The parents of the classes; see `Coarse`."""
    names = list(dict.fromkeys(parents[name] for name in classes))
    return Coarse(names, np.array([names.index(parents[name]) for name in classes], np.int64))


def coarse_predictions(p: Predictions, parents: Mapping[str, str]) -> Predictions:
    """The same images told apart by parent: probabilities of the classes below each summed, float32[N, C]."""
    coarse = coarse_of(p.classes, parents)
    probs = p.probs @ (coarse.codes[:, None] == np.arange(len(coarse.names))).astype(np.float32)
    targets = None
    if p.targets is not None:
        targets = np.where(p.targets < 0, -1, coarse.codes[np.maximum(p.targets, 0)])
    return replace(
        Predictions(p.ids, coarse.names, probs, targets, "binary" if len(coarse.names) == 2 else "multiclass"),
        split=p.split, model_hash=p.model_hash, fingerprint=p.fingerprint, errors=p.errors,
    )  # fmt: skip
