"""The commands that judge what was learned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from anmok.commands.options import File, Out, Resume, Source, Tta, TtaSeed, TtaWeights, with_tree
from anmok.stages.config import TrainConfig
from anmok.stages.inspect_settings import InspectTree


def evaluate(
    runs: Annotated[list[Path], Parameter(help="A run, or a .parquet or .csv of predictions; two are compared.")], /, *,
    split: Annotated[str | None, Parameter(help="train, val or test (default); looks at test are counted.")] = None,
    out: Annotated[Path | None, Parameter(help="Where to write the report, not in the run or by the file.")] = None,
    slices: Annotated[
        str | None, Parameter(help="Columns to score by, camera,folder,size,duplicates; default: what divides them.")
    ] = None,
    language: Annotated[str | None, Parameter(help="Of the report: en or ko; default: LANG's, else en.")] = None,
    tta: Tta = None, tta_weights: TtaWeights = "uniform", tta_seed: TtaSeed = 0,
) -> None:  # fmt: skip
    """Evaluate a run on its own test split, with intervals, baselines and a report; or compare two or more."""
    if len(runs) > 1:
        from anmok.core.errors import UsageError
        from anmok.stages.paired import paired

        if out is not None:
            raise UsageError("a comparison is printed, not written.", where="--out", code="out")
        if tta is not None:
            raise UsageError("views are for one run at a time.", where="--tta", code="setting")
        if slices is not None:
            raise UsageError("slices are of one run at a time.", where="--slices", code="setting")
        print(paired(runs, split=split))
        return
    from anmok.stages.evaluate import evaluate as stage
    from anmok.stages.evaluate_page import page_beside
    from anmok.stages.report import show

    (run,), split = runs, split or "test"
    if tta is not None or tta_weights != "uniform":
        from anmok.core.errors import UsageError
        from anmok.stages.tta_evaluate import evaluate_views

        if slices is not None:
            raise UsageError("an evaluation with views has no slices.", where="--slices", code="setting")
        found = evaluate_views(run, tta, split=split, tta_weights=tta_weights, tta_seed=tta_seed, out=out)
        print(found, found.path, sep="\n")
        return
    show(stage(run, split=split, out=out, slices=slices, language=language), language)
    if run.is_file():
        page = out or page_beside(run)
        if page.is_file():
            print(page)
    elif run.is_dir():
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
    delta: Annotated[float, Parameter(help="Share of validation sets that may break what they promise.")] = 0.1,
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
    resume: Resume = None, settings: dict[str, Any],
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
