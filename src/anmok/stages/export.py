"""`anmok export`: a model folder with a graph, and the fastest runtime of this machine, found by measuring."""

from __future__ import annotations

import html
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.core.errors import MachineError, UsageError, did_you_mean
from anmok.core.files import (
    MANIFEST,
    must_not_exist,
    new_folder,
    read_json,
    sha256,
    verify_manifest,
    write_atomic,
    write_json,
    write_manifest,
)
from anmok.core.machine import versions
from anmok.core.optional import need
from anmok.core.progress import say
from anmok.core.text import size_text
from anmok.deploy.bakeoff import BATCHES, Bounds
from anmok.deploy.fast import ENSEMBLE, VERSION, in_graph, weights_hash
from anmok.deploy.names import GRAPH, INT8, RUNTIME
from anmok.stages.bench_model import LIMIT, RANGES, SECONDS, check_numbers, find_subject, make_graphs, measure
from anmok.stages.export_images import calibration_images, judged_images, open_images
from anmok.stages.exportable import Exportable, calibration_of, exportable
from anmok.stages.runtime_choice import as_choice, machine_key

if TYPE_CHECKING:
    from anmok.stages.bench_model_result import ModelSpeed

FORMATS = ("onnx", "openvino")
IR, IR_WEIGHTS = "model.xml", "model.weights"  # not .bin, a suffix under which anmok loads nothing
BEFORE = "## Intended use"


@dataclass(frozen=True)
class Export:
    """The folder that was written, what the graph was checked with, and what each runtime makes of it.

    files: name to bytes.
    """

    path: Path
    speed: ModelSpeed
    files: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return {"path": str(self.path), "files": self.files, "speed": self.speed.to_dict()}

    @property
    def facts(self) -> list[str]:
        """What was written and how near it is to torch."""
        files = ", ".join(f"{name} {size_text(size)}" for name, size in self.files.items())
        c = self.speed.checked or {}
        near = f"{GRAPH} differs from torch by at most {c['largest']:.1g} on {c['images']} images"
        return [files, f"{near} (allowed: {c['bound']:g})"]

    def __repr__(self) -> str:
        return "\n".join([f"Export {self.path}", *(f"  {text}" for text in self.facts), repr(self.speed)])

    def _repr_html_(self) -> str:
        facts = "".join(f"<p>{html.escape(text)}</p>" for text in (f"Export {self.path}", *self.facts))
        return facts + self.speed._repr_html_()


def export(
    model: Any, out: Path | str, *, formats: Sequence[str] = ("onnx",), int8: bool = True, images: Any = None,
    batches: Sequence[int] = BATCHES, threads: int | None = None, limit: int = LIMIT, seconds: float = SECONDS,
    bounds: Bounds | None = None,
) -> Export:  # fmt: skip
    """Write a model folder with model.onnx, uint8[B, S, S, C] to probabilities, and measure what runs it best.

    model: a run, an ensemble (a mean of members that see the same pixels), a model folder, or what `anmok.load` gives.
    out: a folder that must not exist yet. formats: onnx, and openvino for an IR beside it. int8: try it, with ranges
    from the train split; it is kept where it keeps to the bounds. images, batches, threads, limit, seconds: see
    `bench_model`; without images answers are compared on random pixels, which is said aloud.

    The graph has the normalisation, the temperature, a linear calibration of decision.json, and the softmax in it, and
    class names and preprocessing in its metadata; pictures are resized before it.

    UsageError for a wrong call; DataError: see `deploy.export`; MachineError without the extras, or without room.
    """
    target = must_not_exist(out)
    _check_formats(formats)
    check_numbers(batches, threads, limit)
    need("torch", "train")
    for package in ("onnx", "onnxscript", "onnxruntime", *(["openvino"] if "openvino" in formats else [])):
        need(package, "export")
    subject = find_subject(model)
    if subject.folder is None:
        raise UsageError(
            "only a trained model is exported.", where=str(model), code="model",
            remedy="Expected a run or a model folder; `anmok bench model NAME` measures a network by its name.",
        )  # fmt: skip
    source, loaded = subject.folder, subject.model
    module = exportable(loaded)
    table = open_images(images) if images is not None else subject.table
    seen = judged_images(loaded, module.preprocess, table, limit)
    ranges = calibration_images(loaded, module.preprocess, table, RANGES) if int8 else None
    _check_room(source, target)
    with new_folder(target) as folder:
        _copy(source, folder, loaded)
        graphs = make_graphs(module, folder, ranges, about_graph(module, loaded))
        checked = _checked(module, graphs.path, seen)
        if "openvino" in formats:
            write_ir(graphs.path, folder)
        say("measuring the runtimes")
        speed = measure(
            module, graphs, seen, batches=batches, threads=threads, seconds=seconds, bounds=bounds, name=str(target),
            checked=checked,
        )  # fmt: skip
        if graphs.int8 is not None and not any(r.dtype == "int8" and not r.why for r in speed.rows):
            graphs.int8.unlink()
        if not (folder / "preprocess.json").is_file():
            write_json(folder / "preprocess.json", module.preprocess.to_dict())
        write_json(folder / RUNTIME, _runtime(folder, loaded, checked, speed))
        _write_readme(folder, module, loaded)
        write_manifest(folder)
    names = (GRAPH, INT8, IR, IR_WEIGHTS, "model.safetensors")
    return Export(target, speed, {n: (target / n).stat().st_size for n in names if (target / n).is_file()})


