"""`anmok train`: from a source to a run folder with a tested model in it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from anmok.augment.accept import is_object, keep, name_for
from anmok.core.config import dump_toml, resolve
from anmok.core.errors import DataError, UsageError, near_path
from anmok.core.events import Events, read_events, redact
from anmok.core.files import locked, make_folder, must_not_exist, write_atomic
from anmok.core.optional import need
from anmok.core.progress import say
from anmok.data.compare import changes
from anmok.data.saved import MOVED, refuse_links, require_root
from anmok.data.sources import open_table
from anmok.data.table import Table
from anmok.stages.choices import check_choices
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
    optim={'lr': 0.1}); model may be a torch module, augment a Policy or a transform of the user's. resume: a run
    folder to go on with instead; with image_root, where its images have moved; what was given as an object is given
    again.

    UsageError, DataError, MachineError as the messages say; Interrupted when a signal ended it resumably.
    """
    need("torch", "train")
    from anmok.stages.pixels import check_pretrained

    module = settings.pop("model") if _is_module(settings.get("model")) else None
    augment = settings.pop("augment") if is_object(settings.get("augment")) else None
    if resume is not None:
        asked = {key: value for layer in (*layers, settings) for key, value in layer.items()}
        root = asked.pop("data.image_root", asked.pop("image_root", None))
        if source is not None or asked or config:
            raise UsageError(
                "--resume takes no data and no settings: a run goes on as it began.", code="resume",
                remedy="Only --image-root may be said, where its images have moved.",
            )  # fmt: skip
        return _resume(Path(resume), module, root, augment)
    if source is None:
        raise UsageError(
            "nothing to train on.", remedy="Give a folder, CSV, Parquet or Table, or --resume RUN.", code="source"
        )
    if module is not None:
        settings["model"] = f"object:{type(module).__module__}.{type(module).__qualname__}"
    if augment is not None:
        settings["augment"] = name_for(augment)
    resolved = resolve(TrainConfig, *layers, settings, file=config)
    check_pretrained(resolved)
    return start(_new_run(out, resolved), source, resolved, module, augment)


def start(folder: Path, source: Any, resolved: TrainConfig, module: Any = None, augment: Any = None) -> Run:
    """Begin a run in a folder that is there already; one that fails before its first step leaves nothing behind."""
    with locked(folder):
        write_atomic(folder / "config.toml", _header(source) + dump_toml(resolved))
        try:
            keep(resolved.augment, folder, augment)
            table = open_table(source, resolved.data, resolved.labels)
            check_choices(resolved, module)
            prepare(table, resolved).save(folder / "table.parquet")
            return _learn(folder, resolved, module, augment)
        except BaseException:
            _remove_unstarted(folder)
            raise


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
        if (folder / "config.toml").is_file():
            with locked(folder):  # a run that is alive is named, with its pid
                pass
            raise UsageError(
                f"--out {folder} exists already.",
                remedy=f"Name a new one, or go on with --resume {folder}.",
                code="exists",
            )
        return make_folder(must_not_exist(folder))
    name = config.model.name.replace("/", "-").replace(":", "-")
    runs = make_folder(Path("runs"))
    for number in range(1, 100_000):
        folder = runs / f"{name}-{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        say(f"run folder: {folder}")
        return folder
    raise UsageError("no free name for a run; give --out.", code="exists")


def _remove_unstarted(folder: Path) -> None:
    """Remove what a run wrote that failed before its first step, but for a list of the images it could not use."""
    begun = any(True for _ in read_events(folder / "events.jsonl", "start"))
    if begun or (folder / "rejects.parquet").exists():
        return
    for name in ("config.toml", "table.parquet", "plan.json", "events.jsonl", "augment.toml", "augment.json", ".lock"):
        (folder / name).unlink(missing_ok=True)
    try:
        folder.rmdir()
        if folder.parent == Path("runs"):
            folder.parent.rmdir()
    except OSError:  # something else lies in it
        return


def _resume(folder: Path, module: Any, image_root: str | None, augment: Any = None) -> Run:
    run = Run(folder, module)
    with locked(folder):
        finished = run.finished
        if finished and image_root is None:
            say(f"{folder} is finished already; nothing to do.")
            return run
        if not (folder / "table.parquet").is_file():
            raise DataError("the run was ended before its table was written.", where=str(folder),
                            remedy="Train anew, with another --out.", code="resume")  # fmt: skip
        _find_images(run, image_root)
        return Run(folder, module) if finished else _learn(folder, run.config, module, augment)


def _find_images(run: Run, image_root: str | None) -> None:
    """Check that the run's images are there and unchanged; at another root, the run's table names that from now on."""
    if image_root is not None and not Path(image_root).is_dir():
        raise UsageError(
            f"no such folder: {image_root}.", where="--image-root", remedy=near_path(Path(image_root)), code="source"
        )
    table = run.table if image_root is None else replace(run.table, root=Path(image_root))
    require_root(table, str(run.path), MOVED.format(run=run.path))
    check_unchanged(table)
    if image_root is None:
        return
    if not table.links:
        refuse_links(table, str(run.path))
    table.save(run.path / "table.parquet")
    say(f"{run.path} takes its images from {image_root} from now on")


def check_unchanged(table: Table) -> None:
    """Read the images again and compare with what the table locked.  DataError that shows the difference."""
    if changed := changes(table):
        raise DataError(
            f"the data are no longer what the run began with.\n{changed}\n", where=str(table.root),
            remedy="Bring them back, or train anew on the new data.", code="fingerprint",
        )  # fmt: skip


def _learn(folder: Path, config: TrainConfig, module: Any, augment: Any = None) -> Run:
    from anmok.stages.learn import learn

    listeners = build_trackers(list(config.track), folder, config.model_dump(mode="json"))
    events = Events(folder / "events.jsonl", listeners)
    try:
        with polite_stop() as stop:
            began = time.monotonic()
            learn(folder, config, module, events, stop, augment)
            events.log("end", seconds=round(time.monotonic() - began, 3))
    finally:
        events.close()
    return Run(folder, module)
