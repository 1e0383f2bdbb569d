"""The commands that bring in more images than somebody has labelled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from anmok.commands.options import File, with_tree
from anmok.stages.config import SourceConfig
from anmok.stages.predict_settings import PredictTree


@with_tree(PredictTree)
def pseudo(
    run: Annotated[Path, Parameter(help="A run of `anmok train`; its validation and test images are kept out.")],
    unlabeled: Annotated[str, Parameter(help="Images, with or without labels; labels are ignored.")], /, *,
    out: Annotated[Path, Parameter(name="--out", help="The new table, a .parquet that must not exist yet.")],
    confidence: Annotated[float, Parameter(help="Calibrated probability from which a prediction is sure.")] = 0.95,
    per_class: Annotated[
        str, Parameter(help="Most images a class: auto (its share of the labelled ones), none, or a number.")
    ] = "auto",
    views: Annotated[str, Parameter(help="flips: image and mirror image must agree; none.")] = "flips",
    rounds: Annotated[int, Parameter(help="Rounds of labelling, with a training between two.")] = 1,
    batch_size: int = 64, threads: int | None = None, device: str = "cpu", settings: dict[str, Any],
) -> None:  # fmt: skip
    """Label images by a run's own sure predictions: a new version of its table, with the labels marked."""
    from anmok.stages.pseudo import pseudo as stage

    made = stage(
        run, unlabeled, out=out, confidence=confidence, per_class=per_class, views=views, rounds=rounds,
        batch_size=batch_size, threads=threads, device=device, layers=(settings,),
    )  # fmt: skip
    print(made)
    print(made.beside / "selected.png")
    print(f"next: anmok train {made.path}")


@with_tree(SourceConfig)
def generate(
    source: Annotated[str, Parameter(help="Images with labels; where they have no split, one is drawn.")], /, *,
    label: Annotated[list[str], Parameter(name="--class", help="The class to make images of; may stand repeatedly.")],
    model: Annotated[str, Parameter(help="A pipeline of diffusers: its name on the hub, or its folder.")],
    out: Annotated[Path, Parameter(name="--out", help="The new table, a .parquet that must not exist yet.")],
    count: Annotated[int, Parameter(help="Images to make of each class; those that pass are taken.")] = 100,
    mode: Annotated[
        str, Parameter(help="text: from prompts alone; image: from training images of the class.")
    ] = "text",
    prompts: Annotated[
        str | None, Parameter(help="Templates with one {}, ; between them, or a file. [default: a photo of {}]")
    ] = None,
    captions: Annotated[
        str | None, Parameter(help="Training images' captions instead: a column, or a file of `anmok describe`.")
    ] = None,
    words: Annotated[
        str | None, Parameter(help='What a class is called, where its name says little: "trash=litter|garbage,…".')
    ] = None,
    judge_model: Annotated[
        str, Parameter(help="The dual encoder that judges.")
    ] = "openai/clip-vit-base-patch32",
    threshold: Annotated[
        float, Parameter(help="How much more probable the class must be than the best other one.")
    ] = 0.0,
    copy: Annotated[
        float | None,
        Parameter(help="Cosine from which an image is a copy. [default: as near as real images are to each other]"),
    ] = None,
    strength: Annotated[float, Parameter(help="Noise over the image to begin with, in (0, 1].")] = 0.6,
    steps: Annotated[int | None, Parameter(help="Steps of denoising. [default: the model's]")] = None,
    guidance: Annotated[float | None, Parameter(help="Weight of the prompt. [default: the model's]")] = None,
    size: Annotated[int | None, Parameter(help="Pixels of the short side. [default: the model's]")] = None,
    negative: Annotated[str | None, Parameter(help="What must not be seen.")] = None,
    seed: Annotated[int, Parameter(help="Of the noise and of the order of prompts and images.")] = 0,
    dtype: Annotated[str, Parameter(help="auto (fp32 on a CPU, else bf16), fp32, bf16 or fp16.")] = "auto",
    batch_size: Annotated[int, Parameter(help="Images the judge sees at a time.")] = 32,
    threads: int | None = None, device: str = "cpu", config: File = None, settings: dict[str, Any],
) -> None:  # fmt: skip
    """Make images of a class with a diffusion model, judge each, and write a table with those that pass, in train."""
    from anmok.stages.generate import generate as stage

    made = stage(
        source, label, model=model, out=out, count=count, mode=mode, prompts=prompts, captions=captions, words=words,
        judge_model=judge_model, threshold=threshold, copy=copy, strength=strength, steps=steps, guidance=guidance,
        size=size, negative=negative, seed=seed, dtype=dtype, batch_size=batch_size, threads=threads, device=device,
        config=config, layers=(settings,),
    )  # fmt: skip
    print(made)
    print(made.beside / "sheet.png")
    print("next, what they gain (validation and test are the same in both):")
    print("\n".join(f"  {line}" for line in made.comparison))
