"""`anmok tune`: settings compared by successive halving on a fraction of the data, within a fixed time.

What is searched is the augmentation: the choice among policies, and RandAugment's (n, m). Every candidate of a rung
trains anew for the same time on the same share of the training images and is scored on the whole validation split; the
best go on to the next rung, with more time and more images. The test split is not looked at.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anmok.augment.config import FILES
from anmok.augment.files import load_policy
from anmok.core.config import dump_toml, read_toml, resolve
from anmok.core.errors import DataError, Interrupted, UsageError
from anmok.core.events import read_events
from anmok.core.files import locked, write_atomic
from anmok.core.optional import need
from anmok.core.progress import say
from anmok.data.sources import open_table
from anmok.data.table import Table
from anmok.stages.choices import check_choices
from anmok.stages.prepare import prepare
from anmok.stages.run_folder import OF_A_RUN, new_folder, remove_unstarted
from anmok.stages.tune_result import Tuning
from anmok.stages.tune_settings import TuneTree


def tune(
    source: Any = None, *, resume: Path | str | None = None, out: Path | str | None = None,
    config: Path | str | None = None, layers: tuple[Mapping[str, Any], ...] = (), **settings: Any,
) -> Tuning:  # fmt: skip
    """Search for the augmentation that suits the data, within `minutes`, and return the Tuning.

    source: anything `anmok.open` takes. out: the search's folder, which must not exist yet (default: runs/tune-N); it
    receives trials.csv, halving.png and best.toml, with which `anmok train` trains as the winner did. config, settings:
    as `train` takes them, and those of TuneTree (candidates=['light', 'randaugment:n=2,m=9'], minutes=5). resume: a
    search's folder to go on with instead.

    UsageError for a time in which no two candidates can train (code budget); DataError without a validation split, or
    where no candidate can train; Interrupted when a signal ended it resumably.
    """
    need("torch", "train")
    from anmok.stages.pixels import check_pretrained
    from anmok.stages.tune_search import search

    began = time.monotonic()  # after the libraries are loaded
    if resume is not None:
        if source is not None or config or any((*layers, settings)):
            raise UsageError("--resume takes no data and no settings: a search goes on as it began.", code="resume")
        return _resume(Path(resume), began)
    if source is None:
        raise UsageError(
            "nothing to search on.", remedy="Give a folder, CSV, Parquet or Table, or --resume FOLDER.", code="source"
        )
    resolved = _with_candidates(resolve(TuneTree, *layers, settings, file=config))
    check_pretrained(resolved)
    check_choices(resolved)
    folder = new_folder(out, "tune", "search folder")
    with locked(folder):
        try:
            table = prepare(open_table(source, resolved.data, resolved.labels), resolved)
            if not len(table.labelled().where(split="val")):
                raise DataError(
                    "there is no labelled validation image to compare candidates on.", code="empty-table",
                    remedy="Set --split.val, or mark some rows val.",
                )  # fmt: skip
            table.save(folder / "table.parquet")
            write_atomic(folder / "config.toml", dump_toml(resolved))
            return search(folder, resolved, table, began)
        except Interrupted:
            raise
        except BaseException:
            if not any(read_events(folder / "trials.jsonl", "trial")):
                remove_unstarted(folder, (*OF_A_RUN, "trials.jsonl"), ("trials",))
            raise


def _with_candidates(config: TuneTree) -> TuneTree:
    """The settings with their candidates complete: a policy that they name for the training comes before the others."""
    own = [config.augment.policy] if "policy" in config.augment.model_fields_set else []
    names = tuple(dict.fromkeys([*own, *config.candidates]))
    if len(names) < 2:
        raise UsageError("one candidate alone is no search.", where="--candidates", code="setting")
    for name in names:
        if name.lower().endswith(FILES):
            load_policy(name)
    return config.model_copy(update={"candidates": names})


def _resume(folder: Path, began: float) -> Tuning:
    from anmok.stages.run_folder import check_unchanged
    from anmok.stages.tune_search import search, used

    if not (folder / "config.toml").is_file() or not (folder / "table.parquet").is_file():
        raise UsageError(
            "no search here.", where=str(folder), remedy="Expected a folder that `anmok tune` wrote.", code="run"
        )
    with locked(folder):
        if any(read_events(folder / "trials.jsonl", "end")):
            say(f"{folder} is finished already; nothing to do.")
            return Tuning(folder)
        config, table = resolve(TuneTree, read_toml(folder / "config.toml")), Table.load(folder / "table.parquet")
        check_unchanged(used(table))
        return search(folder, config, table, began)
