"""Predictions written as they come: memory stays flat however many images there are, and a killed run goes on.

Beside --out lies OUT.partial with the finished parts; when the last one is there, the file is put together and the
folder goes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anmok.core.artifacts import load_predictions, save_predictions
from anmok.core.errors import DataError, Interrupted, UsageError
from anmok.core.files import locked, read_json, write_atomic, write_json
from anmok.core.progress import bar, say, warn
from anmok.core.types import Predictions, Reject
from anmok.data.table import Table
from anmok.evaluate.answers import answered

KEY = "key.json"
FIRST, MOST = 256, 16_384  # images of the first part, and at most
SECONDS = 10.0  # what a part takes after that: as much is lost by a kill


def stream(
    model: Any, table: Table, target: Path, *, top_k: int | None = None, keep: bool = True, part: int | None = None,
    **options: Any,
) -> Predictions:  # fmt: skip
    """Predict all rows of a table into a .csv or .parquet, in parts, and go on with what an earlier call has finished.

    options: of `predict.predict_table`. keep: give the predictions back, which takes memory; else none of their rows.
    part: images a part, by default as many as take about 10 s.

    Interrupted after a signal: what is finished is kept. DataError where OUT.partial is none of ours; MachineError
    without room, or where another run writes the same file.
    """
    folder = target.with_name(f"{target.name}.partial")
    if folder.exists() and any(folder.iterdir()) and not (folder / KEY).is_file():
        raise UsageError(
            "this is needed for what is not finished, but something else lies there.", where=str(folder), code="exists",
            remedy="Remove it, or choose another --out.",
        )  # fmt: skip
    if not len(table):
        raise UsageError("there are no images to predict.", code="source")
    with locked(folder):
        done = resume(folder, key_of(model, table, options), table.rows["id"].to_list())
        try:
            write_parts(model, table, folder, done, part, options)
        except BaseException:
            if not parts_of(folder):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        rest(model, table, folder)
        found = assemble(folder, target, model.decision, top_k, keep)
        shutil.rmtree(folder)
    return found if comparable(model, table) else replace(found, targets=None)


def key_of(model: Any, table: Table, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the finished parts depend on: the model, the rows and the settings; not how fast they are made."""
    digest = hashlib.sha256(str(table.root.resolve()).encode("utf-8", "surrogateescape"))
    for row in table.rows.select("id", "image", "label").iter_rows():
        digest.update(json.dumps(row).encode() + b"\n")
    settings = {k: v for k, v in options.items() if k not in ("batch_size", "threads")}
    return {
        "version": 1, "model": model.hash, "source": digest.hexdigest(),
        "settings": json.loads(json.dumps(settings, default=lambda v: np.asarray(v).tolist())),
    }  # fmt: skip


def resume(folder: Path, key: dict[str, Any], ids: Sequence[str]) -> int:
    """How many rows are finished, in whole parts; those of something else are removed. Both is said aloud."""
    before = read_json(folder / KEY) if (folder / KEY).is_file() else None
    if before is not None and before != key:
        other = [name for name in key if not isinstance(before, dict) or before.get(name) != key[name]]
        warn(f"{folder} was of another {' and '.join(other)}, so all images are predicted anew")
        for file in parts_of(folder):
            file.unlink()
    write_json(folder / KEY, key)
    done = 0
    for file in parts_of(folder):
        size = part_size(file, ids[done:]) if file.name == part_name(done) else 0
        if not size:  # damaged, or of the left-out files at the end, which are found anew
            file.unlink()
        done += size
    if done:
        say(f"going on after {done:,} of {len(ids):,} images, which {folder} has")
    return done


def part_size(file: Path, ids: Sequence[str]) -> int:
    """Rows of a part that holds the next ids; 0 where it does not."""
    try:
        found = load_predictions(file).ids
    except DataError:
        return 0
    return len(found) if found == list(ids[: len(found)]) else 0


def parts_of(folder: Path) -> list[Path]:
    """The finished parts in the order of their rows."""
    return sorted(folder.glob("part-*.parquet"))


def part_name(start: int) -> str:
    """The file of the part that begins with row `start`."""
    return f"part-{start:012d}.parquet"


