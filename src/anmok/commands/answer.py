"""The commands that answer from a frozen network, without a training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from anmok.commands.options import File, Out, with_tree
from anmok.stages.fewshot_settings import FewShotTree
from anmok.stages.predict_settings import PredictTree


def _pairs(given: list[str]) -> dict[str, str]:
    """{class: folder} of texts class=folder.  UsageError for another form, or a class named twice."""
    from anmok.core.errors import UsageError

    out: dict[str, str] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals or not name.strip() or not folder or name in out:
            why = f"the class {name} is given twice" if name in out else f"found {text}"
            raise UsageError(f"expected class=folder, {why}.", where="--add", code="class")
        out[name] = folder
    return out


@with_tree(FewShotTree)
def fewshot(
    source: Annotated[str, Parameter(help="Images of the classes to tell apart; with --add, a run or model folder.")],
    /, *,
    add: Annotated[
        list[str] | None,
        Parameter(
            name="--add", help="class=folder: teach a new class to the model instead, into the model folder --out.",
            negative_iterable="",
        ),
    ] = None,
    known: Annotated[
        str | None, Parameter(help="With --add: labelled images of the old classes, where the run's are not at hand.")
    ] = None,
    most_lost: Annotated[
        float | None, Parameter(help="With --add: share of the old classes' right answers that may be lost at most.")
    ] = None,
    out: Out = None, config: File = None, settings: dict[str, Any],
) -> None:  # fmt: skip
    """How well a frozen network tells classes apart from a few images of each; --add teaches them to a model."""
    from anmok.core.errors import UsageError

    if not add:
        from anmok.stages.fewshot import fewshot as stage

        if known is not None or most_lost is not None:
            option = "--most-lost" if known is None else "--known"
            raise UsageError("it has a meaning with --add only.", where=option, code="setting")
        found = stage(source, out=out, config=config, layers=(settings,))
        print(found)
        if out is not None:
            print(f"{out}/report.html")
        return
    from anmok.stages.fewshot_add import add_class

    if out is None:
        raise UsageError("name the new model folder: --out NEWMODEL.", where="--add", code="out")
    foreign = [key for key in settings if not key.startswith(("data.", "runtime.", "seed"))]
    if foreign or config is not None:
        what = ", ".join(f"--{key.partition('.')[2] or key}" for key in foreign) or "--config"
        raise UsageError(f"it has no meaning with --add: {what}.", where="--add", code="setting")
    print(add_class(source, _pairs(add), out, known=known, most_lost=most_lost, layers=(settings,)))
    print(f"next: anmok predict {out} IMAGES")


_Model = Annotated[str | None, Parameter(help="A vision-language model: a name on the hub, or a folder in its layout.")]
_Examples = Annotated[
    list[str] | None,
    Parameter(
        name="--example",
        negative_iterable="",
        help='IMAGE=TEXT, an image and what is to be said of it; may be given again (photo.jpg="a can").',
    ),
]
_Told = Annotated[
    Path | None, Parameter(name="--out", help="A .csv, .parquet or .png (a sheet) to write; must not exist yet.")
]
_Tokens = Annotated[int, Parameter(help="Tokens of what is said, at most.")]


@with_tree(PredictTree)
def ask(
    source: Annotated[str, Parameter(help="An image, or a folder or list of images.")],
    question: Annotated[str, Parameter(help="What is asked about each image.")], /, *, model: _Model = None,
    example: _Examples = None, out: _Told = None, max_tokens: _Tokens = 40, device: str = "cpu",
    settings: dict[str, Any],
) -> None:  # fmt: skip
    """Ask a question about an image, or about each of many."""
    from anmok.stages.ask import ask as stage

    print(
        stage(
            source, question, model=model, examples=example or (), out=out, max_tokens=max_tokens, device=device,
            layers=(settings,),
        )
    )  # fmt: skip
    if out is not None:
        print(out)


@with_tree(PredictTree)
def describe(
    source: Annotated[str, Parameter(help="An image, or a folder or list of images.")], /, *, model: _Model = None,
    prompt: Annotated[
        str | None, Parameter(help="How a captioner's sentence begins, or what a chat model is asked to do.")
    ] = None,
    example: _Examples = None, out: _Told = None, max_tokens: _Tokens = 40, device: str = "cpu",
    settings: dict[str, Any],
) -> None:  # fmt: skip
    """Caption an image, or each of many: the file it writes is a source of pairs to train on."""
    from anmok.stages.describe import describe as stage

    print(
        stage(
            source, model=model, prompt=prompt, examples=example or (), out=out, max_tokens=max_tokens, device=device,
            layers=(settings,),
        )
    )  # fmt: skip
    if out is None:
        return
    print(out)
    if out.suffix.lower() != ".png":
        print(f"next: anmok train {out} --objective image-text")


_Dual = Annotated[
    str,
    Parameter(help="A dual encoder: a name on the hub, a folder in its layout, or a run of --objective image-text."),
]


@with_tree(PredictTree)
def zeroshot(
    images: Annotated[str, Parameter(help="Images, with or without labels.")], /, *,
    classes: Annotated[str, Parameter(help='Names: "유리|glass,종이|paper" (| between wordings), or a text file.')],
    model: _Dual = "openai/clip-vit-base-patch32",
    prompts: Annotated[
        str | None, Parameter(help='Templates: "a photo of {}; a drawing of {}", or a text file with one a line.')
    ] = None,
    none_of_these: Annotated[
        bool, Parameter(help="Answer 'none of these' where no class fits.", negative=())
    ] = False,
    calibrate: Annotated[
        str | None, Parameter(help="Labelled images that set the temperature, and when an image is none of these.")
    ] = None,
    false_alarms: Annotated[
        float | None, Parameter(help="Share of the labelled images that may be called none of these. [default: 0.05]")
    ] = None,
    out: Annotated[Path | None, Parameter(name="--out", help="A .csv or .parquet; must not exist yet.")] = None,
    top_k: Annotated[int | None, Parameter(help="Columns with the k best labels.")] = None,
    save_model: Annotated[
        Path | None, Parameter(help="A model folder to write: the image tower with the texts as its head.")
    ] = None,
    batch_size: int = 32, threads: int | None = None, device: str = "cpu", settings: dict[str, Any],
) -> None:  # fmt: skip
    """Tell images apart by the names of the classes alone, without a training."""
    from anmok.stages.zeroshot import zeroshot as stage

    found = stage(
        images, classes, model=model, prompts=prompts, none_of_these=none_of_these, calibrate=calibrate,
        false_alarms=false_alarms, out=out, top_k=top_k, save_model=save_model, batch_size=batch_size,
        threads=threads, device=device, layers=(settings,),
    )  # fmt: skip
    print(*([*found.text, out] if out else [found]), sep="\n")
    if found.evaluation is not None:
        from anmok.report.text import print_evaluation

        print_evaluation(found.evaluation)
    if save_model is not None:
        print(f"next: anmok predict {save_model} IMAGES, or: anmok train DATA --weights {save_model}")


@with_tree(PredictTree)
def search(
    images: Annotated[str | None, Parameter(help="Images to search in; with --texts, those to find texts for.")] = None,
    /, *,
    query: Annotated[
        list[str] | None,
        Parameter(name="--query", help="A text, or the path of an image; may be given again.", negative_iterable=""),
    ] = None,
    model: Annotated[
        str, Parameter(help="A dual encoder, see `zeroshot`; between images also a run or a model folder.")
    ] = "openai/clip-vit-base-patch32",
    texts: Annotated[Path | None, Parameter(help="A file with one text a line, to be searched by an image.")] = None,
    top: Annotated[int, Parameter(help="How many to find.")] = 10,
    out: Annotated[
        Path | None, Parameter(name="--out", help="A .csv, .parquet, .png, .webp or .html; must not exist yet.")
    ] = None,
    index: Annotated[
        str | None, Parameter(help="A .parquet that keeps the vectors, or none. [default: in the cache folder]")
    ] = None,
    batch_size: int = 32, threads: int | None = None, device: str = "cpu", settings: dict[str, Any],
) -> None:  # fmt: skip
    """Find images by a text or by an image, or texts by an image."""
    from anmok.stages.search import search as stage

    print(
        stage(
            images, query, model=model, texts=texts, top=top, out=out, index=index, batch_size=batch_size,
            threads=threads, device=device, layers=(settings,),
        )
    )  # fmt: skip
    if out is not None:
        print(out)
