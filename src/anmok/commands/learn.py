"""The commands that learn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from anmok.commands.options import File, Out, Resume, Source, check_ranks, with_tree
from anmok.stages.auto_settings import AutoTree
from anmok.stages.compare_settings import CompareTree
from anmok.stages.find_lr_settings import FindLrTree
from anmok.stages.image_text_settings import TrainTree
from anmok.stages.pretrain_settings import PretrainConfig
from anmok.stages.tune_settings import TuneTree


@with_tree(TrainTree)
def train(
    source: Source = None, /, *, out: Out = None, config: File = None, resume: Resume = None,
    ranks: Annotated[
        int, Parameter(name="--ranks", help="Processes of this machine that learn together as one run.")
    ] = 1,
    settings: dict[str, Any],
) -> None:  # fmt: skip
    """Train a classifier, or a dual encoder: data in, a run folder with model and report out."""
    check_ranks(ranks)
    from anmok.stages.train import train as stage

    run = stage(source, resume=resume, out=out, config=config, layers=(settings,))
    print(f"{run.path}/report.html")
    print(f"next: {run.next}")


@with_tree(PretrainConfig)
def pretrain(
    source: Source = None, /, *, out: Out = None, config: File = None,
    resume: Resume = None, settings: dict[str, Any],
) -> None:  # fmt: skip
    """Learn from images alone: a run whose encoder other trainings start from."""
    from anmok.stages.pretrain import pretrain as stage

    run = stage(source, resume=resume, out=out, config=config, layers=(settings,))
    print(f"{run.path}/report.html")
    print(f"next: anmok train DATA --model {run.config.model.name} --weights {run.path}")


@with_tree(CompareTree)
def compare(
    source: Source = None, /, *, out: Out = None, config: File = None,
    resume: Resume = None, settings: dict[str, Any],
) -> None:  # fmt: skip
    """Which model, for these data, on this machine: same split, same time, measured."""
    from anmok.stages.compare import compare as stage

    found = stage(source, resume=resume, out=out, config=config, layers=(settings,))
    print(found)
    print(f"{found.path}/report.html")


def models(
    pattern: Annotated[str, Parameter(help="A name; * and ? stand for anything.")] = "*", /, *,
    everything: Annotated[bool, Parameter(name="--all", help="Every match, not the first 40.", negative="")] = False,
) -> None:  # fmt: skip
    """List the networks a pattern means: family, parameters, GMACs, input size, weights and licence, cached or not."""
    from anmok.stages.models import models as stage

    print(stage(pattern, everything))


@with_tree(TuneTree)
def tune(
    source: Source = None, /, *, out: Out = None, config: File = None,
    resume: Resume = None, settings: dict[str, Any],
) -> None:  # fmt: skip
    """Search for the rate, decay, augmentation or network that suits the data, by successive halving in a time."""
    from anmok.stages.tune import tune as stage

    found = stage(source, resume=resume, out=out, config=config, layers=(settings,))
    print(found)
    print(f"{found.path}/halving.png")
    if (found.path / "search.png").is_file():
        print(f"{found.path}/search.png")
    print(f"next: anmok train {'DATA' if source is None else source} --config {found.path}/best.toml")


@with_tree(FindLrTree)
def find_lr(source: Source = None, /, *, out: Out = None, config: File = None, settings: dict[str, Any]) -> None:
    """Find a learning rate: the loss while the rate grows, one batch a step (Smith 2017, arXiv:1506.01186)."""
    from anmok.stages.find_lr import find_lr as stage

    found = stage(source, out=out, config=config, layers=(settings,))
    print(found)
    print(f"{found.path}/lr.png")
    print(f"next: anmok train {'DATA' if source is None else source} {found.flags}, and what else was set here")


@with_tree(AutoTree)
def auto(
    source: Source = None, /, *, out: Out = None, config: File = None,
    resume: Resume = None, settings: dict[str, Any],
) -> None:  # fmt: skip
    """The best model for the time: audit, split, candidates by measured promise, ensemble, decision, report."""
    from anmok.stages.auto import auto as stage

    found = stage(source, resume=resume, out=out, config=config, layers=(settings,))
    print(found)
    print(f"{found.path}/report.html")
    print(f"next: anmok predict {found.best.path} IMAGES")


def demo(
    *, out: Annotated[Path, Parameter(name="--out", help="The run folder; replaced each time.")] = Path("runs/demo")
) -> None:
    """The whole job on real handwritten digits: audit, split, train, evaluate, predict, report."""
    from anmok.stages.demo import demo as stage

    stage(out)


def convert(
    file: Path, /, *,
    out: Annotated[
        Path | None, Parameter(name="--out", help="The .safetensors file to write; default: beside the file.")
    ] = None,
    trust: Annotated[bool, Parameter(help="Read the pickle, in a process of its own.", negative="")] = False,
) -> None:  # fmt: skip
    """Turn pickled weights (.pth, .pt, .bin) from a source you trust into .safetensors."""
    from anmok.deploy.convert import convert as stage

    print(stage(file, out, trust))
