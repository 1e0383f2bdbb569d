"""`anmok train PAIRS --objective image-text`: from images with captions to a dual encoder of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.augment.accept import keep
from anmok.core.config import dump_toml
from anmok.core.errors import DataError, UsageError
from anmok.core.files import locked, read_json, write_atomic
from anmok.core.optional import need
from anmok.data.captions import open_pairs
from anmok.data.split import split_table
from anmok.data.table import Table, split_counts
from anmok.stages.choices import check_choices
from anmok.stages.image_text_settings import ImageTextConfig, read_pairs, resolve_pairs
from anmok.stages.run import Run
from anmok.stages.run_calls import go_on, logged, names_of, resumed_root, take_objects
from anmok.stages.run_folder import begun_in, header, new_folder

if TYPE_CHECKING:
    from anmok.models.two_towers import TwoTowers


class ImageTextRun(Run):
    """A run of `train(objective='image-text')`: as any other, but with a dual encoder for a model."""

    @cached_property
    def config(self) -> ImageTextConfig:  # type: ignore[override]
        """The complete configuration."""
        return read_pairs(self.path / "config.toml")

    @property
    def next(self) -> str:
        """The command that a user wants after the training."""
        return f'anmok search IMAGES --query "a text" --model {self.path}'

    def load_model(self, device: str = "cpu") -> TwoTowers:  # type: ignore[override]
        """The dual encoder.  DataError if the run has not come that far."""
        need("torch", "train")
        from anmok.deploy.dual import load_dual

        if not (self.path / "model").is_dir():
            raise DataError(
                "this run has no model yet: it was stopped before the end.", where=str(self.path), code="unfinished",
                remedy=f"Go on with: anmok train --resume {self.path}",
            )  # fmt: skip
        return load_dual(self.path, module=self._module, device=device)

    @property
    def retrieval(self) -> dict[str, Any]:
        """What retrieval.json says: recall both ways on validation pairs, with intervals and chance."""
        found: dict[str, Any] = read_json(self.path / "retrieval.json")
        return found

    def __repr__(self) -> str:
        state = "finished" if self.finished else "not finished"
        last = self.history[-1] if self.history else {}
        scores = "  ".join(f"{k} {v:.4f}" for k, v in (last.get("val") or {}).items())
        head = f"Run {self.path} (image-text, {self.config.model.name}, {state})"
        return f"{head}\n  {len(self.history)} epochs  {scores}".rstrip()


def image_text(
    source: Any = None, *, resume: Path | str | None = None, out: Path | str | None = None,
    config: Path | str | None = None, layers: tuple[Mapping[str, Any], ...] = (), **settings: Any,
) -> ImageTextRun:  # fmt: skip
    """Train a dual encoder on pairs of an image and a caption, and return its run.

    source: see `open_pairs`: a CSV or Parquet with a column `caption`, or a folder of images with .txt files of the
    same names. Everything else as in `train`; pairs={'loss': 'sigmoid'}, text={'width': 256}, …. Nothing is flipped
    unless augment.hflip says so, as captions may speak of left and right.

    UsageError, DataError, MachineError as the messages say; Interrupted when a signal ended it resumably.
    """
    need("torch", "train")
    from anmok.stages.pixels import check_pretrained

    module, augment = take_objects(settings)
    if resume is not None:
        return _resume(Path(resume), module, resumed_root(source, config, *layers, settings), augment)
    if source is None:
        raise UsageError(
            "nothing to learn from.", code="source",
            remedy="Give a CSV or Parquet with image and caption, a folder of images with .txt files, or --resume RUN.",
        )  # fmt: skip
    resolved = resolve_pairs(*layers, {**settings, **names_of(module, augment)}, file=config)
    check_pretrained(resolved)
    folder = new_folder(out, resolved.model.name, "run folder")
    with locked(folder), begun_in(folder):
        write_atomic(folder / "config.toml", header("train", source) + dump_toml(resolved))
        keep(resolved.augment, folder, augment)
        table = open_pairs(source, resolved.data, resolved.labels, resolved.pairs.caption_column)
        check_choices(resolved, module)
        prepare_pairs(table, resolved).save(folder / "table.parquet")
        return _learn(folder, resolved, module, augment)


def prepare_pairs(table: Table, config: ImageTextConfig) -> Table:
    """The table that a run locks, split.  DataError where there are not two different captions to tell apart."""
    import polars as pl

    table = split_table(table, config.split)
    if split_counts(table).get("train", 0) < 2:
        raise DataError("fewer than two pairs are left to learn from.", remedy="Check the split.", code="empty-table")
    train = table.where(split="train").rows["caption"].explode()
    if train.n_unique() < 2:
        raise DataError(
            "all captions are the same; there is nothing to tell apart.", where=str(table.root), code="caption"
        )
    return table._with(rows=table.rows.with_columns(pl.col("caption").cast(pl.List(pl.String))))


def _resume(folder: Path, module: Any, image_root: str | None, augment: Any) -> ImageTextRun:
    run = ImageTextRun(folder, module)
    return go_on(
        run, image_root, "Train", lambda: _learn(folder, run.config, module, augment),
        lambda: ImageTextRun(folder, module),
    )  # fmt: skip


def _learn(folder: Path, config: ImageTextConfig, module: Any, augment: Any = None) -> ImageTextRun:
    from anmok.stages.image_text_learn import learn

    logged(folder, config, lambda events, stop: learn(folder, config, module, events, stop, augment))
    return ImageTextRun(folder, module)
