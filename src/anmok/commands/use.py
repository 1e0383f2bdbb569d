"""The commands that use a model, and the machine it runs on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from anmok.commands.options import Out, with_tree
from anmok.stages.predict_settings import PredictTree


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


def doctor() -> None:
    """What this machine has: device, threads, precisions, versions, caches."""
    from anmok.stages.doctor import examine

    rows = examine()
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")
