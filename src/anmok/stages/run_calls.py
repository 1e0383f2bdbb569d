"""What the verbs that leave a run have in common: objects among the settings, going on, and the log around the work."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from anmok.augment.accept import is_object, name_for
from anmok.core.errors import DataError, UsageError
from anmok.core.events import Events
from anmok.core.files import locked
from anmok.core.progress import say
from anmok.stages.config import LearnConfig
from anmok.stages.ranks import announce, leads
from anmok.stages.run_folder import HasTable, find_images, is_module
from anmok.stages.signals import Stop, polite_stop
from anmok.stages.track import build_trackers


class Resumable(HasTable, Protocol):
    """A run that may have come to its end."""

    @property
    def finished(self) -> bool:
        """Whether it has."""


R = TypeVar("R", bound=Resumable)


def take_objects(settings: dict[str, Any]) -> tuple[Any, Any]:
    """(module, augmentation) where the settings hold objects, which are taken out; else None."""
    module = settings.pop("model") if is_module(settings.get("model")) else None
    augment = settings.pop("augment") if is_object(settings.get("augment")) else None
    return module, augment


def names_of(module: Any, augment: Any) -> dict[str, str]:
    """What the configuration calls the objects that were given."""
    named = {} if module is None else {"model": f"object:{type(module).__module__}.{type(module).__qualname__}"}
    return named if augment is None else {**named, "augment": name_for(augment)}


def resumed_root(source: Any, config: Any, *layers: Mapping[str, Any]) -> str | None:
    """Where the images of a run that goes on are now, if that was said.  UsageError for anything else that was."""
    asked = {key: value for layer in layers for key, value in layer.items()}
    root: str | None = asked.pop("data.image_root", asked.pop("image_root", None))
    if source is not None or asked or config:
        raise UsageError(
            "--resume takes no data and no settings: a run goes on as it began.", code="resume",
            remedy="Only --image-root may be said, where its images have moved.",
        )  # fmt: skip
    return root


def go_on(run: R, image_root: str | None, again: str, work: Callable[[], R], fresh: Callable[[], R]) -> R:
    """Go on with a run (`work`) unless it is finished; `fresh` opens it again. again: the verb that begins anew."""
    with locked(run.path):
        finished = run.finished
        if finished and image_root is None:
            say(f"{run.path} is finished already; nothing to do.")
            announce(run.path, ready=False)
            return run
        if not (run.path / "table.parquet").is_file():
            raise DataError(
                "the run was ended before its table was written.", where=str(run.path),
                remedy=f"{again} anew, with another --out.", code="resume",
            )  # fmt: skip
        find_images(run, image_root)
        if not finished:
            return work()
        announce(run.path, ready=False)
        return fresh()


def logged(folder: Path, config: LearnConfig, work: Callable[[Events, Stop], None]) -> None:
    """Do the work with the run's event log open, its trackers listening and signals asking politely.

    Of several processes the first one keeps the log.
    """
    announce(folder)
    if leads():
        trackers = build_trackers(list(config.track), folder, config.model_dump(mode="json"))
        events = Events(folder / "events.jsonl", trackers)
    else:
        events = Events(None)
    try:
        with polite_stop() as stop:
            began = time.monotonic()
            work(events, stop)
            events.log("end", seconds=round(time.monotonic() - began, 3))
    finally:
        events.close()