def write_parts(
    model: Any, table: Table, folder: Path, done: int, part: int | None, options: Mapping[str, Any]
) -> None:  # fmt: skip
    """Predict the rows from `done` on, part after part."""
    from anmok.stages.ensemble_model import predict_rows
    from anmok.stages.signals import polite_stop

    total, members = len(table), len(getattr(model, "members", "1"))
    size = part or FIRST
    with polite_stop() as stop, bar("predict", total * members) as shown:
        shown.advance(done * members)
        while done < total:
            began = time.monotonic()
            rows = table.take(range(done, min(done + size, total)))
            save_predictions(predict_rows(model, rows, shown=shown, **options), folder / part_name(done))
            done += len(rows)
            if stop() and done < total:
                raise Interrupted(
                    f"stopped after {done:,} of {total:,} images, which are kept.", where=str(folder),
                    remedy="The same command goes on.",
                )  # fmt: skip
            rate = len(rows) / max(time.monotonic() - began, 1e-3)
            size = part or min(MOST, max(FIRST, round(rate * SECONDS / FIRST) * FIRST))


def rest(model: Any, table: Table, folder: Path) -> None:
    """A part of NaN with their reasons for the paths that the source had to leave out."""
    from anmok.stages.predict import with_rejects

    known = set(table.rows["id"].to_list())
    rejects: list[Reject] = [r for r in table.rejects if r.id not in known]
    first = load_predictions(parts_of(folder)[0])
    more = with_rejects(first.select(np.zeros(0, int)), rejects)
    if len(more):
        save_predictions(more, folder / part_name(len(table)))


def assemble(folder: Path, target: Path, decision: Mapping[str, Any], top_k: int | None, keep: bool) -> Predictions:
    """Put the parts together as the file, whole or not at all; the predictions, or none of their rows."""
    from anmok.stages.predict import say_errors

    errors = {i: why for p in read_parts(folder) for i, why in p.errors.items()}
    if target.suffix.lower() == ".parquet":
        write_atomic(target, lambda to: write_parquet(to, folder, errors))
    else:
        write_atomic(target, lambda to: write_csv(to, folder, errors, decision, top_k))
    say_errors(errors)
    parts = read_parts(folder)
    first = next(parts)
    if not keep:
        return replace(first.select(np.zeros(0, int)), errors=errors)
    every = [first, *parts]
    whole = replace(
        first, ids=[i for p in every for i in p.ids], probs=np.concatenate([p.probs for p in every]), errors=errors,
        targets=np.concatenate([p.targets for p in every if p.targets is not None]),
    )  # fmt: skip
    return answered(whole, decision)


def read_parts(folder: Path) -> Iterator[Predictions]:
    """The finished parts, one after the other."""
    for file in parts_of(folder):
        yield load_predictions(file)


def write_csv(to: Path, folder: Path, errors: dict[str, str], decision: Mapping[str, Any], top_k: int | None) -> None:
    """The parts as one CSV; see `predict.as_frame`."""
    from anmok.stages.predict import as_frame

    with to.open("wb") as handle:
        for number, p in enumerate(read_parts(folder)):
            frame = as_frame(answered(replace(p, errors=errors), decision), top_k)
            frame.write_csv(handle, include_header=number == 0)


def write_parquet(to: Path, folder: Path, errors: dict[str, str]) -> None:
    """The parts as one predictions file, a row group each; see `artifacts.save_predictions`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = parts_of(folder)
    schema = max((pq.read_schema(file) for file in files), key=len)  # with `unknown`, where any part has it
    about = json.loads(schema.metadata[b"anmok"]) | {"errors": errors}
    schema = schema.with_metadata({b"anmok": json.dumps(about, ensure_ascii=False).encode()})
    with pq.ParquetWriter(to, schema) as writer:
        for file in files:
            rows = pq.read_table(file)
            if len(rows.schema) < len(schema):
                rows = rows.append_column("unknown", pa.array([[]] * len(rows), pa.list_(pa.string())))
            writer.write_table(rows.cast(schema))


def comparable(model: Any, table: Table) -> bool:
    """Whether the labels of a table are those that a model knows."""
    return set(table.classes) == set(model.classes) and table.task == model.task
