"""The folder beside a table of generated images: each is written when it is made, and a call goes on from there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anmok.core.errors import ImageError, Interrupted, UsageError
from anmok.core.files import make_folder, read_json, write_atomic, write_json
from anmok.core.progress import bar, say
from anmok.data.decode import decode
from anmok.data.table import Table
from anmok.expand.generate import Order, Painter, Painting
from anmok.expand.judged import UNREADABLE
from anmok.stages.signals import polite_stop

IMAGES, REJECTED, ASKED = "images", "rejected", "settings.json"
NAME = 40  # characters of a class's name in its folder's


class Painted(NamedTuple):
    """An order's file, below `images` or `rejected`; fault: '' or what was wrong when it was made."""

    file: str
    fault: str = ""


def file_of(order: Order, classes: Sequence[str]) -> str:
    """'004-trash/00012.png': the class by place and name, of which letters, digits and a few signs stay."""
    plain = "".join(c if c.isalnum() or c in " -_." else "_" for c in classes[order.label])
    return f"{order.label:03d}-{plain[:NAME].strip()}/{order.number:05d}.png"


def check_asked(beside: Path, asked: Mapping[str, Any]) -> None:
    """Write down what is asked for, or find it there.  UsageError (code exists) where the folder is of another call."""
    file = beside / ASKED
    if not file.is_file():
        if beside.exists() and any(beside.iterdir()):
            raise UsageError(
                f"{beside} exists already and is no folder of generated images.", where="--out", code="exists",
                remedy="Remove it, or name another --out.",
            )  # fmt: skip
        make_folder(beside)
        write_json(file, dict(asked))
        return
    there = read_json(file)
    other = sorted(k for k in {*there, *asked} if there.get(k) != asked.get(k))
    if other:
        raise UsageError(
            f"its images were asked for otherwise: {', '.join(other)} differ.", where=str(beside), code="exists",
            remedy="Ask as before to go on, remove the folder, or name another --out.",
        )  # fmt: skip


def paint_all(
    orders: Sequence[Order], table: Table, beside: Path, painter: Callable[[], Painter], allow_truncated: bool = False
) -> list[Painted]:  # fmt: skip
    """Make what is not there yet, one file after the other, and say of each what was wrong with it.

    painter: called once, where anything is left to do.  Interrupted (resumable) when a signal asked to stop.
    """
    files = [file_of(order, table.classes) for order in orders]
    left = [n for n, file in enumerate(files) if find(beside, file) is None]
    if left and len(left) < len(files):
        say(f"{len(files) - len(left):,} of {len(files):,} images are there already")
    if left:
        brush = painter()
        with bar("images", len(left)) as progress, polite_stop() as stop:
            for done, n in enumerate(left):
                if stop():
                    raise Interrupted(
                        f"stopped after {len(files) - len(left) + done:,} of {len(files):,} images.",
                        where=str(beside), remedy="The same command goes on from there.",
                    )  # fmt: skip
                made = _painted(orders[n], table, brush, allow_truncated)
                if made is not None:
                    write_image(beside / IMAGES / files[n], made, orders[n], brush.name)
                progress.advance(1, orders[n].prompt[:40])
    return [Painted(file, _fault(find(beside, file))) for file in files]


def find(beside: Path, file: str) -> Path | None:
    """Where an image lies, taken or refused; None where it is not made yet."""
    return next((p for kind in (IMAGES, REJECTED) if (p := beside / kind / file).is_file()), None)


def write_image(path: Path, made: Painting, order: Order, model: str) -> None:
    """The PNG, with its prompt, seed, model and fault as texts inside."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    texts = {"prompt": order.prompt, "seed": str(order.seed), "model": model, "fault": made.fault, "generated": "true"}
    if order.start is not None:
        texts["source"] = order.start.id
    info = PngInfo()
    for key, text in texts.items():
        info.add_itxt(key, text.encode("utf-8", "replace").decode())
    write_atomic(path, lambda to: Image.fromarray(made.image).save(to, "PNG", pnginfo=info))


def _painted(order: Order, table: Table, brush: Painter, allow_truncated: bool) -> Painting | None:
    """The painting of an order; None where the image it begins with cannot be read."""
    start = None
    if order.start is not None:
        try:
            start = decode(table.storage.read(order.start.image), allow_truncated=allow_truncated)
        except ImageError:
            return None
    return brush.paint(order.prompt, order.seed, start)


def _fault(path: Path | None) -> str:
    from PIL import Image, UnidentifiedImageError

    if path is None:
        return UNREADABLE
    try:
        with Image.open(path) as image:
            return str(getattr(image, "text", {}).get("fault", ""))
    except (OSError, UnidentifiedImageError, ValueError):
        return UNREADABLE


def pixels(beside: Path, file: str) -> np.ndarray | None:
    """The image uint8[H, W, 3]; None where there is none that can be read."""
    path = find(beside, file)
    if path is None:
        return None
    try:
        return decode(path.read_bytes())
    except (ImageError, OSError):
        return None


def sort_out(beside: Path, painted: Sequence[Painted], taken: Sequence[bool]) -> None:
    """Move each image to where its verdict says: taken ones to `images`, the others to `rejected`."""
    for one, yes in zip(painted, taken, strict=True):
        here, goal = find(beside, one.file), beside / (IMAGES if yes else REJECTED) / one.file
        if here is not None and here != goal:
            make_folder(goal.parent)
            here.replace(goal)
            with contextlib.suppress(OSError):  # not empty
                here.parent.rmdir()
