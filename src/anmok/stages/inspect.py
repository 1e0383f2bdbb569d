"""`anmok inspect`: what a model looks at and how it represents the data, as PNG files and one report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anmok.core.config import resolve
from anmok.core.files import must_not_exist, new_folder, write_json
from anmok.core.machine import versions
from anmok.report.inspect_content import InspectContent
from anmok.report.inspect_page import write_inspect_report
from anmok.report.words import count
from anmok.stages.inspect_draw import draw
from anmok.stages.inspect_gallery import gallery
from anmok.stages.inspect_images import Item, Seen, chosen, given, read
from anmok.stages.inspect_looks import look
from anmok.stages.inspect_map import Mapped, map_of
from anmok.stages.inspect_network import filters, layers, reach
from anmok.stages.inspect_result import Inspection
from anmok.stages.inspect_settings import InspectTree
from anmok.stages.inspect_subject import Subject, encoder_of, subject_of
from anmok.stages.inspect_vectors import require_map
from anmok.stages.predict_settings import ANY

COARSE = 4  # places a side, fewer of which show next to nothing


def inspect(
    what: Any, images: Any = None, out: Path | str | None = None, *, device: str = "cpu", threads: int | None = None,
    config: Path | str | None = None, layers: tuple[Mapping[str, Any], ...] = (), **settings: Any,
) -> Inspection:  # fmt: skip
    """The Inspection of a Run, a Model, or the path of one: Grad-CAM, rollout, map, receptive field, errors, filters.

    images: files, sources of images, arrays or a Table; by default some validation images of the run, wrong and right
    ones. out: a folder that must not exist yet, by default RUN/inspect (beside a model's folder, NAME-inspect).
    settings: paths of InspectTree (`**{"inspect.map": "umap"}`). Writes inspect.html, inspect.json and PNG files.

    UsageError: nothing there by a name, a model folder without images; DataError: no image can be read; MachineError:
    a device or package that is not here. What a network does not have, as attention, is said in the report.
    """
    tree = resolve(InspectTree, ANY, *layers, settings, file=config)
    require_map(tree.inspect.map)
    subject = subject_of(what, device, images is None)
    folder = must_not_exist(out if out is not None else subject.folder)
    options, model = tree.inspect, subject.model
    if images is not None:
        items: Iterable[Item] = list(given(images, tree.data, options.images, options.seed))
    else:
        assert subject.table is not None
        assert subject.predictions is not None
        items = list(chosen(subject.table, subject.predictions, options.images, options.seed))
    seen = read(items, model.preprocess, subject.allow_truncated or tree.data.allow_truncated)
    content, data = look_at(subject, seen, tree, threads)
    with new_folder(folder) as new:
        draw(new, content)
        write_json(new / "inspect.json", data)
        write_inspect_report(new / "inspect.html", content)
    return Inspection(folder, data)


def look_at(
    subject: Subject, seen: list[Seen], tree: InspectTree, threads: int | None
) -> tuple[InspectContent, dict[str, Any]]:  # fmt: skip
    """What the page shows, and the numbers in it as plain values."""
    options, model = tree.inspect, subject.model
    looks = look(model, seen, options.layer)
    encoder, why = encoder_of(model)
    mapped = map_of(subject, encoder, why, options, threads)
    inputs = mapped.prepared if len(mapped.prepared) else np.stack([one.prepared for one in seen])
    field = reach(model, encoder, inputs[: options.field_images])
    shown = filters(model, inputs)
    steps = layers(model, seen[0].prepared, options.layers)
    table, p = subject.table, subject.predictions
    errors, errors_of = ([], "") if table is None or p is None else gallery(table, p, subject.allow_truncated)
    data = {
        "model": f"{subject.name} ({model.architecture})", "model_hash": model.hash, "layer": looks.layer,
        "grid": list(looks.grid), "rollout": looks.rollout or None,
        "images": [
            {"id": one.name, "truth": one.truth or None, "wrong": one.wrong, "probs": dict(one.answers)}
            for one in looks.images
        ],
        "map": mapped.data,
        "field": field.data,
        "filters": len(shown.images), "layers": [layer.name for layer in steps],
    }  # fmt: skip
    headline = sentences(subject, looks.layer, looks.grid, mapped, field.text if field.data else "")
    content = InspectContent(
        title=subject.name, subtitle=f"{model.architecture}, {count(len(model.classes), 'class', 'classes')}",
        headline=headline, looked=looks.images, layer=looks.layer or "the network",
        rollout=" ".join(text for text in (looks.cam, looks.rollout) if text),
        embedding=mapped.figure, embedding_text=mapped.text, errors=errors, errors_of=errors_of, reach=field.picture,
        reach_text=field.text, filters=shown.images, filters_text=shown.text, layers=steps,
        layers_text=f"{seen[0].name}: of each layer the channels that vary most over it, each scaled to its own range.",
        facts={
            "model": model.architecture, "model hash": model.hash, "images": ", ".join(one.name for one in seen[:20]),
            "map": options.map, "seed": str(options.seed),
            "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        },
    )  # fmt: skip
    return content, {**data, "headline": headline}


def sentences(subject: Subject, layer: str, grid: tuple[int, int], mapped: Mapped, field: str) -> list[str]:
    """What was found, in plain sentences."""
    out = []
    if layer:
        size = subject.model.preprocess.image_size
        places = f"{grid[0]} × {grid[1]}"
        out.append(f"Grad-CAM is read from {layer}: {places} places of about {round(size / grid[0])} pixels each.")
        if min(grid) < COARSE:
            out.append("A map so coarse tells little; a larger image size, or --inspect.layer, gives a finer one.")
    if mapped.same is not None:
        out.append(
            f"Of {mapped.n:,} validation images, {100 * mapped.same:.0f}\u00a0% have the same label as the image that "
            "is nearest to them in the network's own representation."
        )
    return out + ([field] if field else [])
