"""The commands: thin functions over the stages, with every setting of the configuration tree as an option."""

from __future__ import annotations

import inspect as signatures
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Group, Parameter

from anmok.core.config import Config, Leaf, leaves
from anmok.stages.bench_data_settings import BenchDataTree
from anmok.stages.compare_settings import CompareTree
from anmok.stages.config import AuditTree, SourceConfig, TrainConfig
from anmok.stages.inspect_settings import InspectTree
from anmok.stages.predict_settings import PredictTree
from anmok.stages.pretrain_settings import PretrainConfig
from anmok.stages.preview_settings import PreviewTree
from anmok.stages.tune_settings import TuneTree


def leaf_parameter(leaf: Leaf) -> signatures.Parameter:
    """One setting of the tree as an option; its value stays text, so that `resolve` explains what is wrong with it."""
    kind = leaf.type
    if kind is bool or bool in typing.get_args(kind):
        annotation: Any = bool
    elif typing.get_origin(kind) is list:
        annotation = list[str]
    else:
        annotation = str
    default = "" if leaf.default is None or leaf.default == [] else f" [default: {shown(leaf.default)}]"
    choices = f" [{' | '.join(options(kind))}]" if options(kind) else ""
    names = [f"--{leaf.path.replace('_', '-')}"]
    if leaf.short:
        names.insert(0, f"--{leaf.short.replace('_', '-')}")
    section = leaf.path.partition(".")[0] if "." in leaf.path and not leaf.short else ""
    group = Group(section.capitalize(), sort_key=10) if section else Group("General", sort_key=5)
    parameter = Parameter(
        name=names, help=f"{leaf.help}{choices}{default}", show_default=False, negative_iterable="", group=group
    )
    name = leaf.path.replace(".", "__")
    return signatures.Parameter(
        name, signatures.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[annotation | None, parameter]
    )


def shown(value: Any) -> str:
    """A default as it would be typed."""
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def options(kind: Any) -> list[str]:
    """The allowed words of a Literal type."""
    if typing.get_origin(kind) is typing.Literal:
        return [str(a) for a in typing.get_args(kind)]
    return [o for a in typing.get_args(kind) for o in options(a)] if isinstance(kind, types.UnionType) else []


def with_tree(tree: type[Config]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command every setting of a tree as an option; it receives those that were set as `settings`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = signatures.signature(command, eval_str=True)
        extra = [leaf_parameter(leaf) for leaf in leaves(tree)]
        paths = {p.name: p.name.replace("__", ".") for p in extra}

        def run(*args: Any, **kwargs: Any) -> None:
            settings = {path: kwargs.pop(name, None) for name, path in paths.items()}
            command(*args, settings={k: v for k, v in settings.items() if v is not None}, **kwargs)

        mine = [p for p in own.parameters.values() if p.name != "settings"]
        run.__signature__ = own.replace(parameters=[*mine, *extra])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in [*mine, *extra]}
        run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
        return run

    return decorate


Source = Annotated[str | None, Parameter(help="A folder, CSV, Parquet, tar, zip or table of images.")]
Out = Annotated[Path | None, Parameter(name="--out", help="Where to write; must not exist yet.")]
File = Annotated[Path | None, Parameter(name="--config", help="A TOML file with settings; a flag wins over it.")]


@with_tree(TrainConfig)
def train(
    source: Source = None, /, *, out: Out = None, config: File = None,
    resume: Annotated[Path | None, Parameter(name="--resume", help="Go on with this run instead.")] = None,
    settings: dict[str, Any],
) -> None:  # fmt: skip
    """Train a classifier: data in, a run folder with model, predictions and report out."""
    from anmok.stages.train import train as stage

    run = stage(source, resume=resume, out=out, config=config, layers=(settings,))
    print(f"{run.path}/report.html")
    print(f"next: anmok evaluate {run.path}")


@with_tree(PretrainConfig)
def pretrain(
    source: Source = None, /, *, out: Out = None, config: File = None,
    resume: Annotated[Path | None, Parameter(name="--resume", help="Go on with this run instead.")] = None,
    settings: dict[str, Any],
) -> None:  # fmt: skip
    """Learn from images alone: a run whose encoder other trainings start from."""
    from anmok.stages.pretrain import pretrain as stage

    run = stage(source, resume=resume, out=out, config=config, layers=(settings,))
    print(f"{run.path}/report.html")
    print(f"next: anmok train DATA --model {run.config.model.name} --weights {run.path}")


@with_tree(CompareTree)
def compare(
    source: Source = None, /, *, out: Out = None, config: File = None,
    resume: Annotated[Path | None, Parameter(name="--resume", help="Go on with this comparison instead.")] = None,
    settings: dict[str, Any],
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
    resume: Annotated[Path | None, Parameter(name="--resume", help="Go on with this search instead.")] = None,
    settings: dict[str, Any],
) -> None:  # fmt: skip
    """Search for the augmentation that suits the data, by successive halving within a fixed time."""
    from anmok.stages.tune import tune as stage

    found = stage(source, resume=resume, out=out, config=config, layers=(settings,))
    print(found)
    print(f"{found.path}/halving.png")
    print(f"next: anmok train {'DATA' if source is None else source} --config {found.path}/best.toml")


