"""`anmok predict`: a model over images, to a table, a template or folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anmok.core.artifacts import save_predictions
from anmok.core.config import resolve
from anmok.core.errors import UsageError
from anmok.core.files import must_not_exist, write_atomic
from anmok.core.progress import bar, warn
from anmok.core.text import visible
from anmok.core.types import Batch, Predictions, Reject
from anmok.data.batches import Loader
from anmok.data.sources import open_table
from anmok.data.table import Table, named
from anmok.evaluate.answers import answered
from anmok.stages.predict_settings import ANY, AUTO, UNIFORM, PredictTree
from anmok.stages.sort import sort_images
from anmok.stages.template import filled, read_template


def predict(
    model: Any, source: Any, *, out: Path | str | None = None, top_k: int | None = None,
    sort_into: Path | str | None = None, template: Path | str | None = None, batch_size: int = 32,
    threads: int | None = None, device: str = "cpu", tta: str | None = None, tta_weights: Any = UNIFORM,
    tta_seed: int = 0, runtime: str = AUTO, keep: bool = True, layers: tuple[Mapping[str, Any], ...] = (),
    **settings: Any,
) -> Predictions:  # fmt: skip
    """Predict every image of a source; a bad image is a row with its reason, never the end.

    The label is what the model's decision says, `ask` where it leaves an image to a person.

    model: a Model, Run or path of one. out: a .csv or .parquet that must not exist yet. top_k: columns of the k best
    labels in the CSV. sort_into: a folder that gets a copy of each image under its label. template: a sample
    submission whose ids and columns the CSV takes over. tta: test-time views, see `augment.tta.build_views`;
    tta_weights: uniform, or fit (on the run's validation images, see `tta.fitted_weights`), or numbers, one a view;
    tta_seed: of what randaugment draws. settings: how the source is read, as paths of the configuration tree or short
    names (image_root='photos', allow_truncated=True).

    runtime: of a folder that `anmok export` wrote, auto runs what is the fastest here, torch the weights themselves.
    To a file alone, answers are written as they come, and a call that was killed goes on; see `predict_stream`.
    keep=False then gives none of them back, for more images than memory holds.

    UsageError for a wrong call, before any image is read.
    """
    from anmok.stages.ensemble_model import predict_rows
    from anmok.stages.predict_stream import stream
    from anmok.stages.runtime_choice import load_to_predict
    from anmok.stages.tta import chosen_weights

    data = resolve(PredictTree, ANY, *layers, settings).data
    target, folder = _targets(out, sort_into, top_k, template)
    loaded = model if hasattr(model, "decision") else load_to_predict(model, device, threads, tta, runtime)
    if top_k is not None and not 1 <= top_k <= len(loaded.classes):
        raise UsageError(f"--top-k must be between 1 and {len(loaded.classes)}, found {top_k}.", code="setting")
    weights = chosen_weights(loaded, tta, tta_weights, tta_seed)
    table = open_table(source, data)
    ids: list[str] = table.rows["id"].to_list()
    form = read_template(Path(template), ids, loaded.classes) if template is not None else None
    options: dict[str, Any] = {
        "batch_size": batch_size, "threads": threads, "allow_truncated": data.allow_truncated, "tta": tta,
        "tta_weights": weights, "tta_seed": tta_seed,
    }  # fmt: skip
    if target is not None and form is None and folder is None:
        return stream(loaded, table, target, top_k=top_k, keep=keep, **options)
    predictions = predict_rows(loaded, table, **options)
    predictions = answered(with_rejects(predictions, table.rejects), loaded.decision)
    say_errors(predictions.errors)
    if target is not None and target.suffix.lower() == ".parquet":
        save_predictions(predictions, target)
    elif target is not None:
        write_atomic(target, filled(form, predictions) if form else as_frame(predictions, top_k).write_csv())
    if folder is not None:
        sort_images(predictions, table, folder)
    return predictions


def say_errors(errors: Mapping[str, str]) -> None:
    """Warn of images that have no answer."""
    if errors:
        names = [visible(i) for i in errors]
        warn(f"{named(len(names), 'image', names)} could not be used; the reason stands in the row")


def _targets(
    out: Path | str | None, sort_into: Path | str | None, top_k: int | None, template: Path | str | None
) -> tuple[Path | None, Path | None]:
    """What is to be written, after checking that it fits together.  UsageError where it does not."""
    end = "" if out is None else Path(out).suffix.lower()
    if out is not None and end not in (".csv", ".parquet"):
        raise UsageError(f"--out {out}: expected a .csv or .parquet file.", code="out")
    for option, value in (("--top-k", top_k), ("--template", template)):
        if value is not None and end != ".csv":
            raise UsageError(f"{option} needs --out FILE.csv.", code="out")
    if top_k is not None and template is not None:
        raise UsageError("--top-k and --template both say which columns to write; give one of them.", code="out")
    return (
        None if out is None else must_not_exist(out),
        None if sort_into is None else must_not_exist(sort_into, "--sort-into"),
    )


def predict_table(
    model: Any, table: Table, *, batch_size: int = 32, threads: int | None = None, allow_truncated: bool = False,
    tta: str | None = None, tta_weights: Sequence[float] | None = None, tta_seed: int = 0, shown: Any = None,
) -> Predictions:  # fmt: skip
    """Predictions for all rows in their order, NaN and a reason for those that cannot be read.

    tta, tta_weights, tta_seed: see `Model.undecided`; shown: a progress bar of the caller's.
    """
    reading = Reading(batch_size, threads, allow_truncated, shown)
    if tta is None:
        return answers_of(model, table, lambda batch: model.probabilities(batch.images), reading)
    from anmok.deploy.views import unit_weights
    from anmok.engine.predict import over_views

    views = model.views(tta, tta_seed)
    weights = unit_weights(tta_weights, views.names)
    return answers_of(
        model, table, lambda batch: over_views(model.probabilities, views.shown(batch.images), weights), reading, views
    )


class Reading(NamedTuple):
    """How the rows of a table are read."""

    batch_size: int = 32
    threads: int | None = None
    allow_truncated: bool = False
    shown: Any = None  # a progress bar that stands already


def answers_of(
    model: Any, table: Table, answer: Callable[[Batch], np.ndarray], reading: Reading, views: Any = None
) -> Predictions:
    """What `answer` gives of batches, float[B, K] each, as predictions of all rows; see `predict_table`.

    views: the ImageViews that a batch has of its images, None for images alone.
    """
    if not len(table):
        raise UsageError("there are no images to predict.", code="source")
    loader = Loader(
        table, preprocess=model.preprocess, batch_size=reading.batch_size, threads=reading.threads,
        allow_truncated=reading.allow_truncated, test_views=views,
    )  # fmt: skip
    ids: list[str] = table.rows["id"].to_list()
    place = {i: n for n, i in enumerate(ids)}
    probs = np.full((len(ids), len(model.classes)), np.nan, np.float32)
    with nullcontext(reading.shown) if reading.shown else bar("predict", len(ids)) as progress:
        for batch in loader.epoch():
            if len(batch):
                probs[[place[i] for i in batch.ids]] = answer(batch)
            progress.advance(len(batch))
    if loader.notes:
        names = [visible(i) for i in sorted(loader.notes)]
        warn(f"{named(len(names), 'image', names)} with a broken colour profile, which is ignored")
    errors = {r.id: f"{r.kind}: {r.reason}" for r in loader.rejects.values()}
    targets = table.targets() if set(table.classes) == set(model.classes) and table.task == model.task else None
    if targets is not None and list(table.classes) != list(model.classes):
        targets = table.with_classes(model.classes).targets()
    return Predictions(ids, list(model.classes), probs, targets, model.task, None, model.hash, "", errors)


def with_rejects(p: Predictions, rejects: Sequence[Reject]) -> Predictions:
    """The predictions with a row more, of NaN, for each path that the source had to leave out."""
    known = set(p.ids)
    more = {r.id: f"{r.kind}: {r.reason}" for r in rejects if r.id not in known and r.kind != "skipped"}
    if not more:
        return p
    probs = np.vstack([p.probs, np.full((len(more), len(p.classes)), np.nan, np.float32)])
    targets = p.targets
    if targets is not None:
        blank = -1 if targets.ndim == 1 else np.nan
        targets = np.concatenate([targets, np.full((len(more), *targets.shape[1:]), blank, targets.dtype)])
    return replace(p, ids=[*p.ids, *more], probs=probs, targets=targets, errors={**p.errors, **more})


FORMULA = ("=", "+", "-", "@", "\t", "\r")


def safe_cell(text: str) -> str:
    """A text that a spreadsheet shows and never runs: a leading =, +, -, @ gets an apostrophe before it."""
    return f"'{text}" if text.startswith(FORMULA) else text


def as_frame(p: Predictions, top_k: int | None = None) -> Any:
    """A polars DataFrame: id, label, probability, one column a class (or label_1, probability_1, … of k), error."""
    import polars as pl

    texts = [";".join(label) if isinstance(label, list) else label for label in p.labels]
    labels = [safe_cell(text) or None for text in texts]
    bad = np.isnan(p.probs).any(axis=1)
    columns: dict[str, Any] = {"id": [safe_cell(i) for i in p.ids], "label": labels}
    if top_k is not None:
        best = np.argsort(-np.nan_to_num(p.probs), axis=1, kind="stable")[:, :top_k]
        for rank in range(top_k):
            names = [None if b else safe_cell(p.classes[i]) for i, b in zip(best[:, rank], bad, strict=True)]
            columns[f"label_{rank + 1}"] = names
            columns[f"probability_{rank + 1}"] = blank(p.probs[np.arange(len(p)), best[:, rank]], bad)
    else:
        columns["probability"] = blank(getattr(p, "chances", np.nan_to_num(p.probs).max(axis=1)), bad)
        columns |= {f"p_{name}": blank(p.probs[:, i], bad) for i, name in enumerate(p.classes)}
    if p.errors:
        columns["error"] = [safe_cell(p.errors.get(i, "")) or None for i in p.ids]
    return pl.DataFrame(columns)


def blank(values: np.ndarray, bad: np.ndarray) -> list[float | None]:
    """Numbers with None where the image could not be read."""
    return [None if b else float(v) for v, b in zip(values, bad, strict=True)]
