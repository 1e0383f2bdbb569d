"""The commands that use a model, and the machine it runs on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from anmok.commands.options import Batches, Images, Out, Tta, TtaSeed, TtaWeights, numbers, with_tree
from anmok.stages.predict_settings import PredictTree


@with_tree(PredictTree)
def predict(
    model: Path, source: str, /, *, out: Out = None,
    top_k: Annotated[int | None, Parameter(help="Columns with the k best labels.")] = None,
    sort_into: Annotated[Path | None, Parameter(help="Copy each image into a folder named by its label.")] = None,
    template: Annotated[Path | None, Parameter(help="A sample submission to fill in.")] = None,
    tta: Tta = None, tta_weights: TtaWeights = "uniform", tta_seed: TtaSeed = 0,
    batch_size: int = 32, threads: int | None = None, device: str = "cpu",
    runtime: Annotated[str, Parameter(help="auto: what is fastest here, of an exported folder; or torch.")] = "auto",
    settings: dict[str, Any],
) -> None:  # fmt: skip
    """Predict images with a run or a model folder, into a .csv or .parquet file."""
    from anmok.stages.predict import predict as stage

    predictions = stage(
        model, source, out=out, top_k=top_k, sort_into=sort_into, template=template, batch_size=batch_size,
        threads=threads, device=device, tta=tta, tta_weights=tta_weights, tta_seed=tta_seed, runtime=runtime,
        keep=out is None, layers=(settings,),
    )  # fmt: skip
    print(out if out else predictions)
    if sort_into:
        print(sort_into)


def export(
    model: Path, /, *, out: Annotated[Path, Parameter(name="--out", help="The model folder; must not exist yet.")],
    formats: Annotated[str, Parameter(help="onnx, or onnx,openvino for an IR beside it.")] = "onnx",
    int8: Annotated[bool, Parameter(help="Try int8 too, with ranges from images of the train split.")] = True,
    images: Images = None, batch: Batches = "1,32", threads: int | None = None,
    limit: Annotated[int, Parameter(help="Images on which answers are compared.")] = 400,
) -> None:  # fmt: skip
    """Write a model folder with an ONNX graph, and find the runtime that is fastest on this machine."""
    from anmok.stages.export import export as stage

    names = [name.strip() for name in formats.split(",") if name.strip()]
    print(
        stage(
            model, out, formats=names, int8=int8, images=images, batches=numbers(batch, "--batch"), threads=threads,
            limit=limit,
        )
    )  # fmt: skip


def doctor() -> None:
    """What this machine has: device, threads, precisions, versions, caches."""
    from anmok.stages.doctor import examine

    rows = examine()
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")
