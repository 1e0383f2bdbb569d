"""`anmok preview`: see what a preparation and an augmentation do to some of the images, before using them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.augment.accept import as_policy, is_object, name_for
from anmok.augment.color import convert
from anmok.augment.describe import described
from anmok.augment.guest_parts import parts
from anmok.augment.guests import Guest, GuestParams
from anmok.augment.params import Params
from anmok.augment.policy import Policy
from anmok.augment.preprocess import Preprocess, build_preprocess
from anmok.core.config import resolve
from anmok.core.errors import DataError, UsageError
from anmok.core.files import must_not_exist, write_atomic
from anmok.core.text import visible
from anmok.data.batches import Loader
from anmok.data.sources import open_table
from anmok.data.table import Table
from anmok.report.sheet import NO_BREAK, SIDE, Cell, Row, draw_sheet
from anmok.stages.pick import label_text, pick
from anmok.stages.preview_settings import PreviewTree

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SIZE = 224  # where none is set; a network's own is not known here
FORMATS = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}
SHOWN = 3.0  # standard deviations either side of 0 that a picture of the network's input shows
WEBP_SIDE = 16383  # pixels a side of a WebP may have
CHANNELS = {
    "rgb": ("R", "G", "B"), "bgr": ("B", "G", "R"), "hsv": ("hue", "saturation", "value"),
    "hls": ("hue", "lightness", "saturation"), "lab": ("L*", "a*", "b*"), "luv": ("L*", "u*", "v*"),
    "ycrcb": ("Y", "Cr", "Cb"), "ycbcr": ("Y", "Cb", "Cr"), "xyz": ("X", "Y", "Z"),
}  # fmt: skip


def preview(
    source: Any, out: Path | str | None = None, *, config: Path | str | None = None,
    layers: tuple[Mapping[str, Any], ...] = (), **settings: Any,
) -> Image.Image:  # fmt: skip
    """A contact sheet as a PIL image, written to `out` (.png, .webp or .jpg, which must not exist yet) if it is given.

    One row an image: the original, what the model sees of it, and variants as training would draw them. settings: paths
    of PreviewTree or short names (images=3, equalize='clahe', colorspace='lab', augment='light').
    """
    path = _checked(out) if out is not None else None
    augment = settings.pop("augment") if is_object(settings.get("augment")) else None
    if augment is not None:
        settings["augment"] = name_for(augment)
    resolved = resolve(PreviewTree, *layers, settings, file=config)
    table = open_table(source, resolved.data, resolved.labels)
    sheet = draw_preview(table, resolved, augment)
    if path is not None:
        kind = FORMATS[path.suffix.lower()]
        if kind == "WEBP" and max(sheet.size) > WEBP_SIDE:
            raise UsageError(
                f"the sheet is {sheet.width} × {sheet.height} pixels, and WebP ends at {WEBP_SIDE}.",
                where=f"--out {path}", remedy="Write .png, or show fewer --images.", code="out",
            )  # fmt: skip
        write_atomic(path, lambda file: sheet.save(file, kind, quality=92))
    return sheet


def _checked(out: Path | str) -> Path:
    if Path(out).suffix.lower() not in FORMATS:
        raise UsageError(f"--out {out}: expected a .png, .webp or .jpg file.", code="out")
    return must_not_exist(out)


def draw_preview(table: Table, config: PreviewTree, augment: Any = None) -> Image.Image:
    """The sheet of a table. DataError where it has no image that can be read."""
    color = config.data.background
    background = int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
    pre = build_preprocess(config.preprocess, config.preprocess.image_size or IMAGE_SIZE, background)
    policy = as_policy(config.augment if augment is None else augment, pre.fit == "squash", pre.depth)
    picked = pick(table, config.images, config.seed, pre, 2 * SIDE, config.data.allow_truncated)
    columns = ["original", "prepared"]
    cells = [[Cell(one.image, f"{one.width} × {one.height} px")] for one in picked.originals]
    allow = config.data.allow_truncated
    for row, image in zip(cells, prepared(picked.table, pre, allow), strict=True):
        row.append(Cell(image, prepared_caption(pre)))
    if pre.finishes:
        columns += CHANNELS[pre.colorspace] if pre.colorspace != "rgb" else ["network's input"]
        for row, image in zip(cells, batch(picked.table, pre, allow), strict=True):
            row += seen(image, pre)
    if not policy.neutral:
        for number in range(config.variants):
            columns.append(f"drawn {number + 1}")
            for row, cell in zip(cells, variants(picked.table, pre, policy, number, config.seed, allow), strict=True):
                row.append(cell)
    rows = [
        Row(visible(label_text(label)), visible(identity), row)
        for label, identity, row in zip(picked.table.rows["label"], picked.table.rows["id"], cells, strict=True)
    ]
    title = f"{visible(str(table.root.name)) or 'preview'}: {len(rows)} of {len(table):,} images"
    return draw_sheet(title, notes(pre, policy, config), columns, rows)


def batch(
    table: Table,
    pre: Preprocess,
    allow_truncated: bool,
    policy: Policy | Guest | None = None,
    epoch: int = 0,
    seed: int = 0,
) -> np.ndarray:
    """uint8[N, S, S, C] of all rows in their order, by the loader that trains and validates."""
    loader = Loader(
        table, preprocess=pre, batch_size=len(table), policy=policy, seed=seed, allow_truncated=allow_truncated
    )
    batches = loader.epoch(epoch)
    images = next(batches).images
    batches.close()
    if len(images) != len(table):
        raise DataError(
            "an image could be read a moment ago and can no longer.", where=str(table.root), code="io-error"
        )
    return images


def prepared(table: Table, pre: Preprocess, allow_truncated: bool) -> np.ndarray:
    """What the model sees, before each image's own normalisation, brought back to RGB (or gray) to be looked at."""
    coded = batch(table, replace(pre, normalize="standard", mean=(), std=()), allow_truncated)
    return coded if pre.colorspace == "rgb" else convert(coded, pre.colorspace, "rgb")


