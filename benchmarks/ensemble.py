"""What an ensemble, test-time views and a temperature are worth: CIFAR-10, a small network.  About 45 minutes.

    .venv/bin/python benchmarks/ensemble.py

The training images in three parts: 4,000 judge and weigh the members (`val`), 46,000 train them, in five folds, by
`anmok crossval` without label smoothing. On the 10,000 test images: the five-fold ensemble with mirrored views against
its member that is best on `val`; fitted against uniform weights; both as paired differences with 95 % intervals. Then a
member trained longer on 5,000 images, overconfident, and its calibration error before and after one temperature that
was fitted on `val`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import SCRATCH, Figure, arguments, context, data_root, fingerprint, finish, met, rounded, write

NET = "small_net:net"
SETTINGS: dict[str, Any] = {
    "model": NET, "image_size": 32, "batch_size": 128, "augment": "flip-crop",
    "optim": {"name": "muon", "lr": 0.02, "aux_lr": 0.001}, "loss": {"label_smoothing": 0.0},
    "schedule": {"name": "cosine", "warmup": "5%", "end": 0.001}, "runtime": {"dtype": "bf16", "channels_last": True},
}  # fmt: skip
FOLDS, EPOCHS, JUDGES = 5, 12, 400  # judges: images of a class in `val`
ALONE, LONG = 5000, 40  # of the overconfident network: images and epochs
BEFORE, HALVED = ">= 0.05", "<= 0.5"


def tables(quick: bool) -> dict[str, Any]:
    """Tables of CIFAR-10: train (46,000), few (5,000 of them), val (4,000), test."""
    import polars as pl

    import anmok

    table = anmok.open(data_root() / "cifar10")
    split, targets = table.rows["split"].to_numpy(), table.targets()
    order = np.random.default_rng(0).permutation(np.flatnonzero(split == "train"))
    drawn = [order[targets[order] == k] for k in range(len(table.classes))]
    judges, each, few = (20, 40, 40) if quick else (JUDGES, None, ALONE // len(drawn))
    rows = {
        "train": np.concatenate([d[judges:][:each] for d in drawn]),
        "few": np.concatenate([d[judges:][:few] for d in drawn]),
        "val": np.concatenate([d[:judges] for d in drawn]),
        "test": np.flatnonzero(split == "test")[: 300 if quick else None],
    }  # fmt: skip
    blank = table.rows.with_columns(pl.lit(None, pl.String).alias("split"))
    return {name: table.with_rows(blank, name).take(np.sort(part)) for name, part in rows.items()}


def members(table: Any, options: Any) -> list[Path]:
    """The runs of a cross-validation, gone on with where it is begun."""
    from anmok.stages.crossval import crossval

    out = SCRATCH / f"ensemble{'-quick' if options.quick else ''}-{options.epochs}"
    if (out / "crossval.toml").is_file():
        crossval(resume=out)
    else:
        crossval(table, folds=FOLDS, out=out, epochs=options.epochs, split={"test": 0.0}, **SETTINGS)
    return [out / f"fold-{k}" for k in range(FOLDS)]


def overconfident(few: Any, options: Any) -> Path:
    """A run on few images without augmentation, for long."""
    import anmok

    out = SCRATCH / f"ensemble{'-quick' if options.quick else ''}-few"
    if not (out / "report.html").is_file():
        settings = SETTINGS | {"augment": "none", "epochs": 2 if options.quick else LONG}
        anmok.train(few, out=out, split={"test": 0.0}, **settings)
    return out


def difference(subject: str, a: Any, b: Any, bound: str = "", note: str = "") -> Figure:
    """Accuracy of b less that of a, paired."""
    from anmok.evaluate.paired import compare

    row = compare(a, b)["metrics"]["accuracy"]
    points = [rounded(100 * row[name]) for name in ("value", "low", "high")]
    said = f"{100 * row['a']:.2f} to {100 * row['b']:.2f} %; {note}".rstrip("; ")
    return Figure(subject, "points of accuracy, paired", "", *points, bound=bound, note=said)


def main() -> None:
    """Train what is not there yet, then judge."""
    options = arguments(__doc__, epochs={"type": int, "default": EPOCHS})
    if options.quick:
        options.epochs = 1
    import anmok
    from anmok.evaluate.calibration import ece
    from anmok.evaluate.ensemble import fit_ensemble
    from anmok.evaluate.scaling import fit_calibration

    parts = tables(options.quick)
    models = {run.name: anmok.load(run) for run in members(parts["train"], options)}
    val = {name: anmok.predict(model, parts["val"]) for name, model in models.items()}
    test = {name: anmok.predict(model, parts["test"]) for name, model in models.items()}
    views = {name: anmok.predict(model, parts["test"], tta="flips") for name, model in models.items()}
    best = max(val, key=lambda name: float((val[name].probs.argmax(1) == val[name].targets).mean()))
    uniform, weighted = fit_ensemble(val, "soft"), fit_ensemble(val, "weighted")
    together = uniform.predict(test)
    shares = ", ".join(f"{w:.2f}" for w in weighted.weights or ())
    figures = [
        difference("five-fold ensemble, flips", test[best], uniform.predict(views), note=f"best member {best}"),
        difference("five-fold ensemble", test[best], together),
        difference("flips of the best member", test[best], views[best]),
        difference("fitted against uniform weights", together, weighted.predict(test), note=f"weights {shares}"),
    ]
    model = anmok.load(overconfident(parts["few"], options))
    plain, known = anmok.predict(model, parts["test"]), anmok.predict(model, parts["val"])
    calibration = fit_calibration(known, "temperature")
    errors = [ece(probs, plain.targets) for probs in (plain.probs, calibration.apply(plain.probs))]
    figures += [
        Figure("overconfident network", "calibration error (ECE)", "", rounded(errors[0]), bound=BEFORE,
               met=met(BEFORE, errors[0])),
        Figure(f"temperature {calibration.temperature:.2f}", "calibration error (ECE)", "", rounded(errors[1]),
               against="before", ratio=rounded(errors[1] / errors[0]), bound=HALVED,
               met=met(HALVED, errors[1] / errors[0])),
    ]  # fmt: skip
    data = f"cifar10 {fingerprint(data_root() / 'cifar10')}"
    finish(write("ensemble", figures, context(data), options.quick), options.quick)


if __name__ == "__main__":
    main()
