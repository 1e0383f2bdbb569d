"""`anmok find-lr`: a learning rate from one short sweep of the training that is asked for.

Smith 2017, arXiv:1506.01186. The network, the batches with their augmentation, the loss and the optimizer are those of
`anmok train`; what the sweep makes of the network is thrown away.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.core.config import dump_toml, resolve
from anmok.core.errors import UsageError
from anmok.core.files import locked, write_atomic
from anmok.core.optional import need
from anmok.data.sources import open_table
from anmok.stages.choices import check_choices
from anmok.stages.defaults import at_rate, base_rate, for_labels, is_set, with_defaults
from anmok.stages.find_lr_settings import FindLrTree
from anmok.stages.prepare import prepare
from anmok.stages.run_folder import begun_in, header, new_folder

if TYPE_CHECKING:
    from anmok.engine.find_lr import Suggestion
    from anmok.stages.job import Job

CSV = "lr.csv"


class FoundLr:
    """A sweep's folder: lr.csv with the losses, lr.png, and the rates that they suggest."""

    def __init__(self, path: Path | str):
        self.path = Path(path)
        if not (self.path / CSV).is_file():
            raise UsageError(
                "no learning rate was sought here.", where=str(path), code="run",
                remedy="Expected a folder that `anmok find-lr` wrote.",
            )  # fmt: skip

    @cached_property
    def config(self) -> FindLrTree:
        """What it was told."""
        return resolve(FindLrTree, file=self.path / "config.toml")

    @cached_property
    def curve(self) -> dict[str, list[float]]:
        """The columns of lr.csv: step, lr, loss, smoothed."""
        import polars as pl

        return {name: column.to_list() for name, column in pl.read_csv(self.path / CSV).to_dict().items()}

    @cached_property
    def suggestion(self) -> Suggestion:
        """The rates read off the curve."""
        from anmok.engine.find_lr import suggest

        return suggest(self.curve["lr"], self.curve["loss"], self.config.steps)

    @property
    def lr(self) -> float:
        """The rate that is recommended."""
        return self.suggestion.tenth

    @property
    def flags(self) -> str:
        """The options with which `anmok train` takes the rate."""
        optim = at_rate(self.config, self.lr).optim
        return f"--optim.lr {self.lr:g}" + (f" --optim.aux-lr {optim.aux_lr:g}" if optim.name == "muon" else "")

    def __repr__(self) -> str:
        found, done = self.suggestion, len(self.curve["lr"])
        last = self.curve["lr"][-1]
        ended = f"to {last:.2g}" if done == self.config.steps else f"until the loss diverged at {last:.2g}"
        lines = [
            f"FoundLr {self.path}: {done} steps from {self.curve['lr'][0]:.2g}, {ended}",
            f"  where the loss falls fastest  {found.steepest:g}",
            f"  a tenth of {f'{found.minimum:g}, its lowest':<18} {found.tenth:g}  (recommended)",
        ]  # fmt: skip
        if found.falling:
            lines.append("  the loss still fell at the end: the minimum may lie higher; --highest goes further")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"


def find_lr(
    source: Any = None, *, out: Path | str | None = None, config: Path | str | None = None,
    layers: tuple[Mapping[str, Any], ...] = (), **settings: Any,
) -> FoundLr:  # fmt: skip
    """Sweep the learning rate over up to `steps` batches of the training split and return the FoundLr.

    source: anything `anmok.open` takes. out: the folder for lr.csv and lr.png, which must not exist yet (default:
    runs/find-lr-N). config, settings: as `train` takes them, and those of FindLrTree (lowest=1e-7, highest=10); no plan
    is measured unless it is asked for. Shares of the rate (optim.layer_decay, muon's aux_lr) grow together.

    UsageError and DataError as the messages say; DataError (code flat) where the loss falls at no rate.
    """
    need("torch", "train")
    from anmok.stages.pixels import check_pretrained

    if source is None:
        raise UsageError("nothing to learn from.", remedy="Give a folder, CSV, Parquet or Table.", code="source")
    resolved = with_defaults(short(resolve(FindLrTree, *layers, settings, file=config)))
    check_pretrained(resolved)
    folder = new_folder(out, "find-lr", "folder")
    with locked(folder), begun_in(folder):
        table = open_table(source, resolved.data, resolved.labels)
        resolved = for_labels(resolved, several=table.task == "multilabel")
        write_atomic(folder / "config.toml", header("find-lr", source) + dump_toml(resolved))
        check_choices(resolved)
        table = prepare(table, resolved)
        table.save(folder / "table.parquet")
        images = len(table.labelled().where(split="train"))
        return _found(
            folder, resolved.model_copy(update={"epochs": -(-resolved.steps * resolved.batch_size // images)})
        )


def short(config: FindLrTree) -> FindLrTree:
    """The settings of a sweep: no plan unless it is asked for, and no length of a training."""
    runtime = config.runtime
    if not is_set(config, "runtime.plan"):
        runtime = runtime.model_copy(update={"plan": "none"})
    return config.model_copy(update={"runtime": runtime, "epochs": None, "minutes": None})


def _found(folder: Path, config: FindLrTree) -> FoundLr:
    import polars as pl

    from anmok.engine.find_lr import geometric, smoothed, suggest
    from anmok.report.figures import save_png
    from anmok.report.lr_curve import lr_curve
    from anmok.stages.learn import set_up

    job = set_up(folder, config, None)
    rates = geometric(config.lowest, config.highest, config.steps)
    try:
        losses = _losses(job, config, rates)
    finally:
        job.train.close()
        if job.val is not None:
            job.val.close()
    suggestion = suggest(rates, losses, config.steps)
    curve = smoothed(losses).tolist()
    steps = range(1, len(losses) + 1)
    frame = pl.DataFrame({"step": steps, "lr": rates[: len(losses)], "loss": losses, "smoothed": curve})
    write_atomic(folder / CSV, frame.write_csv)
    save_png(lr_curve(frame.to_dicts(), suggestion.steepest, suggestion.minimum, suggestion.tenth), folder / "lr.png")
    return FoundLr(folder)


def _losses(job: Job, config: FindLrTree, rates: list[float]) -> list[float]:
    """The sweep, on the run's own learner and optimizer."""
    from anmok.engine.find_lr import sweep

    if job.begin is not None:
        job.begin(0)
    whole = min(config.batch_size, len(job.train.table))
    parts = max(config.optim.accumulate, job.plan.parts)
    return sweep(
        job.learner, job.optimizer, job.train, job.runtime, base_rate(config), rates, whole=whole, accumulate=parts,
        clip=config.optim.clip,
    )  # fmt: skip
