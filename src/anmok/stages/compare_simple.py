"""One simple baseline of a comparison: fitted, tested and measured as the networks are."""

from __future__ import annotations

import time
from typing import Any

from anmok.core.artifacts import save_predictions
from anmok.core.progress import say, warn
from anmok.data.table import Table
from anmok.stages.baseline import Features, Known, SimpleModel, build_features, compute, fitted_on
from anmok.stages.baseline_names import baseline_name
from anmok.stages.compare_entry import Entry, share_of, too_few, with_measures, with_scores, with_speed
from anmok.stages.compare_measure import accuracy, busy, peak_memory_bytes
from anmok.stages.compare_row import Row, undefined
from anmok.stages.evaluate import stamped
from anmok.stages.judge import judge, write_evaluation


def simple(entry: Entry, row: Row) -> Row:
    """The row filled; its folder gets predictions/test.parquet and evaluation-test.json, as a run's."""
    parts = baseline_name(entry.name)
    assert parts is not None
    family = f"{parts.features} + {parts.classifier}"
    train = entry.table.labelled().where(split="train")
    row = row.with_(simple=True, family=family, images=len(train), device="cpu", shares=())
    features = build_features(entry.name, entry.table, entry.training)
    _ready(features)
    began = time.perf_counter()
    known = compute(features, entry.table, entry.training)
    model = fitted_on(entry.name, features, entry.table, known, entry.training)
    seconds = time.perf_counter() - began
    memory = peak_memory_bytes()
    setting, value = model.fitted.chosen
    row = row.with_(
        setting=f"{setting} {value:g}", train_seconds=round(seconds, 3), train_images_per_s=len(train) / seconds,
        peak_memory_bytes=memory, **_size(model, features),
    ).noted(*model.notes)  # fmt: skip
    row = _tested(entry, row, model)
    assert row.accuracy is not None
    say(f"  fitted in {seconds:.1f} s; test accuracy {row.accuracy['value']:.3f}")
    if seconds > 60 * entry.config.minutes:
        warn(f"{entry.name} took {seconds / 60:.1f} minutes; nothing ends a baseline before it is fitted")
        row = row.noted(f"fitted in {seconds / 60:.1f} minutes, more than the networks had")
    row = with_speed(with_measures(row, model, entry), model, entry)
    row = row.noted(*filter(None, [busy()]))
    row = row.with_(reach=undefined("a classifier on features has no receptive field to measure"))
    shares = tuple(_share(entry, row, features, known, share) for share in entry.config.compare.shares)
    return row.with_(shares=shares, done=True).save(entry.folder)


def _ready(features: Features) -> None:
    """Load the libraries, so that no clock runs meanwhile."""
    import numpy as np
    import sklearn.linear_model
    import sklearn.neighbors
    import sklearn.tree  # noqa: F401

    side, depth = features.preprocess.image_size, features.preprocess.depth
    features.of(np.zeros((1, side, side, depth), np.uint8))


def _tested(entry: Entry, row: Row, model: SimpleModel) -> Row:
    test = entry.table.labelled().where(split="test")
    predictions = stamped(model.predict(test), "test", "", entry.table.fingerprint)
    save_predictions(predictions, entry.folder / "predictions" / "test.parquet")
    evaluation = judge(entry.table, "test", predictions, entry.config.data)
    write_evaluation(entry.folder, evaluation)
    return with_scores(row, evaluation)


def _size(model: SimpleModel, features: Features) -> dict[str, Any]:
    """Parameters and GMACs: the network's whose features they are, with the linear classifier's; else its own alone.

    Of a tree and of neighbours there are none: they keep questions and images.
    """
    parameters, macs = 0, 0.0
    if features.module is not None:
        from anmok.models.macs import cost_of

        cost = cost_of(features.module, features.preprocess.image_size, features.preprocess.depth)
        parameters, macs = cost.parameters, float(cost.macs)
    linear = [part[-1].coef_ for part in model.fitted.parts if hasattr(part, "steps") and hasattr(part[-1], "coef_")]
    if not linear:
        return {"parameters": parameters or None, "gmacs": macs / 1e9 or None}
    own = sum(int(coefficients.size) for coefficients in linear)
    return {"parameters": parameters + own + sum(len(c) for c in linear), "gmacs": (macs + own) / 1e9}


def _share(entry: Entry, row: Row, features: Features, known: Known, share: float) -> dict[str, Any]:
    """{share, images, accuracy} of the baseline fitted to a share of the training images."""
    if share == 1:
        return {"share": 1.0, "images": row.images, "accuracy": row.accuracy}
    table: Table = share_of(entry.table, share, entry.config.seed)
    about = {"share": share, "images": len(table.labelled().where(split="train"))}
    if reason := too_few(entry.table, share):
        return about | {"accuracy": undefined(reason)}
    model = fitted_on(entry.name, features, table, known, entry.training)
    p = model.predict(table.labelled().where(split="test"))
    assert p.targets is not None
    return about | {"accuracy": accuracy(p.probs, p.targets, p.task)}
