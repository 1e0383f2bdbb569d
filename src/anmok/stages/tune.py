"""`anmok tune`: settings compared by successive halving on a fraction of the data, within a fixed time.

What is searched is any of the learning rate, the weight decay, the augmentation and the network. Every candidate of a
rung trains anew for the same time on the same share of the training images and is scored on the whole validation split;
the best go on to the next rung, with more time and more images. Policies alone are all given; other candidates are
drawn, the settings as they are without a search among them, and where there is time for more brackets, those of the
later ones are proposed by what is known from the earlier. The test split is not looked at.
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
    """Search for the settings that suit the data, within `minutes`, and return the Tuning.

    source: anything `anmok.open` takes. out: the search's folder, which must not exist yet (default: runs/tune-N); it
    receives trials.csv, halving.png and best.toml, with which `anmok train` trains as the winner did, and search.png
    where more than the augmentation is searched. config, settings: as `train` takes them, and those of TuneTree
    (search='lr,model', minutes=5); rates are drawn about optim.lr, which `find_lr` may suggest. resume: a search's
    folder to go on with instead.

    UsageError for a time in which no two candidates can train (code budget); DataError without a validation split, or
    where no candidate can train; Interrupted when a signal ended it resumably.
    """
    need("torch", "train")
    from anmok.stages.pixels import check_pretrained
    from anmok.stages.tune_search import search
    from anmok.stages.tune_space import ALONE, completed

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
    if resolved.search != ALONE:
        need("optuna", "tune")
    folder = new_folder(out, "tune", "search folder")
    with locked(folder):
        try:
            table = prepare(open_table(source, resolved.data, resolved.labels), resolved)
            if not len(table.labelled().where(split="val")):
                raise DataError(
                    "there is no labelled validation image to compare candidates on.", code="empty-table",
                    remedy="Set --split.val, or mark some rows val.",
                )  # fmt: skip
            resolved = completed(resolved, table)
            table.save(folder / "table.parquet")
            write_atomic(folder / "config.toml", dump_toml(resolved))
            return search(folder, resolved, table, began)
        except Interrupted:
            raise
        except BaseException:
            if not any(read_events(folder / "trials.jsonl", "trial")):
                for plan in folder.glob("plan-*.json"):
                    plan.unlink()
                remove_unstarted(folder, (*OF_A_RUN, "trials.jsonl"), ("trials",))
            raise


def _with_candidates(config: TuneTree) -> TuneTree:
    """The settings with their candidates complete: a policy that they name for the training comes before the others."""
    if "augment" not in config.search:
        return config
    own = [config.augment.policy] if "policy" in config.augment.model_fields_set else []
    names = tuple(dict.fromkeys([*own, *config.candidates]))
    if len(names) < 2 and len(config.search) == 1:
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
