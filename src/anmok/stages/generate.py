"""`anmok generate`: images that a diffusion model makes of a class, judged, as a new table to train on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from anmok.core.config import resolve
from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.core.files import must_not_exist
from anmok.core.optional import need
from anmok.core.progress import say
from anmok.data.saved import require_root
from anmok.data.sources import open_table
from anmok.data.split import split_table
from anmok.data.table import Table
from anmok.expand.added import Made, with_generated
from anmok.expand.generate import IMAGE, TEXT, Order, Painter, PipelinePainter, Strokes, orders
from anmok.nshot.prompts import ClassText, read_prompts
from anmok.stages.config import SourceConfig
from anmok.stages.generate_folder import IMAGES, check_asked, paint_all, sort_out
from anmok.stages.generate_judge import Bounds, Judgement, judge
from anmok.stages.generate_result import REFUSED, Generated, facts, write_beside
from anmok.stages.generate_words import TEMPLATES, prompts_of, read_captions, read_words, starts_of
from anmok.stages.search_reader import DEFAULT, dual_reader
from anmok.stages.search_vectors import BATCH, Reading

MODES = (TEXT, IMAGE)
DTYPES = ("auto", "fp32", "bf16", "fp16")
Work = tuple[str, str, Callable[[], Painter]]  # name and hash of a model, and how it is loaded


def generate(
    source: Any, label: str | Sequence[str], *, model: Any, out: Path | str, count: int = 100, mode: str = TEXT,
    prompts: Any = None, captions: str | Path | None = None, words: str | Sequence[str] | None = None,
    judge_model: Any = DEFAULT, threshold: float = 0.0, copy: float | None = None, strength: float = 0.6,
    steps: int | None = None, guidance: float | None = None, size: int | None = None, negative: str | None = None,
    seed: int = 0, dtype: str = "auto", batch_size: int = BATCH, threads: int | None = None, device: str = "cpu",
    config: Path | str | None = None, layers: tuple[Mapping[str, Any], ...] = (), **settings: Any,
) -> Generated:  # fmt: skip
    """Make images of a class, or several, judge each, and write the new version of the table with those that pass.

    source: anything `anmok.open` takes; where it has no split, one is drawn as `anmok split` would. label: the class or
    classes, of which `count` images each are made; as many or fewer are taken. model: a pipeline of diffusers, by its
    name on the hub or its folder, or an object with `paint` (`expand.generate.Painter`). mode: text, from prompts
    alone; image, from the training images of the class, under noise of `strength` in (0, 1]. prompts: templates with
    one {}, 'a photo of {}; a drawing of {}'; words: what stands there, 'trash=litter|garbage', by default the class's
    name. captions: a column of the table, or a file that `anmok describe` wrote: training images' own captions instead
    of prompts. steps, guidance, size, negative: None leaves it to the model.

    judge_model: a dual encoder. An image is taken if its texts fit the class best, by `threshold` in probability more
    than the best other class; it shows something; and it is no near duplicate of an image of train, val or test nor of
    another generated one, by hash and pixels, or by vectors with a cosine of `copy` or more (None: as near as real
    images are to each other). Each image is written when it is made, into the folder OUT without .parquet plus
    '.generated', from which an interrupted call goes on; refused ones stay there with the reason.

    UsageError for a wrong call, before any image is made; MachineError where a model cannot be had (code offline);
    DataError (code nothing-taken) where no image passes; Interrupted when a signal ended it.
    """
    need("torch", "train")
    target, beside = _target(out)
    strokes = Strokes(steps, guidance, size, negative, strength)
    templates = read_prompts(TEMPLATES if prompts is None else prompts)
    _check(count, mode, dtype, threshold, copy, strokes)
    tree = resolve(SourceConfig, *layers, settings, file=config)
    table = open_table(source, tree.data, tree.labels)
    labels, wordings = _labels(table, label), read_words(words, table.classes)
    require_root(table, str(source), "Bring them back: generated images are compared with them.")
    table = split_table(table, tree.split)
    said = read_captions(captions, table)
    asked = _orders(table, labels, count, wordings, templates, said, seed, mode)
    reader = dual_reader(judge_model, device)
    name, mark, load = _work(model, mode, strokes, dtype, device)
    called = {
        "model": name, "hash": mark, "mode": mode, "seed": seed, "table": table.fingerprint, **strokes._asdict(),
        "prompts": _digest(asked), "count": count,
    }  # fmt: skip
    check_asked(beside, called)
    painted = paint_all(asked, table, beside, load, tree.data.allow_truncated)
    how = Reading(batch_size, threads, tree.data.allow_truncated)
    found = judge(table, asked, painted, beside, reader, wordings, Bounds(threshold, copy), how, seed)
    sort_out(beside, painted, found.taken)
    told = facts(table, asked, found)
    settled = called | {"judge_model": reader.name, "judge_hash": reader.hash, "threshold": threshold}
    write_beside(beside, table, asked, painted, found, settled, told)
    if not any(found.taken):
        raise _nothing(len(asked), told, beside)
    made = _taken(table, asked, [one.file for one in painted], found)
    new = with_generated(table, beside / IMAGES, made, f"{name} {mark[:12]}".strip())
    new.save(target)
    return Generated(target, new, beside, name, told)


def _target(out: Path | str) -> tuple[Path, Path]:
    """The new table's file, and the folder beside it."""
    path = must_not_exist(out)
    if path.suffix.lower() != ".parquet":
        raise UsageError(f"--out {out}: expected a .parquet file.", code="out")
    return path, path.with_suffix(".generated")


