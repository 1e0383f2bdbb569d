"""`anmok bench model`: how fast each runtime of this machine runs a model, and whether it answers the same."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from anmok.core.errors import DataError, UsageError
from anmok.core.machine import cores, cpu_name
from anmok.core.optional import need
from anmok.core.progress import bar, say
from anmok.data.table import Table
from anmok.deploy.bakeoff import BATCHES, Bounds, Gate, Row, bake_off
from anmok.deploy.names import GRAPH, INT8
from anmok.deploy.runtimes import FORMS, Answer, Form, open_graph, why_not
from anmok.stages.bench_model_result import ModelSpeed
from anmok.stages.export_images import Images, calibration_images, judged_images, open_images, random_images
from anmok.stages.exportable import Exportable, exportable

LIMIT = 400  # images on which answers are compared
RANGES = 128  # images from which the ranges of int8 are taken
SECONDS = 0.4  # of every turn of every form
NOTHING = Bounds(0.0, 0.0, 0.0, 1.0)  # for weights that are random


def bench_model(
    model: Any, *, images: Any = None, batches: Sequence[int] = BATCHES, threads: int | None = None, int8: bool = True,
    image_size: int | None = None, limit: int = LIMIT, seconds: float = SECONDS, bounds: Bounds | None = None,
) -> ModelSpeed:  # fmt: skip
    """Time torch, ONNX Runtime and OpenVINO on a model, in float32, bfloat16 and int8, on this machine's CPU.

    model: a run, an ensemble, a model folder, what `anmok.load` gives, or a network's name (its weights are then
    random, and answers are compared without being judged). images: a source to compare answers on, by default the
    run's validation split; int8 takes its ranges from the train split. image_size: of a network by name. limit: images
    to compare on. seconds: of every turn.  For a folder that `anmok export` wrote, what is found is kept for this
    machine, and `anmok predict` goes by it.

    UsageError for no such model or network; DataError where it cannot be exported; MachineError without the extras.
    """
    check_numbers(batches, threads, limit)
    need("torch", "train")
    subject = find_subject(model, image_size)
    module = exportable(subject.model) if subject.folder is not None else by_name(subject.model)
    table = open_images(images) if images is not None else subject.table
    if subject.folder is None and table is None:
        seen, ranges = random_images(module.preprocess), random_images(module.preprocess).pixels[:16]
    else:
        seen = judged_images(subject.model, module.preprocess, table, limit)
        ranges = calibration_images(subject.model, module.preprocess, table, RANGES) if int8 else seen.pixels[:0]
    with tempfile.TemporaryDirectory() as place:
        graphs = subject.graphs or make_graphs(module, Path(place), ranges if int8 else None, {})
        random = subject.folder is None
        speed = measure(
            module, graphs, seen, batches=batches, threads=threads, seconds=seconds,
            bounds=NOTHING if random else bounds, name=subject.name, weights="random" if random else "trained",
        )  # fmt: skip
    if subject.graphs is not None and subject.folder is not None:
        from anmok.stages.runtime_choice import remember

        say(f"kept for this machine: {remember(subject.folder, speed)}")
    return speed


class Graphs(NamedTuple):
    """The exported graph, its int8 form, and why that one is missing."""

    path: Path
    int8: Path | None
    why: str = ""


class Subject(NamedTuple):
    """What is measured: a loaded model with its folder and images, or for a network by name its Built and no folder."""

    model: Any
    name: str
    folder: Path | None
    table: Table | None
    graphs: Graphs | None


def find_subject(model: Any, image_size: int | None = None) -> Subject:
    """The model that a path, an object or a network's name means; see `bench_model`."""
    from anmok.deploy.fast import is_exported, open_exported
    from anmok.stages.load import load
    from anmok.stages.run import Run

    is_name = isinstance(model, str) and not Path(model).exists()
    if is_name:
        try:
            return _network(str(model), image_size)
        except UsageError as error:
            raise UsageError(
                f"neither a folder with a model nor a network's name. {error.message}", where=str(model),
                remedy=error.remedy, code="model",
            ) from error  # fmt: skip
    if image_size is not None:
        raise UsageError("a trained model has its own image size.", where="--image-size", code="setting")
    loaded = model if hasattr(model, "decision") else load(model)
    folder = Path(loaded.path)
    graphs = None
    if is_exported(folder) and (found := open_exported(folder)).current:
        int8 = found.graph("int8")
        graphs = Graphs(found.graph("fp32"), int8 if int8.is_file() else None, "the folder has no int8 graph")
    return Subject(loaded, str(folder), folder, table_beside(model if isinstance(model, Run) else folder), graphs)


