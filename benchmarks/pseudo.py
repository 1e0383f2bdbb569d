"""CIFAR-10 with 1,000 labels: what 20,000 images without labels are worth, as pseudo labels and by FixMatch.

100 training images of each class have labels, 1,000 others choose the epoch (and among the candidates of labels
alone), the labels of 20,000 more are taken away; the 10,000 test images are looked at once an arm. One small network
(benchmarks/small_net.py), one augmentation of what has a label, and about the same time for each arm:

- labels: recipes/pseudo.toml on the labels, for as many images as a training of the next arm sees, or all of them do.
- pseudo: that training is the first teacher; then three rounds of `anmok pseudo` at falling confidence, each with a
  training from scratch on its table (self-training by a curriculum: Cascante-Bonilla et al. 2021, arXiv:2001.06001).
- fixmatch: recipes/fixmatch.toml.

Unlabelled images that are near duplicates of test images are refused (CIFAR-10 has some), so they teach nobody.
Intervals are Wilson's, 95 %, of the test accuracy; the gains' are those of paired images.

    .venv/bin/python benchmarks/pseudo.py                    # all arms, some 12 quiet minutes each on two cores
    .venv/bin/python benchmarks/pseudo.py --arm fixmatch

A row is stored as soon as it is known, and is not measured again for the same recipes, data and versions; a training
that was cut short goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from common import (
    ROOT,
    SCRATCH,
    Figure,
    arguments,
    context,
    data_root,
    fingerprint,
    finish,
    fresh,
    met,
    rounded,
    store_rows,
    stored_rows,
    write,
)

ARMS = ("labels", "pseudo", "fixmatch")
RECIPES = {"labels": "pseudo", "pseudo": "pseudo", "fixmatch": "fixmatch"}
EACH, CHOOSE, BLANK = 100, 100, 20_000  # labelled images of a class, those that choose, images without labels
SEEN = 200_000  # images that one training sees
CANDIDATES = (1, 4)  # of labels alone: once SEEN, and as much as teacher and three rounds together
CONFIDENCES = (0.9, 0.8, 0.7)  # of the three rounds: the teachers become better
GAINS = {"pseudo": ">= 4", "fixmatch": ">= 4"}  # points over labels alone


def tables(quick: bool) -> tuple[Any, Any, dict[str, str]]:
    """(1,000 labelled images as train, 1,000 as val and the test images; 20,000 without labels; their true labels)."""
    import numpy as np
    import polars as pl

    import anmok

    table = anmok.open(data_root() / "cifar10")
    split, targets = table.rows["split"].to_numpy(), table.targets()
    order = np.random.default_rng(0).permutation(np.flatnonzero(split == "train"))
    drawn = [order[targets[order] == k] for k in range(len(table.classes))]
    parts = {
        "train": np.concatenate([rows[:EACH] for rows in drawn]),
        "val": np.concatenate([rows[EACH : EACH + CHOOSE] for rows in drawn]),
        "test": np.flatnonzero(split == "test")[: 500 if quick else None],
    }
    few = table.take(np.concatenate(list(parts.values())))
    names = np.repeat(list(parts), [len(rows) for rows in parts.values()]).tolist()
    few = few.with_rows(few.rows.with_columns(pl.Series("split", names)), "1,000 labels")
    others = np.setdiff1d(order, np.concatenate([parts["train"], parts["val"]]), assume_unique=True)
    rest = table.take(np.random.default_rng(1).permutation(others)[: 1000 if quick else BLANK])
    truth = dict(rest.rows.select("id", "label").iter_rows())
    blank = rest.rows.with_columns(pl.lit(None, pl.String).alias("label"), pl.lit(None, pl.String).alias("split"))
    return few, rest.with_rows(blank, "labels taken away"), truth


def trained(name: str, source: Any, recipe: Path, quick: bool, **settings: Any) -> Any:
    """The finished run of a recipe and settings on a table, begun anew or gone on with."""
    import anmok

    if quick:
        settings["epochs"] = 1
    given = repr((source.fingerprint, sorted(settings.items()))).encode()
    out = SCRATCH / f"pseudo-{name}-{hashlib.sha256(recipe.read_bytes() + given).hexdigest()[:8]}"
    if (out / "table.parquet").is_file():
        return anmok.train(resume=out)
    return anmok.train(source, out=fresh(out.name), config=recipe, **settings)


def minutes(*runs: Any) -> float:
    """Training time of runs, validation not counted."""
    return sum(epoch["seconds"] for run in runs for epoch in run.history) / 60


def tested(run: Any) -> dict[str, Any]:
    """Test accuracy of a run with Wilson's interval, and what it chose by."""
    import anmok
    from anmok.evaluate.intervals import wilson

    test, val = anmok.evaluate(run), run.evaluation("val")
    n, accuracy = test["n"], test.value("accuracy") or 0.0
    low, high = wilson(accuracy * n, n)
    return {"test": rounded(accuracy), "test_low": rounded(low), "test_high": rounded(high), "n_test": n,
            "val": rounded(val.value("accuracy") or 0.0), "run": run.path.name}  # fmt: skip


