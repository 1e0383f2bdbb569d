"""`anmok compare`: which model, for these data, on this machine? The same split and the same time for each, measured.

Every network is an ordinary run in a folder of its own, trained in a process of its own; simple baselines stand beside
them. The test split is looked at once a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anmok.core.config import dump_toml, resolve
from anmok.core.errors import DataError, Interrupted, MachineError, UsageError, nearest
from anmok.core.files import locked, write_atomic
from anmok.core.optional import need
from anmok.core.progress import say, warn
from anmok.data.hand_features import HAND
from anmok.data.sources import open_table
from anmok.data.table import Table
from anmok.stages.baseline_names import baseline_name
from anmok.stages.choices import check_choices
from anmok.stages.compare_child import folder_of, run_child
from anmok.stages.compare_report import write_report
from anmok.stages.compare_result import Comparison, write_tables
from anmok.stages.compare_row import Row
from anmok.stages.compare_settings import CompareTree
from anmok.stages.defaults import for_labels, with_defaults
from anmok.stages.prepare import prepare
from anmok.stages.run_folder import begun_in, new_folder
from anmok.stages.signals import polite_stop

ALL = ("disk", "locked")  # codes of errors that every model would meet


def compare(
    source: Any = None, *, resume: Path | str | None = None, out: Path | str | None = None,
    config: Path | str | None = None, layers: tuple[Mapping[str, Any], ...] = (), **settings: Any,
) -> Comparison:  # fmt: skip
    """Train and measure several models on the same split, each for `minutes`, and return the Comparison.

    source: anything `anmok.open` takes; without a test split one is drawn. out: the comparison's folder, which must not
    exist yet (default: runs/compare-N); it receives a folder a model, compare.csv, compare.json, report.html and the
    figures as PNG. config, settings: as `train` takes them, and those of CompareTree (models=['lenet', 'hog/logistic'],
    minutes=3, compare={'shares': (0.1, 1)}). resume: a comparison's folder to go on with instead; models that failed
    are tried again. A model that fails is a row that says why.

    UsageError for an unknown model, before anything is trained; DataError where no model has figures; Interrupted
    when a signal ended it resumably.
    """
    if resume is not None:
        if source is not None or config or any((*layers, settings)):
            raise UsageError("--resume takes no data and no settings: it goes on as it began.", code="resume")
        return _resume(Path(resume))
    if source is None:
        raise UsageError(
            "nothing to compare on.", remedy="Give a folder, CSV, Parquet or Table, or --resume FOLDER.", code="source"
        )
    resolved = resolve(CompareTree, *layers, settings, file=config)
    check_models(resolved)
    folder = new_folder(out, "compare")
    with locked(folder):
        with begun_in(folder):
            table = open_table(source, resolved.data, resolved.labels)
            resolved = for_labels(with_defaults(resolved), several=table.task == "multilabel")
            table = _with_test(prepare(table, resolved), resolved)
            table.save(folder / "table.parquet")
            write_atomic(folder / "config.toml", dump_toml(resolved))
        return _run(folder)


def check_models(config: CompareTree) -> None:
    """UsageError that names every model there is not, with the nearest ones; MachineError for a missing package."""
    if not config.models:
        raise UsageError(
            "no models are named.", where="--models", remedy="For example --models lenet,resnet18,hog/logistic.",
            code="setting",
        )  # fmt: skip
    wrong: list[UsageError] = []
    asked = False
    for name in config.models:
        try:
            parts = baseline_name(name)
            network = name if parts is None else parts.network
            if parts is not None and (near := nearest(network, HAND)) and network:
                raise UsageError(
                    f"there are no features {network}.", remedy=f"Did you mean {near[0]}/{parts.classifier}?",
                    code="model",
                )  # fmt: skip
            if network:
                asked = True
                _check_network(network, config)
        except UsageError as error:
            if error.code != "model":
                raise
            wrong.append(error)
    if wrong:
        told = " ".join(f"{e.message} {e.remedy or ''}".strip() for e in wrong)
        raise UsageError(told, where="--models", code="model")
    places = [folder_of(Path(), name).name.lower() for name in config.models]
    for name, place in zip(config.models, places, strict=True):
        if places.count(place) > 1:
            raise UsageError(f"{name} and another one would have the same folder.", where="--models", code="setting")
    if asked:
        from anmok.stages.pixels import check_pretrained

        check_pretrained(config)


def _check_network(name: str, config: CompareTree) -> None:
    """UsageError for a name that is no network's, or for what is asked of it besides."""
    need("torch", "train")
    from anmok.models.families import accepts

    accepts(name)
    check_choices(config.model_copy(update={"model": config.model.model_copy(update={"name": name})}))


def _with_test(table: Table, config: CompareTree) -> Table:
    """The table, with a test split drawn where the source gives none.  DataError where none can be."""
    if len(table.labelled().where(split="test")):
        return table
    if config.split.test > 0:
        warn("there is no labelled test image: train, val and test are drawn anew from all that have a label")
        drawn = config.split.model_copy(update={"given": "ignore"})
        table = prepare(table.labelled(), config.model_copy(update={"split": drawn}))
    if not len(table.labelled().where(split="test")):
        raise DataError(
            "there is no labelled test image to compare models on.", code="empty-table",
            remedy="Set --split.test, or mark some rows test.",
        )  # fmt: skip
    return table


def _resume(folder: Path) -> Comparison:
    from anmok.stages.run_folder import check_unchanged

    found = Comparison(folder)
    with locked(folder):
        if not found.missing:
            say(f"{folder} is finished already; nothing to do.")
            return found
        check_unchanged(found.table.labelled())
        return _run(folder)


def _run(folder: Path) -> Comparison:
    """Fill what is missing, one model after the other, and write what there is after each."""
    found = Comparison(folder)
    todo = found.missing
    with polite_stop() as stop:
        for number, name in enumerate(todo, 1):
            say(f"{name} ({number} of {len(todo)})")
            try:
                if stop():
                    raise Interrupted("stopped as asked.")
                row = run_child(folder, name, stop)
            except Interrupted as error:
                raise Interrupted(
                    "stopped as asked; what was measured is kept.",
                    remedy=f"Go on with: anmok compare --resume {folder}",
                ) from error
            if row.error:
                warn(f"{name}: {row.error}")
                _refuse(row, folder)
            write_tables(found)
    if not any(row.accuracy for row in found.rows):
        first = found.rows[0]
        raise DataError(f"no model has figures. {first.model}: {first.error}", where=str(folder), code="compare")
    write_report(found)
    return found


def _refuse(row: Row, folder: Path) -> None:
    """MachineError where the other models would meet the same."""
    if row.code in ALL:
        raise MachineError(row.error, remedy=f"Then go on with: anmok compare --resume {folder}", code=row.code)
