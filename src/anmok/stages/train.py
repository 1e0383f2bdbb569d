"""`anmok train`: from a source to a run folder with a tested model in it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anmok.augment.accept import is_object, keep, name_for
from anmok.core.config import dump_toml, resolve
from anmok.core.errors import DataError, UsageError
from anmok.core.events import Events
from anmok.core.files import locked, write_atomic
from anmok.core.optional import need
from anmok.core.progress import say
from anmok.data.sources import open_table
from anmok.stages.choices import check_choices
from anmok.stages.config import TrainConfig
from anmok.stages.prepare import prepare
from anmok.stages.run import Run
from anmok.stages.run_folder import find_images, header, is_module, new_folder, remove_unstarted
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

    module = settings.pop("model") if is_module(settings.get("model")) else None
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
    return start(new_folder(out, resolved.model.name, "run folder"), source, resolved, module, augment)


def start(folder: Path, source: Any, resolved: TrainConfig, module: Any = None, augment: Any = None) -> Run:
    """Begin a run in a folder that is there already; one that fails before its first step leaves nothing behind."""
    with locked(folder):
        write_atomic(folder / "config.toml", header("train", source) + dump_toml(resolved))
        try:
            keep(resolved.augment, folder, augment)
            table = open_table(source, resolved.data, resolved.labels)
            check_choices(resolved, module)
            prepare(table, resolved).save(folder / "table.parquet")
            return _learn(folder, resolved, module, augment)
        except BaseException:
            remove_unstarted(folder)
            raise


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
        find_images(run, image_root)
        return Run(folder, module) if finished else _learn(folder, run.config, module, augment)


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