def _check(count: int, mode: str, dtype: str, threshold: float, copy: float | None, strokes: Strokes) -> None:
    """UsageError for what cannot be done, before anything is read."""
    for where, value, known in (("--mode", mode, MODES), ("--dtype", dtype, DTYPES)):
        if value not in known:
            raise UsageError(f"{value!r} is not known.", where=where, remedy=did_you_mean(value, known), code="setting")
    if count < 1:
        raise UsageError(f"expected an image or more, found {count}.", where="--count", code="setting")
    if not 0 <= threshold < 1:
        raise UsageError(f"expected a number in [0, 1), found {threshold:g}.", where="--threshold", code="setting")
    if copy is not None and not 0 < copy <= 1:
        raise UsageError(f"expected a cosine in (0, 1], found {copy:g}.", where="--copy", code="setting")
    if mode == TEXT:
        strokes = strokes._replace(strength=1.0)
    strokes.check()


def _labels(table: Table, label: str | Sequence[str]) -> list[int]:
    """The places of the classes that were asked for.  UsageError for one that is not there, or for labels in lists."""
    if table.task == "multilabel":
        raise UsageError(
            "a generated image gets one label, and the images here have several each.", where="--class", code="setting"
        )
    names = [label] if isinstance(label, str) else list(dict.fromkeys(label))
    if len(table.classes) < 2 or not names:
        raise UsageError(
            "an image is judged against the other classes, and there is none.", where="--class", code="class"
        )
    for name in names:
        if name not in table.classes:
            raise UsageError(
                f"no such class: {name}.", where="--class", remedy=did_you_mean(name, table.classes), code="class"
            )
    return [table.classes.index(name) for name in names]


def _orders(
    table: Table, labels: Sequence[int], count: int, words: Sequence[ClassText], templates: Sequence[str],
    captions: dict[str, str] | None, seed: int, mode: str,
) -> list[Order]:  # fmt: skip
    out: list[Order] = []
    for k in labels:
        name = table.classes[k]
        starts = starts_of(table, name, captions) if mode == IMAGE or captions is not None else []
        out += orders(k, name, count, prompts_of(words[k], templates), seed=seed, starts=starts, mode=mode)
    return out


def _digest(asked: Sequence[Order]) -> str:
    """Short hex over the orders: another list of prompts or starts is another call."""
    text = "\n".join(f"{o.label} {o.seed} {o.prompt} {o.start.id if o.start else ''}" for o in asked)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _work(model: Any, mode: str, strokes: Strokes, dtype: str, device: str) -> Work:
    """What makes the images: its name and hash at once, itself when it is needed."""
    if hasattr(model, "paint"):
        return str(getattr(model, "name", type(model).__name__)), str(getattr(model, "hash", "")), lambda: model
    from anmok.engine.runtime import pick_device
    from anmok.models.diffusion import load_pipeline, pipeline_folder, pipeline_hash

    place, name = pick_device(device), os.fspath(model)
    folder = pipeline_folder(name)
    mark = pipeline_hash(folder)
    number = dtype if dtype != "auto" else "fp32" if place.type == "cpu" else "bf16"
    if place.type == "cpu":
        say("on a CPU an image of a large model takes minutes; --device cuda is for GPUs")

    def load() -> Painter:
        return PipelinePainter(load_pipeline(folder, mode, str(place), number), name, mark, strokes)

    return name, mark, load


def _taken(table: Table, asked: Sequence[Order], files: Sequence[str], found: Judgement) -> list[Made]:
    return [
        Made(
            file, table.classes[order.label], order.prompt, order.seed, order.start.id if order.start else None,
            float(found.scores.score[n]),
        )
        for n, (order, file) in enumerate(zip(asked, files, strict=True))
        if found.taken[n]
    ]  # fmt: skip


def _nothing(count: int, told: Mapping[str, Mapping[str, Any]], beside: Path) -> DataError:
    why = "; ".join(dict.fromkeys(line for one in told.values() for line in one["refused_text"]))
    return DataError(
        f"none of {count:,} images can be taken: {why}.", where=str(beside / REFUSED), code="nothing-taken",
        remedy="Look at sheet.png beside it; other --prompts or --words, another --model, or a --judge-model that "
        "knows these classes.",
    )  # fmt: skip