def _check_formats(formats: Sequence[str]) -> None:
    for name in formats:
        if name not in FORMATS:
            raise UsageError(
                f"no such format as {name}.", where="--formats", remedy=did_you_mean(name, FORMATS), code="setting"
            )
    if not formats:
        raise UsageError("no format is named.", where="--formats", remedy=f"Known: {', '.join(FORMATS)}.",
                         code="setting")  # fmt: skip


def about_graph(module: Exportable, model: Any) -> dict[str, Any]:
    """What the graph's metadata say."""
    calibration = calibration_of(model.decision)
    return {
        "version": versions(("anmok",)).get("anmok", ""),
        "classes": list(model.classes), "task": model.task, "architecture": module.name,
        "preprocess": module.preprocess.to_dict(), "temperature": float(model.decision["temperature"]),
        "calibration": "none" if calibration is None else calibration.kind, "model_hash": model.hash,
    }  # fmt: skip


def _check_room(source: Path, target: Path) -> None:
    """MachineError where the disk has no room for a copy of the folder with float32 and int8 graphs."""
    size = sum(f.stat().st_size for f in source.rglob("*") if f.is_file())
    place = target.absolute().parent
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < 3 * size:
        raise MachineError(
            f"about {size_text(3 * size)} are needed, {size_text(free)} are free.", where=str(target), code="disk",
            remedy="Free some room or choose another --out.",
        )  # fmt: skip


def _copy(source: Path, folder: Path, model: Any) -> None:
    """The files of a model folder but for an earlier export's; an ensemble's members come along."""
    old = {GRAPH, INT8, RUNTIME, IR, IR_WEIGHTS}
    shutil.copytree(source, folder, dirs_exist_ok=True, ignore=lambda _, names: old & set(names))
    if not (source / ENSEMBLE).is_file():
        return
    content = read_json(folder / ENSEMBLE)
    places = [f"members/{number}" for number in range(len(content["members"]))]
    for path, place in zip(content["paths"], places, strict=True):
        verify_manifest(source / path)
        shutil.copytree(source / path, folder / place, dirs_exist_ok=True)
        if sha256(folder / place / MANIFEST) != sha256(source / path / MANIFEST):
            raise MachineError("a member changed while it was copied.", where=str(source / path), code="disk")
    write_json(folder / ENSEMBLE, content | {"paths": places})


def _checked(module: Exportable, graph: Path, seen: Any) -> dict[str, Any]:
    from anmok.deploy.export import CHECKED, check_graph

    return check_graph(module.module, graph, seen.pixels[:CHECKED])._asdict() | {"split": seen.split}


def write_ir(graph: Path, folder: Path) -> None:
    """The graph as OpenVINO's own files: `openvino.Core().read_model("model.xml", "model.weights")` reads them."""
    ov = need("openvino", "export")
    ov.serialize(ov.convert_model(str(graph)), str(folder / IR), str(folder / IR_WEIGHTS))


def _runtime(folder: Path, model: Any, checked: dict[str, Any], speed: ModelSpeed) -> dict[str, Any]:
    """The content of runtime.json."""
    graph = {
        "input": "uint8[batch, size, size, channels]", "output": "float32[batch, classes]", "checked": checked,
        "decision": in_graph(model.decision), "weights": weights_hash(folder), "source": model.hash,
        "versions": versions(("torch", "onnx", "onnxscript", "onnxruntime", "openvino")),
    }  # fmt: skip
    return {"version": VERSION, "graph": graph, "machines": {machine_key(): as_choice(speed)}}


def _write_readme(folder: Path, module: Exportable, model: Any) -> None:
    """A section of the card on the graph."""
    size, _, channels = module.shape
    text = (
        f"## Graph\n\n`{GRAPH}` takes uint8 pixels [batch, {size}, {size}, {channels}], resized by Pillow "
        f"as preprocess.json says, and gives the probabilities of {len(model.classes)} classes; normalisation "
        "and calibration are inside. `anmok predict` runs it with the runtime that was the fastest on this machine "
        f"(`{RUNTIME}`), and needs no torch for it. With ONNX Runtime alone:\n\n```python\nimport onnxruntime\n\n"
        f'session = onnxruntime.InferenceSession("{GRAPH}")\n'
        'probabilities = session.run(["probabilities"], {"images": pixels})[0]\n```\n\n'
    )
    readme = folder / "README.md"
    old = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    place = old.find(BEFORE)
    write_atomic(readme, old + "\n\n" + text if place < 0 else old[:place] + text + old[place:])
