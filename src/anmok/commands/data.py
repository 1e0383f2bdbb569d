"""The commands that look at images and prepare them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from anmok.commands.options import Batches, File, Images, Out, numbers, with_tree
from anmok.stages.bench_data_settings import BenchDataTree
from anmok.stages.config import AuditTree, SourceConfig
from anmok.stages.preview_settings import PreviewTree


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


@with_tree(SourceConfig)
def split(
    source: str, /, *, out: Annotated[Path, Parameter(name="--out", help="The table to write, .parquet.")],
    test: Annotated[float | None, Parameter(help="Share held out for the test.")] = None,
    val: Annotated[float | None, Parameter(help="Share for validation.")] = None,
    folds: Annotated[int | None, Parameter(help="Folds over all that is not test.")] = None,
    seed: Annotated[int | None, Parameter(help="Seed of the draw.")] = None,
    audit: Annotated[Path | None, Parameter(help="An audit of the source, whose decisions are carried out.")] = None,
    drop: Annotated[
        str | None, Parameter(help="Kinds of findings to drop, as in unreadable,exact-duplicate; or pseudo,generated.")
    ] = None,
    config: File = None, settings: dict[str, Any],
) -> None:  # fmt: skip
    """Divide images into train, val and test (or folds): stratified, identical files kept together."""
    from anmok.stages.split import split as stage

    short = {"test": test, "val": val, "folds": folds, "seed": seed}
    settings |= {f"split.{k}": v for k, v in short.items() if v is not None}
    kinds = tuple(kind.strip() for kind in (drop or "").split(",") if kind.strip())
    print(stage(source, out=out, audit=audit, drop=kinds, config=config, layers=(settings,)))


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


@bench.command(name="model", help="How fast each runtime here runs a model, and whether it answers the same.")
def bench_model(
    model: str, /, *, images: Images = None, batch: Batches = "1,32", threads: int | None = None,
    int8: Annotated[bool, Parameter(help="Measure int8 too.")] = True,
    image_size: Annotated[int | None, Parameter(help="Of a network by its name.")] = None,
    limit: Annotated[int, Parameter(help="Images on which answers are compared.")] = 400,
    seconds: Annotated[float, Parameter(help="Of each of five turns of every runtime.")] = 0.4,
    json: Annotated[bool, Parameter(name="--json", help="Print one JSON object instead.", negative="")] = False,
) -> None:  # fmt: skip
    """Time torch, ONNX Runtime and OpenVINO on a run, a model folder or a network's name."""
    from json import dumps

    from anmok.stages.bench_model import bench_model as stage

    speed = stage(
        model, images=images, batches=numbers(batch, "--batch"), threads=threads, int8=int8, image_size=image_size,
        limit=limit, seconds=seconds,
    )  # fmt: skip
    print(dumps(speed.to_dict(), indent=2) if json else speed)