def evaluate(
    runs: Annotated[list[Path], Parameter(help="A run, or a .parquet or .csv of predictions; two are compared.")], /, *,
    split: Annotated[str | None, Parameter(help="train, val or test (default); looks at test are counted.")] = None,
    out: Annotated[Path | None, Parameter(help="Where to write the report instead of into the run.")] = None,
) -> None:  # fmt: skip
    """Evaluate a run on its own test split, with intervals, baselines and a report; or compare two or more."""
    if len(runs) > 1:
        from anmok.core.errors import UsageError
        from anmok.stages.paired import paired

        if out is not None:
            raise UsageError("a comparison is printed, not written.", where="--out", code="out")
        print(paired(runs, split=split))
        return
    from anmok.stages.evaluate import evaluate as stage
    from anmok.stages.report import show

    (run,), split = runs, split or "test"
    show(stage(run, split=split, out=out))
    if run.is_dir():
        print(out or run / ("report.html" if split == "val" else f"report-{split}.html"))


def decide(
    run: Annotated[Path, Parameter(help="A run, or an ensemble.")], /, *,
    cost: Annotated[
        str | None, Parameter(name=["--cost", "--costs"], help="fp=1,fn=50, or a CSV: K × K or label,fp,fn.")
    ] = None,
    positive: Annotated[str | None, Parameter(help="The class that fp, fn and promises are about.")] = None,
    at_least: Annotated[str | None, Parameter(help="Promise precision=0.95,recall=0.99, or one of them.")] = None,
    abstain: Annotated[float | None, Parameter(help="Share of images, the least certain, left to a person.")] = None,
    prevalence: Annotated[str | None, Parameter(help="How frequent classes are in use: thief=0.001.")] = None,
    delta: Annotated[float, Parameter(help="How probable a broken promise may be.")] = 0.1,
    calibrate: Annotated[str, Parameter(help="auto, none, temperature, vector or isotonic.")] = "auto",
) -> None:  # fmt: skip
    """Turn what mistakes cost into a decision: calibrated, fitted on validation, written into the model."""
    from anmok.stages.decide import decide as stage

    print(
        stage(
            run, cost=cost, positive=positive, at_least=at_least, abstain=abstain, prevalence=prevalence, delta=delta,
            calibrate=calibrate,
        )
    )  # fmt: skip


def ensemble(
    members: Annotated[list[Path], Parameter(help="Two runs or more, of the same split.")], /, *,
    how: Annotated[
        str, Parameter(help="soft, hard, weighted, greedy, stack; of one network also soup, greedy-soup.")
    ] = "soft",
    out: Out = None,
) -> None:  # fmt: skip
    """Make one run of several: it predicts, evaluates and decides; its latency is said beside its gain."""
    from anmok.stages.ensemble import ensemble as stage

    made = stage(members, how=how, out=out)
    print(made)
    print(f"next: anmok evaluate {made.path}")


@with_tree(TrainConfig)
def crossval(
    source: Source = None, /, *, out: Out = None, config: File = None,
    folds: Annotated[int, Parameter(help="Folds over all that is not test.")] = 5,
    resume: Annotated[Path | None, Parameter(name="--resume", help="Go on with this cross-validation.")] = None,
    settings: dict[str, Any],
) -> None:  # fmt: skip
    """Cross-validate: a run for each fold, out-of-fold predictions of every image, one ensemble of all."""
    from anmok.stages.crossval import crossval as stage

    found = stage(source, folds=folds, resume=resume, out=out, config=config, layers=(settings,))
    print(found)
    print(f"{found.path}/report.html")


def runs(folder: Annotated[Path, Parameter(help="Where to look.")] = Path("runs"), /) -> None:
    """List the runs of a folder: network, data, scores with intervals, date and size."""
    from anmok.stages.runs import runs as stage

    print(stage(folder))


def diff(a: Path, b: Path, /) -> None:
    """What differs between two runs: configuration, data and scores."""
    from anmok.stages.diff import diff as stage

    print(stage(a, b))


@with_tree(InspectTree)
def inspect(
    model: Annotated[Path, Parameter(help="A run, or a model folder.")], /, *,
    images: Annotated[
        list[str] | None,
        Parameter(
            name="--images", help="Images or sources of images to look at, instead of validation images.",
            consume_multiple=True, negative_iterable="",
        ),
    ] = None,
    out: Annotated[Path | None, Parameter(name="--out", help="The folder to write; default: RUN/inspect.")] = None,
    config: File = None, threads: int | None = None, device: str = "cpu", settings: dict[str, Any],
) -> None:  # fmt: skip
    """See what a model looks at and how it represents the data: pictures and one report."""
    from anmok.stages.inspect import inspect as stage

    found = stage(model, images, out, device=device, threads=threads, config=config, layers=(settings,))
    print(found)
    print(f"{found.path}/inspect.html")