def table_beside(place: Any) -> Table | None:
    """The locked table of a Run, or of the run in which a model folder lies; None where there is none."""
    from anmok.stages.run import Run

    if isinstance(place, Run):
        return place.table
    for folder in (place, place.parent):
        if (folder / "table.parquet").is_file():
            return Table.load(folder / "table.parquet")
    return None


def _network(name: str, image_size: int | None) -> Subject:
    from anmok.models.build import build
    from anmok.models.config import ModelConfig

    classes = [f"class {i}" for i in range(1000)]
    torch = need("torch", "train")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = build(ModelConfig(name=name), classes, "multiclass", 3, image_size)
    return Subject(built, f"{name} (random weights, 1000 classes)", None, None, None)


def by_name(built: Any) -> Exportable:
    """A network with random weights, as one that answers."""
    from anmok.augment.preprocess import Preprocess
    from anmok.deploy.graph import Answering

    c = built.classifier
    return Exportable(Answering(c).eval(), Preprocess(built.image_size, mean=c.pixel_mean, std=c.pixel_std), "network")


def make_graphs(module: Exportable, folder: Path, ranges: Any, about: Mapping[str, Any]) -> Graphs:
    """Export to folder/model.onnx and, where there are images for its ranges, folder/model-int8.onnx.

    ranges: uint8[N, S, S, C], None where int8 is not wanted.
    """
    from anmok.deploy.export import export_onnx
    from anmok.deploy.export_int8 import quantize

    say("exporting to ONNX")
    graph = export_onnx(module.module, module.shape, folder / GRAPH, about, module.name)
    if ranges is None:
        return Graphs(graph, None, "int8 is not asked for")
    if not len(ranges):
        return Graphs(graph, None, "no images of a train split to take its ranges from (--images names some)")
    say(f"int8: ranges from {len(ranges)} images")
    try:
        return Graphs(graph, quantize(graph, folder / INT8, ranges))
    except DataError as error:
        return Graphs(graph, None, error.message)


def measure(
    module: Exportable, graphs: Graphs, seen: Images, *, batches: Sequence[int], threads: int | None, seconds: float,
    bounds: Bounds | None, name: str, weights: str = "trained", checked: dict[str, Any] | None = None,
) -> ModelSpeed:  # fmt: skip
    """The bake-off of a module and its graphs on the CPU."""
    import torch

    from anmok.deploy.runtimes import EAGER
    from anmok.deploy.torch_forms import torch_answer

    used, before = threads or cores(), torch.get_num_threads()
    candidates = {form: why_not(form) or _missing(form, graphs) for form in FORMS}

    def opened(form: Form, batch: int) -> Answer:
        if form.runtime == "torch":
            return torch_answer(module.module, form, used)
        path = graphs.int8 if form.dtype == "int8" else graphs.path
        assert path is not None
        return open_graph(form, path, module.shape, batch, used)

    torch.set_num_threads(used)
    turns = len(batches) * sum(not why for why in candidates.values()) * 7
    try:
        eager = torch_answer(module.module, EAGER, used)
        gate = _gate(module, eager, seen)
        with bar("runtimes", turns) as shown:
            rows: list[Row] = bake_off(
                candidates, opened, gate, batches=batches, bounds=bounds, seconds=seconds,
                step=lambda text: shown.advance(1, text),
            )  # fmt: skip
    finally:
        torch.set_num_threads(before)
    return ModelSpeed(
        name, module.shape, used, cpu_name(), len(seen.pixels), seen.split, tuple(rows), bounds or Bounds(), weights,
        checked,
    )  # fmt: skip


def _gate(module: Exportable, eager: Answer, seen: Images) -> Gate:
    import numpy as np

    from anmok.models.classifier import Classifier

    wanted = np.concatenate([eager(seen.pixels[i : i + 32]) for i in range(0, len(seen.pixels), 32)])
    task = next(m.task for m in module.module.modules() if isinstance(m, Classifier))
    return Gate(seen.pixels, wanted, task, seen.targets, seen.real)


def _missing(form: Form, graphs: Graphs) -> str:
    return graphs.why if form.dtype == "int8" and graphs.int8 is None else ""


def check_numbers(batches: Sequence[int], threads: int | None, limit: int) -> None:
    """UsageError for a batch size, a number of threads or of images below 1, or no batch size at all."""
    for name, values in {
        "--batch": list(batches),
        "--threads": [1 if threads is None else threads],
        "--limit": [limit],
    }.items():
        if not values or min(values) < 1:
            raise UsageError(f"{name} must be at least 1, found {values or 'none'}.", code="setting")
