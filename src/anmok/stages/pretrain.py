"""`anmok pretrain`: from images, with or without labels, to a run whose encoder other trainings start from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from anmok.augment.accept import keep, name_for
from anmok.augment.config import AugmentConfig
from anmok.core.config import dump_toml
from anmok.core.errors import DataError, UsageError
from anmok.core.files import locked, write_atomic
from anmok.core.optional import need
from anmok.data.sources import open_table
from anmok.data.split import split_table
from anmok.data.table import Table, split_counts
from anmok.stages.choices import check_choices
from anmok.stages.pretrain_settings import PretrainConfig, contrastive_default, read_pretrain, resolve_pretrain
from anmok.stages.run import Run
from anmok.stages.run_calls import go_on, logged, names_of, resumed_root, take_objects
from anmok.stages.run_folder import begun_in, header, new_folder


class PretrainRun(Run):
    """A run of `anmok pretrain`: as any other, but with an encoder in the place of a model."""

    @cached_property
    def config(self) -> PretrainConfig:  # type: ignore[override]
        """The complete configuration."""
        return read_pretrain(self.path / "config.toml")

    @property
    def encoder(self) -> Path:
        """The encoder's folder, for `--weights`.  DataError if the run has not come that far."""
        folder = self.path / "encoder"
        if not folder.is_dir():
            raise DataError(
                "this run has no encoder yet: it was stopped before the end.", where=str(self.path), code="unfinished",
                remedy=f"Go on with: anmok pretrain --resume {self.path}",
            )  # fmt: skip
        return folder

    def __repr__(self) -> str:
        state = "finished" if self.finished else "not finished"
        head = f"Run {self.path} ({self.config.objective.name}, {self.config.model.name}, {state})"
        last = self.history[-1] if self.history else {}
        scores = "  ".join(f"{k} {v:.4f}" for k, v in (last.get("val") or {}).items())
        return f"{head}\n  {len(self.history)} epochs  {scores}".rstrip()


def pretrain(
    source: Any = None, *, resume: Path | str | None = None, out: Path | str | None = None,
    config: Path | str | None = None, layers: tuple[Mapping[str, Any], ...] = (), **settings: Any,
) -> PretrainRun:  # fmt: skip
    """Learn a representation from images alone and return the run, whose `encoder` is a source of weights.

    source: anything `anmok.open` takes; labels are not needed, and ignored but for probes and for contrastive learning
    with `objective.labels`. Everything else as in `train`: objective='rotation', model='resnet18', epochs=100, ….

    UsageError, DataError, MachineError as the messages say; Interrupted when a signal ended it resumably.
    """
    need("torch", "train")
    from anmok.stages.pixels import check_pretrained

    module, augment = take_objects(settings)
    if resume is not None:
        return _resume(Path(resume), module, resumed_root(source, config, *layers, settings), augment)
    if source is None:
        raise UsageError(
            "nothing to learn from.", remedy="Give a folder, CSV, Parquet or Table, or --resume RUN.", code="source"
        )
    resolved, said = resolve_pretrain(*layers, {**settings, **names_of(module, augment)}, file=config)
    check_pretrained(resolved)
    return _start(
        new_folder(out, resolved.model.name, "run folder"), source, resolved, "augment" in said, module, augment
    )


def _start(
    folder: Path, source: Any, config: PretrainConfig, augmented: bool, module: Any, augment: Any
) -> PretrainRun:
    """Begin a run in a folder that is there already; one that fails before its first step leaves nothing behind."""
    with locked(folder), begun_in(folder):
        table = open_table(source, config.data, config.labels)
        check_choices(config, module)
        policy = augment
        if config.objective.name == "contrastive" and not augmented:
            depth = 1 if config.preprocess.channels == "gray" else 3
            policy = contrastive_default(image_size(config, module), depth)
            config = config.model_copy(update={"augment": AugmentConfig(policy=name_for(policy))})
        write_atomic(folder / "config.toml", header("pretrain", source) + dump_toml(config))
        keep(config.augment, folder, policy)
        prepare(table, config).save(folder / "table.parquet")
        return _learn(folder, config, module, augment)


def image_size(config: PretrainConfig, module: Any = None) -> int:
    """Side of the images that the network will see, pixels."""
    from anmok.models.networks import own_size

    return config.preprocess.image_size or (224 if module is not None else own_size(config.model.name))


def prepare(table: Table, config: PretrainConfig) -> Table:
    """The table that a run locks: split, with or without labels.  DataError where nothing is left to learn from."""
    if config.objective.labels and (not table.classes or table.task == "multilabel"):
        what = "have several labels each" if table.classes else "have no labels"
        raise DataError(
            f"the images {what}, and objective.labels asks which belong together.", where=str(table.root),
            remedy="Leave --objective.labels out.", code="unlabelled",
        )  # fmt: skip
    table = split_table(table, config.split)
    if split_counts(table).get("train", 0) < 2:
        raise DataError("fewer than two images are left to learn from.", remedy="Check the split.", code="empty-table")
    return table


def _resume(folder: Path, module: Any, image_root: str | None, augment: Any) -> PretrainRun:
    run = PretrainRun(folder, module)
    return go_on(
        run, image_root, "Pretrain", lambda: _learn(folder, run.config, module, augment),
        lambda: PretrainRun(folder, module),
    )  # fmt: skip


def _learn(folder: Path, config: PretrainConfig, module: Any, augment: Any = None) -> PretrainRun:
    from anmok.stages.pretrain_learn import learn

    logged(folder, config, lambda events, stop: learn(folder, config, module, events, stop, augment))
    return PretrainRun(folder, module)
