"""`anmok predict`: a model over images, to a table, a template or folders."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from anmok.core.artifacts import save_predictions
from anmok.core.errors import UsageError
from anmok.core.files import must_not_exist, write_atomic
from anmok.core.progress import bar, warn
from anmok.core.types import Predictions
from anmok.data.batches import Loader
from anmok.data.config import DataConfig
from anmok.data.sources import open_table
from anmok.data.table import Table


def predict(
    model: Any, source: Any, *, out: Path | str | None = None, top_k: int | None = None,
    sort_into: Path | str | None = None, template: Path | str | None = None, batch_size: int = 32,
    threads: int | None = None, device: str = "cpu", data: DataConfig | None = None,
) -> Predictions:  # fmt: skip
    """Predict every image of a source; a bad image is a row with its reason, never the end.

    model: a Model, Run or path of one. out: a .csv or .parquet that must not exist yet. top_k: columns of the k best
    labels in the CSV. sort_into: a folder that gets a copy of each image under its label. template: a sample
    submission whose ids and columns the CSV takes over.
    """
    from anmok.stages.load import load

    if out is not None and Path(out).suffix.lower() not in (".csv", ".parquet"):
        raise UsageError(f"--out {out}: expected a .csv or .parquet file.", code="out")
    target = must_not_exist(out) if out is not None else None
    folder = must_not_exist(sort_into, "--sort-into") if sort_into is not None else None
    if template is not None and (target is None or target.suffix.lower() != ".csv"):
        raise UsageError("--template needs --out FILE.csv.", code="template")
    loaded = load(model, device=device) if not hasattr(model, "classifier") else model
    table = open_table(source, data or DataConfig())
    predictions = predict_table(loaded, table, batch_size=batch_size, threads=threads)
    if target is not None:
        if target.suffix.lower() == ".parquet":
            save_predictions(predictions, target)
        else:
            frame = fill_template(predictions, Path(template)) if template is not None else as_frame(predictions, top_k)
            write_atomic(target, lambda path: frame.write_csv(path))
    if folder is not None:
        sort_images(predictions, table, folder)
    return predictions


def predict_table(
    model: Any, table: Table, *, batch_size: int = 32, threads: int | None = None, allow_truncated: bool = False
) -> Predictions:
    """Predictions for all rows in their order, NaN and a reason for those that cannot be read."""
    if not len(table):
        raise UsageError("there are no images to predict.", code="source")
    loader = Loader(
        table, preprocess=model.preprocess, batch_size=batch_size, threads=threads, allow_truncated=allow_truncated
    )
    ids: list[str] = table.rows["id"].to_list()
    place = {i: n for n, i in enumerate(ids)}
    probs = np.full((len(ids), len(model.classes)), np.nan, np.float32)
    with bar("predict", len(ids)) as progress:
        for batch in loader.epoch():
            if len(batch):
                probs[[place[i] for i in batch.ids]] = model.probabilities(batch.images)
            progress.advance(len(batch))
    errors = {r.id: f"{r.kind}: {r.reason}" for r in (*table.rejects, *loader.rejects.values())}
    if errors:
        warn(f"{len(errors):,} image(s) could not be read; their rows say why")
    targets = table.targets() if set(table.classes) == set(model.classes) and table.task == model.task else None
    if targets is not None and list(table.classes) != list(model.classes):
        targets = table.with_classes(model.classes).targets()
    return Predictions(ids, list(model.classes), probs, targets, model.task, None, model.hash, "", errors)


FORMULA = ("=", "+", "-", "@", "\t", "\r")


def safe_cell(text: str) -> str:
    """A text that a spreadsheet shows and never runs: a leading =, +, -, @ gets an apostrophe before it."""
    return f"'{text}" if text.startswith(FORMULA) else text


def as_frame(p: Predictions, top_k: int | None = None) -> Any:
    """A polars DataFrame: id, label, probability, one column a class (or label_1, probability_1, … of k), error."""
    import polars as pl

    labels = [safe_cell(";".join(label)) if isinstance(label, list) else safe_cell(label) for label in p.labels]
    bad = np.isnan(p.probs).any(axis=1)
    columns: dict[str, Any] = {"id": [safe_cell(i) for i in p.ids], "label": labels}
    if top_k is not None:
        if not 1 <= top_k <= len(p.classes):
            raise UsageError(f"--top-k must be between 1 and {len(p.classes)}, found {top_k}.", code="setting")
        best = np.argsort(-np.nan_to_num(p.probs), axis=1, kind="stable")[:, :top_k]
        for rank in range(top_k):
            names = [None if b else safe_cell(p.classes[i]) for i, b in zip(best[:, rank], bad, strict=True)]
            columns[f"label_{rank + 1}"] = names
            columns[f"probability_{rank + 1}"] = blank(p.probs[np.arange(len(p)), best[:, rank]], bad)
    else:
        columns["probability"] = blank(np.nan_to_num(p.probs).max(axis=1), bad)
        columns |= {f"p_{name}": blank(p.probs[:, i], bad) for i, name in enumerate(p.classes)}
    if p.errors:
        columns["error"] = [safe_cell(p.errors.get(i, "")) for i in p.ids]
    return pl.DataFrame(columns)


def blank(values: np.ndarray, bad: np.ndarray) -> list[float | None]:
    """Numbers with None where the image could not be read."""
    return [None if b else float(v) for v, b in zip(values, bad, strict=True)]


def fill_template(p: Predictions, template: Path) -> Any:
    """The template with its rows in their order and its answers replaced; ids match by id, file name or stem.

    Columns named as classes take probabilities, otherwise the second column takes the label. UsageError for a template
    that names an image there is no prediction for.
    """
    import polars as pl

    try:
        frame = pl.read_csv(template, infer_schema_length=0)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UsageError(
            f"cannot read the template ({str(error).splitlines()[0]}).", where=str(template), code="template"
        ) from error
    if frame.width < 2:
        raise UsageError("expected an id column and at least one more.", where=str(template), code="template")
    place = lookup(p.ids)
    key = frame.columns[0]
    wanted = frame[key].to_list()
    missing = [w for w in wanted if w not in place]
    if missing:
        raise UsageError(
            f"no prediction for {len(missing):,} id(s) of the template, such as {', '.join(map(str, missing[:3]))}.",
            where=str(template), remedy="Predict the folder that holds these images.", code="template",
        )  # fmt: skip
    rows = [place[w] for w in wanted]
    named = [c for c in frame.columns[1:] if c in p.classes]
    if named:
        probs = {c: [float(p.probs[r, p.classes.index(c)]) for r in rows] for c in named}
        return frame.with_columns(pl.Series(c, v) for c, v in probs.items())
    labels = [";".join(v) if isinstance(v, list) else v for v in (p.labels[r] for r in rows)]
    return frame.with_columns(pl.Series(frame.columns[1], labels))


def lookup(ids: list[str]) -> dict[str, int]:
    """Row of each id, also by file name and by stem where these are unique."""
    out: dict[str, int] = {}
    for cut in (lambda i: Path(i).stem, lambda i: Path(i).name, lambda i: i):
        names = [cut(i) for i in ids]
        counts = Counter(names)
        out |= {name: row for row, name in enumerate(names) if counts[name] == 1}
    return out


def sort_images(p: Predictions, table: Table, folder: Path) -> None:
    """Copy each image to folder/label/; unreadable ones to `_unreadable`. Nothing is moved, names never collide."""
    images = dict(zip(table.rows["id"], table.rows["image"], strict=True))
    for identity, name, label in zip(p.ids, names_for(p.ids), p.labels, strict=True):
        for one in [label] if isinstance(label, str) else label or ["_none"]:
            target = folder / safe_folder(one or "_unreadable") / name
            target.parent.mkdir(parents=True, exist_ok=True)
            origin = table.storage.path(images[identity])
            if origin is not None:
                shutil.copyfile(origin, target)
            else:
                target.write_bytes(table.storage.read(images[identity]))


def safe_folder(label: str) -> str:
    """A label as the name of one folder: no separators, no dots in front, at most 200 bytes."""
    clean = "".join("_" if c in '/\\:*?"<>|' or ord(c) < 32 else c for c in label).lstrip(".").strip() or "_"
    return clean.encode("utf-8", "replace")[:200].decode("utf-8", "ignore")


def names_for(ids: list[str]) -> Iterator[str]:
    """A file name for each id: its last part, made unique and short enough by a number where need be."""
    seen: set[str] = set()
    for number, identity in enumerate(ids):
        name = safe_folder(identity.replace("#", "/").rsplit("/", 1)[-1])
        if len(name.encode()) > 200 or name.casefold() in seen:
            stem, dot, suffix = name.rpartition(".")
            name = f"{(stem or name)[:60]}-{number}{dot}{suffix if dot else ''}"
        seen.add(name.casefold())
        yield name