def prepared_caption(pre: Preprocess) -> str:
    """What was done to a picture to become the prepared one."""
    steps = replace(pre, normalize="standard", mean=(), std=()).steps()
    text = " · ".join([f"{pre.image_size} × {pre.image_size} px", pre.fit, *steps])
    return text if pre.colorspace == "rgb" else f"{text} and back to RGB"


def seen(image: np.ndarray, pre: Preprocess) -> list[Cell]:
    """The numbers that reach the network, with their range: one picture of RGB or gray, else channel by channel.

    Where mean and std are applied, black is SHOWN standard deviations below 0, white as many above.
    """
    mean, std = np.array(pre.mean), np.array(pre.std)
    numbers = (image / 255 - mean) / std
    shown = np.rint(np.clip(numbers * (127.5 / SHOWN) + 127.5, 0, 255)).astype(np.uint8) if scaled(pre) else image
    parts = [slice(None)] if pre.colorspace == "rgb" else [slice(i, i + 1) for i in range(3)]
    return [Cell(shown[..., part], spread(numbers[..., part])) for part in parts]


def spread(numbers: np.ndarray) -> str:
    """Smallest, largest and mean number, as a short text."""
    low, high, mean = (round(float(v), 2) + 0.0 for v in (numbers.min(), numbers.max(), numbers.mean()))
    return f"{low:.2f} to {high:.2f}, mean {mean:.2f}"


def scaled(pre: Preprocess) -> bool:
    """Whether mean and std change what the network receives."""
    return any(pre.mean) or any(value != 1 for value in pre.std)


def variants(
    table: Table, pre: Preprocess, policy: Policy | Guest, epoch: int, seed: int, allow_truncated: bool
) -> Iterator[Cell]:
    """What training with this seed draws for each row in this epoch, in RGB or gray; images are not mixed."""
    looked = replace(pre, colorspace="rgb", normalize="standard", mean=(), std=())
    alone = replace(policy, mixup=0.0, cutmix=0.0)
    images = batch(table, looked, allow_truncated, alone, epoch, seed)
    params = alone.draw(table.rows["id"].to_list(), epoch, seed)
    for index, image in enumerate(images):
        yield Cell(image, drawn(params, index, pre.depth))


def drawn(params: Params | GuestParams, index: int, depth: int = 3) -> str:
    """What was drawn for an image of `depth` channels, as a short text whose parts are not broken apart.

    A chain of AugMix may be, before an operation; one that has no weight to speak of is left out.
    """
    parts = [part for part in described(params, index, depth) if not part.startswith("0% ")]
    text = " ".join(f"{part},".replace(" ", NO_BREAK) for part in parts).rstrip(",")
    return text.replace(f"{NO_BREAK}+{NO_BREAK}", f" +{NO_BREAK}") or "unchanged"


def inside(policy: Guest) -> list[str]:
    """The transforms that a guest holds, by name: what each of them drew it does not tell."""
    names = [type(part).__name__ for part in parts(policy.transform)]
    return names[1:] or names


def notes(pre: Preprocess, policy: Policy | Guest, config: PreviewTree) -> list[str]:
    """What was done, for the head of the sheet."""
    mean, std = (", ".join(f"{v:.3g}" for v in values) for values in (pre.mean, pre.std))
    gray = ["gray"] if pre.depth == 1 else []
    steps = " · ".join([f"{pre.image_size} × {pre.image_size} px", *gray, pre.fit, *pre.steps()])
    lines = [f"Preparation: {steps} · mean {mean} and std {std} on the device."]
    if not policy.neutral:
        own = [f"{k} {v}" for k, v in config.augment.model_dump(exclude={"policy"}, exclude_none=True).items()]
        mixed = " Mixed batches are not shown." if policy.mixes else ""
        made_of = f" ({', '.join(inside(policy))})" if isinstance(policy, Guest) else ""
        lines.append(
            f"Augmentation: {', '.join([config.augment.policy, *own])}{made_of}; number k is what training with seed "
            f"{config.seed} draws in epoch k{'' if pre.colorspace == 'rgb' else ', before the colour space'}.{mixed}"
        )
    if pre.finishes:
        range_ = f"black is -{SHOWN:g}, grey 0, white +{SHOWN:g}" if scaled(pre) else "black is 0, white 1"
        lines.append(f"Where the network's input is shown, {range_}.")
    return lines