def labels_alone(few: Any, recipe: Path, quick: bool) -> list[Any]:
    """A run of each candidate."""
    each = len(few.where("train"))
    return [
        trained("labels", few, recipe, quick, epochs=times * SEEN // each)
        for times in (CANDIDATES[:1] if quick else CANDIDATES)
    ]


def by_labels(few: Any, rest: Any, truth: dict[str, str], quick: bool) -> dict[str, Any]:
    """Labels alone: the candidate that is best on validation."""
    runs = labels_alone(few, recipe_of("labels"), quick)
    best = max(runs, key=lambda run: run.evaluation("val").value("accuracy") or 0.0)
    return {"minutes": round(minutes(best), 1), "epochs": best.config.epochs, **tested(best)}


def by_pseudo(few: Any, rest: Any, truth: dict[str, str], quick: bool) -> dict[str, Any]:
    """Three rounds of pseudo labels, with the size and the precision of each round's."""
    import polars as pl

    from anmok.stages.pseudo import pseudo

    recipe = recipe_of("pseudo")
    runs = labels_alone(few, recipe, quick)[:1]
    row: dict[str, Any] = {}
    for number, confidence in enumerate(CONFIDENCES, 1):
        out = fresh(f"pseudo-round-{number}-{runs[-1].path.name[-8:]}")
        out.mkdir()
        made = pseudo(runs[-1], rest, out=out / "table.parquet", confidence=0.05 if quick else confidence)
        new = made.table.rows.filter(pl.col("pseudo"))
        right = sum(truth[name] == label for name, label in new.select("id", "label").iter_rows())
        row |= {f"selected_{number}": len(new), f"right_{number}": right}
        refused = made.rounds[0]["refused"]
        row["refused_near"] = sum(refused.get(kind, 0) for kind in ("id", "bytes", "near"))
        epochs = max(1, round(SEEN / (len(new) + EACH * len(few.classes))))
        runs.append(trained(f"round-{number}", made.table, recipe, quick, epochs=epochs))
    return {"minutes": round(minutes(*runs), 1), "epochs": runs[-1].config.epochs, **tested(runs[-1]), **row}


def by_fixmatch(few: Any, rest: Any, truth: dict[str, str], quick: bool) -> dict[str, Any]:
    """FixMatch; its last epoch's share of images that taught, and of these the share recognised in the strong view."""
    file = SCRATCH / f"pseudo-rest-{rest.fingerprint[:8]}.parquet"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        rest.save(file)
    run = trained("fixmatch", few, recipe_of("fixmatch"), quick, unlabeled=str(file))
    last = run.history[-1]["val"]
    return {"minutes": round(minutes(run), 1), "epochs": len(run.history), **tested(run),
            "taken": rounded(last["taken"]), "agreement": rounded(last.get("agreement", 0.0))}  # fmt: skip


def recipe_of(arm: str) -> Path:
    """The recipe of an arm."""
    return ROOT / "recipes" / f"{RECIPES[arm]}.toml"


def gain(row: dict[str, Any], base: dict[str, Any]) -> tuple[float, float, float]:
    """(points over the base on the same test images, low, high): the mean of paired differences, normal, 95 %."""
    import numpy as np

    from anmok.stages.run import Run

    mine, theirs = (Run(SCRATCH / str(r["run"])).predictions("test") for r in (row, base))
    place = {name: i for i, name in enumerate(theirs.ids)}
    order = [place[name] for name in mine.ids]
    assert mine.targets is not None
    hits = [(p.argmax(1) == mine.targets).astype(float) for p in (mine.probs, theirs.probs[order])]
    apart = 100 * (hits[0] - hits[1])
    error = 1.96 * apart.std(ddof=1) / np.sqrt(len(apart))
    return float(apart.mean()), float(apart.mean() - error), float(apart.mean() + error)


def summary(rows: list[dict[str, Any]]) -> list[Figure]:
    """Accuracies, gains in points over labels alone, and how right the selected labels are."""
    from anmok.evaluate.intervals import wilson

    by = {row["arm"]: row for row in rows}
    out = []
    for arm, row in by.items():
        note = f"{row['epochs']} epochs of the last training; Wilson, of {row['n_test']} test images"
        out.append(Figure(arm, "test accuracy", "share", float(row["test"]), float(row["test_low"]),
                          float(row["test_high"]), note=note))  # fmt: skip
        out.append(Figure(arm, "training", "min", float(row["minutes"])))
        for number in range(1, len(CONFIDENCES) + 1):
            if row.get(f"selected_{number}") not in (None, ""):
                n, right = int(row[f"selected_{number}"]), int(row[f"right_{number}"])
                low, high = wilson(right, n)
                out.append(Figure(arm, f"precision of the labels, round {number}", "share", rounded(right / n),
                                  rounded(low), rounded(high), note=f"{n:,} of {BLANK:,} images"))  # fmt: skip
        if row.get("taken") not in (None, ""):
            out.append(Figure(arm, "images that taught, last epoch", "share", float(row["taken"])))
    for arm, bound in GAINS.items():
        if arm in by and "labels" in by:
            points, low, high = gain(by[arm], by["labels"])
            out.append(Figure(arm, "over labels alone", "points", rounded(points), rounded(low), rounded(high),
                              bound=bound, met=met(bound, points), note="paired, 95 %"))  # fmt: skip
    return out


def main() -> None:
    """The rows asked for that are not there yet, then the summary."""
    options = arguments(__doc__, arm={"nargs": "+", "choices": ARMS, "default": list(ARMS)})
    if options.quick:
        os.environ.setdefault("ANMOK_QUIET", "1")
    where = context(f"cifar10 {fingerprint(data_root() / 'cifar10')}")
    few, rest, truth = tables(options.quick)
    rows = stored_rows("pseudo_rows", where, options.quick)
    measure = {"labels": by_labels, "pseudo": by_pseudo, "fixmatch": by_fixmatch}
    for arm in options.arm:
        settings = repr((EACH, CHOOSE, BLANK, SEEN, CANDIDATES, CONFIDENCES)).encode()
        own = where | {"recipe": hashlib.sha256(recipe_of(arm).read_bytes() + settings).hexdigest()[:16]}
        if any(r["arm"] == arm and r["recipe"] == own["recipe"] for r in rows):
            continue
        row = {"arm": arm, **measure[arm](few, rest, truth, options.quick)} | own
        rows = [r for r in rows if r["arm"] != arm] + [row]
        rows.sort(key=lambda r: ARMS.index(r["arm"]))
        store_rows("pseudo_rows", rows, options.quick)
    finish(write("pseudo", summary(rows), where, options.quick), options.quick)


if __name__ == "__main__":
    main()
