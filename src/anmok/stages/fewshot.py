"""`anmok fewshot`: how well a frozen network tells classes apart from one or a few images of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anmok.core.config import resolve
from anmok.core.errors import UsageError, did_you_mean
from anmok.core.files import must_not_exist, new_folder, write_json
from anmok.core.machine import versions
from anmok.core.progress import bar, say, warn
from anmok.data.sources import open_table
from anmok.data.table import Table, class_counts
from anmok.nshot.episodes import Episodes, accuracies, answers, draw_episodes, mean_interval
from anmok.nshot.fewshot import METHODS, prepared
from anmok.stages.fewshot_result import FewShot
from anmok.stages.fewshot_settings import FewShotTree
from anmok.stages.fewshot_vectors import PIXELS, Source, pixels_of, some_of_each, source_of, vectors_of

TEXT = "text"  # the classes' names alone, of a dual encoder
SIZE = 64  # of the images whose pixels are compared, where the network sees no one size


def fewshot(
    source: Any, *, model: Any = None, out: Path | str | None = None, config: Path | str | None = None,
    layers: tuple[Mapping[str, Any], ...] = (), **settings: Any,
) -> FewShot:  # fmt: skip
    """N-way K-shot episodes on the images of a source, whatever their split: accuracy of each method and number of
    shots with its 95 % interval, beside the nearest neighbour of raw pixels on the same episodes.

    model: a network's name, a Run, a Model, the path of a run, a model folder, a pretraining or an encoder, or a dual
    encoder as `anmok zeroshot` takes it, whose texts of the classes' names the cache then stands on. out: a folder that
    must not exist yet, for fewshot.json, accuracy.png, episode.png and report.html. settings: paths of FewShotTree
    (shots=(1, 5), ways=5). Vectors are computed once, of at most `most` images a class. Images of the classes that are
    in no episode give the mean that vectors are centred by.

    DataError: classes with fewer images than shots and one, an image in several classes; UsageError: a class, model or
    setting that is none.
    """
    tree = resolve(FewShotTree, *layers, settings, file=config)
    folder = None if out is None else must_not_exist(out)
    table = open_table(source, tree.data, tree.labels)
    asked = asked_classes(table, tree)
    some = some_of_each(table, tree.most, tree.seed, table.classes)
    check_enough(some, asked, tree)
    given = source_of(tree.model.name if model is None else model, table, tree)
    vectors, some = given.see(some)
    raw, seen = vectors_of(pixels_of(table, tree, given.image_size or SIZE), some, tree)
    assert len(seen) == len(some)
    targets = some.targets()
    within = np.isin(targets, [table.classes.index(name) for name in asked])
    episodes = draw_episodes(
        np.where(within, targets, -1), tree.ways, max(tree.shots), tree.queries, tree.episodes, tree.seed, table.classes
    )
    if episodes.query.shape[2] < tree.queries:
        say(f"{episodes.query.shape[2]} images of each class are asked about: the smallest class has no more")
    base = vectors[~within].mean(axis=0) if (~within).any() else None
    text = None if given.texts is None else given.texts(vectors, table.classes)
    data = {
        "rows": measured(vectors, raw, base, text, episodes, tree), **facts(some, asked, episodes, given, tree),
        "centred": base is not None, "text": text is not None, "notes": notes(given, asked, base is not None),
    }  # fmt: skip
    for note in data["notes"]:
        warn(note)
    result = FewShot(folder, data)
    if folder is not None:
        from anmok.stages.fewshot_report import draw

        with new_folder(folder) as new:
            write_json(new / "fewshot.json", data)
            draw(new, data, some, episodes, prepared(vectors, base, tree.metric), tree)
    return result


def asked_classes(table: Table, tree: FewShotTree) -> list[str]:
    """The classes of the episodes.  UsageError for one that is none, or for a multi-label source."""
    if table.task == "multilabel":
        raise UsageError(
            "an image of an episode belongs to one class, and here to several.", where=str(table.root), code="task"
        )
    for name in tree.classes:
        if name not in table.classes:
            raise UsageError(
                f"there is no class {name}.", where="--classes", remedy=did_you_mean(name, table.classes), code="class"
            )
    return list(dict.fromkeys(tree.classes)) or list(table.classes)


def check_enough(table: Table, asked: Sequence[str], tree: FewShotTree) -> None:
    """The errors of `draw_episodes`, before any network is built."""
    targets = table.targets()
    within = np.isin(targets, [table.classes.index(name) for name in asked])
    draw_episodes(np.where(within, targets, -1), tree.ways, max(tree.shots), 1, 0, 0, table.classes)
    absent = [name for name, n in class_counts(table).items() if name in asked and not n]
    if absent:
        raise UsageError(f"there is no image of {', '.join(absent)}.", where="--classes", code="class")


def measured(
    vectors: np.ndarray, raw: np.ndarray, base: np.ndarray | None, text: np.ndarray | None, episodes: Episodes,
    tree: FewShotTree,
) -> list[dict[str, Any]]:  # fmt: skip
    """A mapping for each method and number of shots: method, shots, accuracy {value, low, high}, and (but of the
    pixels) gain {value, low, high}, the accuracy above that of the pixels in the same episodes.

    text float32[N, K]: logits of the classes' names, on which the cache stands then, and which are a method of their
    own (`text`), the same from any number of shots.
    """
    methods: list[str] = list(METHODS) if tree.method == "all" else [tree.method]
    methods += [] if text is None else [TEXT]
    ready = prepared(vectors, base, tree.metric)
    out = []
    with bar("episodes", len(tree.shots) * (len(methods) + 1)) as progress:
        for shots in tree.shots:
            below = accuracies(answers(raw, episodes, shots, "nearest", metric="euclidean"))
            progress.advance()
            for method in methods:
                # a penalty and a cache know no unit: theirs are vectors of length 1
                own = ready if method in ("prototype", "nearest") else prepared(vectors, base)
                alpha = 0.0 if method == TEXT else tree.alpha  # a cache of no weight leaves what it stands on
                by = "cache" if method == TEXT else method
                right = accuracies(
                    answers(
                        own, episodes, shots, by, metric=tree.metric, base=text if by == "cache" else None, alpha=alpha,
                        beta=tree.beta,
                    )
                )  # fmt: skip
                out.append({
                    "method": method, "shots": shots, "accuracy": mean_interval(right),
                    "gain": mean_interval(right - below, -1.0),
                })  # fmt: skip
                progress.advance()
            out.append({"method": PIXELS, "shots": shots, "accuracy": mean_interval(below)})
    return out


def facts(
    table: Table, asked: Sequence[str], episodes: Episodes, given: Source, tree: FewShotTree
) -> dict[str, Any]:  # fmt: skip
    """What the numbers are of."""
    counts = class_counts(table)
    return {
        "model": given.name, "image_size": given.image_size,
        "weights": "its own" if given.texts or given.name != tree.model.name else tree.model.weights,
        "ways": tree.ways, "shots": list(tree.shots), "episodes": tree.episodes,
        "queries": int(episodes.query.shape[2]), "classes": {name: counts[name] for name in asked},
        "base_classes": {name: n for name, n in counts.items() if name not in asked and n}, "metric": tree.metric,
        "alpha": tree.alpha, "beta": tree.beta, "seed": tree.seed, "fingerprint": table.fingerprint,
        "versions": versions(),
    }  # fmt: skip


def notes(given: Source, asked: Sequence[str], centred: bool) -> list[str]:
    """What a reader must know."""
    out = list(given.notes)
    known = [name for name in asked if name in given.learned]
    if known:
        out.append(
            f"the network has learned {', '.join(known[:10])} from labels: these episodes do not show how it does on "
            "classes that are new to it; name such with --classes"
        )
    if not centred:
        out.append(
            "all classes are in the episodes, so vectors are not centred; with --classes the images of the others give "
            "the mean"
        )
    return out
