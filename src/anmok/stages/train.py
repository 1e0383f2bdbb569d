"""`anmok train`: from a source to a run folder with a tested model in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anmok.augment.accept import keep
from anmok.core.config import dump_toml, resolve
from anmok.core.errors import UsageError
from anmok.core.files import locked, write_atomic
from anmok.core.optional import need
from anmok.data.sources import open_table
from anmok.stages.choices import check_choices
from anmok.stages.config import TrainConfig
from anmok.stages.defaults import for_labels, with_defaults
from anmok.stages.image_text_settings import wants_pairs
from anmok.stages.prepare import prepare
from anmok.stages.ranks import refuse_ranks, together
from anmok.stages.run import Run
from anmok.stages.run_calls import go_on, logged, names_of, resumed_root, take_objects
from anmok.stages.run_folder import begun_in, header, new_folder
from anmok.stages.semi_settings import check_semi
from anmok.stages.tower import check_texts, tower_of, with_tower


def train(
    source: Any = None, *, resume: Path | str | None = None, out: Path | str | None = None,
    config: Path | str | None = None, layers: tuple[Mapping[str, Any], ...] = (), **settings: Any,
) -> Run:  # fmt: skip
    """Train a classifier and return its Run.

    source: anything `anmok.open` takes. out: the run's folder, which must not exist yet (default: runs/NAME-N).
    config: a TOML file; settings: paths of the configuration tree or short names (model='resnet18', epochs=3,
    optim={'lr': 0.1}); model may be a torch module, augment a Policy or a transform of the user's. resume: a run
    folder to go on with instead; with image_root, where its images have moved; what was given as an object is given
    again. objective='image-text': see `image_text`.

    UsageError, DataError, MachineError as the messages say; Interrupted when a signal ended it resumably.
    """
    need("torch", "train")
    stored = None if resume is None else Path(resume) / "config.toml"
    if wants_pairs(stored if stored is not None and stored.is_file() else config, *layers, settings):
        from anmok.stages.image_text import image_text

        refuse_ranks("--objective image-text")
        return image_text(source, resume=resume, out=out, config=config, layers=layers, **settings)
    module, augment = take_objects(settings)
    return together(
        lambda: _begin(source, resume, out, config, layers, settings, module, augment),
        lambda folder: _learn(folder, Run(folder, module).config, module, augment),
        lambda folder: Run(folder, module),
    )


def _begin(
    source: Any, resume: Path | str | None, out: Path | str | None, config: Path | str | None,
    layers: tuple[Mapping[str, Any], ...], settings: dict[str, Any], module: Any, augment: Any,
) -> Run:  # fmt: skip
    from anmok.stages.pixels import check_pretrained

    if resume is not None:
        return _resume(Path(resume), module, resumed_root(source, config, *layers, settings), augment)
    if source is None:
        raise UsageError(
            "nothing to train on.", remedy="Give a folder, CSV, Parquet or Table, or --resume RUN.", code="source"
        )
    resolved = resolve(TrainConfig, *layers, {**settings, **names_of(module, augment)}, file=config)
    check_pretrained(resolved)
    check_semi(resolved.objective, resolved.semi)
    return start(new_folder(out, resolved.model.name, "run folder"), source, resolved, module, augment)


def start(folder: Path, source: Any, resolved: TrainConfig, module: Any = None, augment: Any = None) -> Run:
    """Begin a run in a folder that is there already; one that fails before its first step leaves nothing behind."""
    with locked(folder), begun_in(folder):
        tower = None
        if module is None:
            resolved = with_tower(resolved)
            module = tower = tower_of(resolved)
        resolved = with_defaults(resolved)
        table = open_table(source, resolved.data, resolved.labels)
        resolved = for_labels(resolved, several=table.task == "multilabel")
        write_atomic(folder / "config.toml", header("train", source) + dump_toml(resolved))
        keep(resolved.augment, folder, augment)
        check_choices(resolved, module)
        table = prepare(table, resolved)
        if tower is not None:
            check_texts(resolved, list(table.classes))
        table.save(folder / "table.parquet")
        if resolved.objective.name == "fixmatch":
            from anmok.stages.semi import lock_unlabeled

            lock_unlabeled(folder, resolved, table)
        return _learn(folder, resolved, module, augment)


def _resume(folder: Path, module: Any, image_root: str | None, augment: Any) -> Run:
    run = Run(folder, module)
    return go_on(
        run, image_root, "Train", lambda: _learn(folder, run.config, module, augment), lambda: Run(folder, module)
    )


def _learn(folder: Path, config: TrainConfig, module: Any, augment: Any = None) -> Run:
    if config.objective.name != "supervised":
        refuse_ranks(f"--objective {config.objective.name}")
    module = tower_of(config, module)
    if config.objective.name == "fixmatch":
        from anmok.stages.semi import learn
    else:
        from anmok.stages.learn import learn

    logged(folder, config, lambda events, stop: learn(folder, config, module, events, stop, augment))
    return Run(folder, module)