@with_tree(PredictTree)
def predict(
    model: Path, source: str, /, *, out: Out = None,
    top_k: Annotated[int | None, Parameter(help="Columns with the k best labels.")] = None,
    sort_into: Annotated[Path | None, Parameter(help="Copy each image into a folder named by its label.")] = None,
    template: Annotated[Path | None, Parameter(help="A sample submission to fill in.")] = None,
    batch_size: int = 32, threads: int | None = None, device: str = "cpu", settings: dict[str, Any],
) -> None:  # fmt: skip
    """Predict images with a run or a model folder, into a .csv or .parquet file."""
    from anmok.stages.predict import predict as stage

    predictions = stage(
        model, source, out=out, top_k=top_k, sort_into=sort_into, template=template, batch_size=batch_size,
        threads=threads, device=device, layers=(settings,),
    )  # fmt: skip
    print(out if out else predictions)
    if sort_into:
        print(sort_into)


@with_tree(SourceConfig)
def split(
    source: str, /, *, out: Annotated[Path, Parameter(name="--out", help="The table to write, .parquet.")],
    test: Annotated[float | None, Parameter(help="Share held out for the test.")] = None,
    val: Annotated[float | None, Parameter(help="Share for validation.")] = None,
    folds: Annotated[int | None, Parameter(help="Folds over all that is not test.")] = None,
    seed: Annotated[int | None, Parameter(help="Seed of the draw.")] = None,
    audit: Annotated[Path | None, Parameter(help="An audit of the source, whose decisions are carried out.")] = None,
    drop: Annotated[str | None, Parameter(help="Kinds of findings to drop, as in unreadable,exact-duplicate.")] = None,
    config: File = None, settings: dict[str, Any],
) -> None:  # fmt: skip
    """Divide images into train, val and test (or folds): stratified, identical files kept together."""
    from anmok.stages.split import split as stage

    short = {"test": test, "val": val, "folds": folds, "seed": seed}
    settings |= {f"split.{k}": v for k, v in short.items() if v is not None}
    kinds = tuple(kind.strip() for kind in (drop or "").split(",") if kind.strip())
    print(stage(source, out=out, audit=audit, drop=kinds, config=config, layers=(settings,)))


@with_tree(AuditTree)
def audit(
    source: str, /, *, out: Out = None, config: File = None,
    suspect_labels: Annotated[bool, Parameter(help="Judge the labels too, by models made in folds.")] = False,
    predictions: Annotated[
        Path | None, Parameter(help="Judge the labels by this run's or file's predictions instead.")
    ] = None,
    threads: int | None = None, settings: dict[str, Any],
) -> None:  # fmt: skip
    """Look at every image: what is there, what is wrong with it. Exit 3 if training on it would be unsafe."""
    from anmok.stages.audit import audit as stage
    from anmok.stages.audit import unsafe

    result = stage(
        source, out=out, config=config, layers=(settings,), threads=threads, suspect_labels=suspect_labels,
        predictions=predictions,
    )  # fmt: skip
    print(result)
    if out is not None:
        print(f"{out}/report.html")
    if reason := unsafe(result):
        print(f"unsafe to train on: {reason}", file=sys.stderr)
        raise SystemExit(3)


@with_tree(PreviewTree)
def preview(
    source: str, /, *,
    out: Annotated[Path, Parameter(name="--out", help="The .png, .webp or .jpg to write; must not exist yet.")],
    config: File = None, settings: dict[str, Any],
) -> None:  # fmt: skip
    """See what a preparation and an augmentation do to some of the images, on one sheet."""
    from anmok.stages.preview import preview as stage

    stage(source, out, config=config, layers=(settings,))
    print(out)


bench = App(name="bench", help_format="plaintext")  # measurements of the user's own data and models


@bench.command(name="data", help="How fast training gets its batches here: is the data the bottleneck?")
@with_tree(BenchDataTree)
def bench_data(
    source: str, /, *,
    json: Annotated[bool, Parameter(name="--json", help="Print one JSON object instead.", negative="")] = False,
    config: File = None, settings: dict[str, Any],
) -> None:  # fmt: skip
    """Run the loader of training over the data, without a model, and say how fast it is."""
    from json import dumps

    from anmok.stages.bench_data import bench_data as stage

    speed = stage(source, config=config, layers=(settings,))
    print(dumps(speed.to_dict(), indent=2) if json else speed)


def doctor() -> None:
    """What this machine has: device, threads, precisions, versions, caches."""
    from anmok.stages.doctor import examine

    rows = examine()
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")


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
