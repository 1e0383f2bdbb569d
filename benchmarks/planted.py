"""Near duplicates planted on purpose: 400 photos, and of each what people and programs do to a photo."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

COUNT = 200  # photos of each of the two sets

# Pairs of TrashNet's photos that are near duplicates themselves: two shots of one thing, looked at by eye, and three
# files that are there twice.  They are neither right nor wrong, whoever finds them.
TWINS = {
    frozenset(pair.split())
    for pair in (
        "glass115 metal91", "glass176 plastic152", "glass389 plastic332", "metal11 metal221", "metal120 metal50",
        "metal122 metal57", "metal141 metal390", "paper101 paper108", "paper123 paper547", "paper135 paper496",
        "paper136 paper148", "paper147 paper99", "paper152 paper392", "paper176 paper549", "paper180 paper284",
        "paper185 paper390", "paper2 paper40", "paper246 paper349", "paper265 paper408", "paper305 paper308",
        "paper314 paper53", "paper345 paper451", "paper39 paper467", "paper457 paper553", "paper459 paper466",
        "paper474 paper89", "paper522 paper534", "paper540 paper56", "paper68 paper74", "plastic118 plastic137",
        "trash130 trash131",
    )
}  # fmt: skip


def originals(data: Path, count: int = COUNT) -> list[Path]:
    """The photos of photos/, then as many of TrashNet's training photos, evenly over its split.csv."""
    photos = sorted((data / "photos").iterdir())
    with (data / "trashnet" / "split.csv").open() as handle:
        train = [data / "trashnet" / row["image"] for row in csv.DictReader(handle) if row["split"] == "train"]
    return [few[i * len(few) // count] for few in (photos, train) for i in range(count)]


def plant(photos: list[Path], out: Path) -> None:
    """out/original/NNN.jpg, copies of the files, and out/KIND/NNN.jpg of every kind; made anew where incomplete."""
    stamp = "\n".join([*map(str, photos), *KINDS])
    if (out / ".made").is_file() and (out / ".made").read_text() == stamp:
        return
    shutil.rmtree(out, ignore_errors=True)
    for kind in ("original", *KINDS):
        (out / kind).mkdir(parents=True)
    for number, path in enumerate(photos):
        (out / "original" / f"{number:03d}.jpg").write_bytes(path.read_bytes())
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file).convert("RGB")
        for kind, change in KINDS.items():
            data = change(image, np.random.default_rng([number, len(kind)]))
            (out / kind / f"{number:03d}.jpg").write_bytes(data)
    (out / ".made").write_text(stamp)


def _jpeg(image: Image.Image, quality: int = 90) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def _resize(image: Image.Image, factor: float) -> bytes:
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return _jpeg(image.resize(size, Image.Resampling.BICUBIC))


def _crop(image: Image.Image, share: float, place: tuple[float, float]) -> bytes:
    width, height = round(image.width * (1 - share)), round(image.height * (1 - share))
    left, top = round(place[0] * (image.width - width)), round(place[1] * (image.height - height))
    return _jpeg(image.crop((left, top, left + width, top + height)))


def _border(image: Image.Image, rng: np.random.Generator) -> bytes:
    """5 % of the longer side all round, black or white."""
    return _jpeg(ImageOps.expand(image, round(0.05 * max(image.size)), ((0, 0, 0), (255, 255, 255))[rng.integers(2)]))


def _watermark(image: Image.Image, rng: np.random.Generator) -> bytes:
    """Half-transparent white text across most of the width, somewhere in the middle half of the height."""
    layer = Image.new("RGBA", image.size)
    font = ImageFont.load_default(size=max(10, image.width // 7))
    where = (0.05 * image.width, (0.25 + 0.35 * rng.random()) * image.height)
    ImageDraw.Draw(layer).text(where, "SAMPLE 2026", fill=(255, 255, 255, 128), font=font)
    return _jpeg(Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB"))


Change = Callable[[Image.Image, np.random.Generator], bytes]
KINDS: dict[str, Change] = {
    "jpeg quality 30": lambda image, _: _jpeg(image, 30),
    "resized x0.5": lambda image, _: _resize(image, 0.5),
    "resized x1.5": lambda image, _: _resize(image, 1.5),
    "brighter by 20 %": lambda image, _: _jpeg(ImageEnhance.Brightness(image).enhance(1.2)),
    "darker by 20 %": lambda image, _: _jpeg(ImageEnhance.Brightness(image).enhance(0.8)),
    "5 % cropped, centred": lambda image, _: _crop(image, 0.05, (0.5, 0.5)),
    "5 % cropped, anywhere": lambda image, rng: _crop(image, 0.05, tuple(rng.random(2))),
    "10 % cropped, centred": lambda image, _: _crop(image, 0.1, (0.5, 0.5)),
    "10 % cropped, anywhere": lambda image, rng: _crop(image, 0.1, tuple(rng.random(2))),
    "turned by 3 degrees": lambda image, rng: _jpeg(
        image.rotate(3 - 6 * int(rng.integers(2)), Image.Resampling.BICUBIC)
    ),
    "grey": lambda image, _: _jpeg(image.convert("L")),
    "border of 5 %": _border,
    "watermark": _watermark,
    "mirrored": lambda image, _: _jpeg(ImageOps.mirror(image)),
}
