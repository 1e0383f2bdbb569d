"""A stage's folder: made under a name of its own, taken back where nothing began, found again with its images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from anmok.core.errors import DataError, UsageError, near_path
from anmok.core.events import read_events, redact
from anmok.core.files import locked, make_folder, must_not_exist
from anmok.core.progress import say
from anmok.data.compare import changes
from anmok.data.saved import MOVED, refuse_links, require_root
from anmok.data.table import Table

RUNS = Path("runs")
OF_A_RUN = (
    "config.toml", "table.parquet", "unlabeled.parquet", "plan.json", "events.jsonl", "augment.toml", "augment.json",
    ".lock",
)  # fmt: skip


class HasTable(Protocol):
    """A run, as far as its images are concerned."""

    path: Path

    @property
    def table(self) -> Table:
        """The locked table."""


def is_module(value: Any) -> bool:
    """Whether a setting `model` is the network itself, not its name."""
    return value is not None and not isinstance(value, str | Mapping)


def header(verb: str, source: Any) -> str:
    """The first line of config.toml: what was called on what, without secrets."""
    what = os.fspath(source) if isinstance(source, str | os.PathLike) else type(source).__name__
    text = redact(str(what)).encode("unicode_escape").decode()
    return f"# anmok {verb} {text}\n"


def new_folder(out: Path | str | None, name: str, called: str = "folder") -> Path:
    """Make `out`, or runs/NAME-N and say so (as the `called`).

    MachineError if a run that is alive holds it, UsageError if it exists.
    """
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
    name = name.replace("/", "-").replace(":", "-")
    runs = make_folder(RUNS)
    for number in range(1, 100_000):
        folder = runs / f"{name}-{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        say(f"{called}: {folder}")
        return folder
    raise UsageError(f"no free name for {name}; give --out.", code="exists")


def remove_unstarted(folder: Path, files: Iterable[str] = OF_A_RUN, folders: Iterable[str] = ()) -> None:
    """Remove what was written to a folder before its first step: these files, and these folders if they are empty.

    What has begun stays, and so does a list of the images that could not be used.
    """
    begun = any(True for _ in read_events(folder / "events.jsonl", "start"))
    if begun or (folder / "rejects.parquet").exists():
        return
    for name in files:
        (folder / name).unlink(missing_ok=True)
    for place in (*(folder / name for name in folders), folder, *([RUNS] if folder.parent == RUNS else [])):
        try:
            place.rmdir()
        except OSError:  # something lies in it, or it is not there
            continue


@contextmanager
def begun_in(folder: Path) -> Iterator[None]:
    """Within the block a run begins in a new folder: what ends it before the first step leaves nothing behind."""
    try:
        yield
    except BaseException:
        remove_unstarted(folder)
        raise


def find_images(run: HasTable, image_root: str | None) -> None:
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
