"""`anmok train`: from a source to a run folder with a tested model in it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anmok.core.config import dump_toml, resolve
from anmok.core.errors import DataError, UsageError
from anmok.core.events import Events, redact
from anmok.core.files import locked, write_atomic
from anmok.core.progress import say
from anmok.data.compare import difference
from anmok.data.table import Table
from anmok.stages.config import TrainConfig
from anmok.stages.prepare import prepare
from anmok.stages.run import Run
from anmok.stages.signals import polite_stop
from anmok.stages.track import build_trackers


def train(
    source: Any = None, *, resume: Path | str | None = None, out: Path | str | None = None,
    config: Path | str | None = None, layers: tuple[Mapping[str, Any], ...] = (), **settings: Any,
) -> Run:  # fmt: skip
    """Train a classifier and return its Run.

    source: anything `anmok.open` takes. out: the run's folder, which must not exist yet (default: runs/NAME-N).
    config: a TOML file; settings: paths of the configuration tree or short names (model='resnet18', epochs=3,
    optim={'lr': 0.1}); model may be a torch module. resume: a run folder to go on with instead.

    UsageError, DataError, MachineError as the messages say; Interrupted when a signal ended it resumably.
    """
    module = settings.pop("model") if _is_module(settings.get("model")) else None
    if resume is not None:
        if source is not None or settings or any(layers) or config:
            raise UsageError("--resume takes no data and no settings: a run goes on as it began.", code="resume")
        return _resume(Path(resume), module)
    if source is None:
        raise UsageError(
            "nothing to train on.", remedy="Give a folder, CSV, Parquet or Table, or --resume RUN.", code="source"
        )
    if module is not None:
        settings["model"] = f"object:{type(module).__module__}.{type(module).__qualname__}"
    resolved = resolve(TrainConfig, *layers, settings, file=config)
    return start(_new_run(out, resolved), source, resolved, module)


def start(folder: Path, source: Any, resolved: TrainConfig, module: Any = None) -> Run:
    """Begin a run in a folder that is there already."""
    with locked(folder):
        write_atomic(folder / "config.toml", _header(source) + dump_toml(resolved))
        try:
            prepare(source, resolved).save(folder / "table.parquet")
        except BaseException:
            _remove_unstarted(folder)
            raise
        return _learn(folder, resolved, module)


def _is_module(value: Any) -> bool:
    return value is not None and not isinstance(value, str | Mapping)


def _header(source: Any) -> str:
    what = os.fspath(source) if isinstance(source, str | os.PathLike) else type(source).__name__
    text = redact(str(what)).encode("unicode_escape").decode()
    return f"# anmok train {text}\n"


def _new_run(out: Path | str | None, config: TrainConfig) -> Path:
    """Make the run's folder; MachineError if another run holds it, UsageError if it exists."""
    if out is not None:
        folder = Path(out)
        if folder.exists():
            with locked(folder):  # a run that is alive is named, with its pid
                pass
            raise UsageError(
                f"--out {folder} exists already.",
                remedy=f"Name a new one, or go on with --resume {folder}.",
                code="exists",
            )
        folder.mkdir(parents=True)
        return folder
    name = config.model.name.replace("/", "-").replace(":", "-")
    for number in range(1, 100_000):
        folder = Path("runs") / f"{name}-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        say(f"run folder: {folder}")
        return folder
    raise UsageError("no free name for a run; give --out.", code="exists")


def _remove_unstarted(folder: Path) -> None:
    """A run that failed before it began leaves no folder behind."""
    for name in ("config.toml", ".lock"):
        (folder / name).unlink(missing_ok=True)
    try:
        folder.rmdir()
    except OSError:
        return


def _resume(folder: Path, module: Any) -> Run:
    run = Run(folder, module)
    with locked(folder):
        if run.finished:
            say(f"{folder} is finished already; nothing to do.")
            return run
        if not (folder / "table.parquet").is_file():
            raise DataError("the run was ended before its table was written.", where=str(folder),
                            remedy="Train anew, with another --out.", code="resume")  # fmt: skip
        check_unchanged(run.table)
        return _learn(folder, run.config, module)


def check_unchanged(table: Table) -> None:
    """Read the images again and compare with what the table locked.  DataError that shows the difference."""
    import polars as pl

    now = table._with(rows=table.rows.with_columns(pl.lit(None, pl.String).alias("hash")))
    changed = difference(table, now)
    if changed:
        raise DataError(
            f"the data are no longer what the run began with.\n{changed}\n", where=str(table.root),
            remedy="Bring them back, or train anew on the new data.", code="fingerprint",
        )  # fmt: skip


def _learn(folder: Path, config: TrainConfig, module: Any) -> Run:
    from anmok.stages.learn import learn

    listeners = build_trackers(list(config.track), folder, config.model_dump(mode="json"))
    events = Events(folder / "events.jsonl", listeners)
    try:
        with polite_stop() as stop:
            began = time.monotonic()
            learn(folder, config, module, events, stop)
            events.log("end", seconds=round(time.monotonic() - began, 3))
    finally:
        events.close()
    return Run(folder, module)
