"""Geometry composed into one warp beside the sequence of warps it stands for, both beside a finer reference.

    .venv/bin/python benchmarks/composition.py

About a minute.  Pairs and triples of RandAugment's geometry at magnitudes 9 and 15 of 30, and the crop, rotation and
shear of `light` and `medium`, on real photos at 224 px: ours is one bilinear warp (`anmok.augment.apply`), the sequence
is torchvision's, a bilinear warp for each operation, black where nothing is left. The reference is the same sequence on
the photo enlarged four times (bicubic), in float32, each pixel the mean of the four samples about its centre. Every
interpolation takes away fine detail, so the sequence is the softer one; `detail` is the mean step between neighbouring
pixels, as a share of the reference's.

The bounds: one warp and the sequence differ by at most 2.5 of 255 in the mean over all pixels of the median photo (an
interpolation that is left out is fine detail that is kept, so it is more on finer photos: `high` has the finest, 5.1
where two rotations undo each other and one warp leaves the photo as it was); and one warp is nearer to the reference
than the sequence, or as near where both interpolate once. Errors, detail and the largest difference are those of pixels
whose source lies inside the photo at every step, two pixels from the border of that. Nothing is timed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import RESULTS, SCRATCH, Figure, arguments, context, data_root, figure, fingerprint, finish, write

from anmok.augment import apply
from anmok.augment.params import VALUES, Op, Params

SIZE, SOURCE, FINER, SEED = 224, 256, 4, 0  # of the pictures; of those that a crop starts from; of the reference
PHOTOS, EDGE = 24, 2
BOUND, NEARER = "<= 2.5", "<= 1.01"
COMPOSITIONS = (
    "rotate+shear x", "shear x+rotate", "shear y+rotate", "shear x+shear y", "rotate+rotate", "translate+rotate",
    "rotate+shear x+shear y", "shear x+translate+rotate", "rotate+rotate+rotate",
)  # fmt: skip
CROPS = ("crop+rotate", "crop+rotate+shear x")
SHOWN = ("rotate+shear x", "rotate+rotate+rotate", "shear x+translate+rotate", "crop+rotate+shear x")
WINDOW = 84  # pixels of a picture that the sheet shows, enlarged twice


class Drawn(NamedTuple):
    """One operation: its name, its magnitude in torchvision's units; of a crop, left, top and side in pixels."""

    name: str
    value: float = 0.0
    box: tuple[int, int, int] = (0, 0, 0)


class Seen(NamedTuple):
    """What became of one photo: ours, the sequence, the reference (float64[S, S, 3]), and where they are compared."""

    ours: np.ndarray
    sequence: np.ndarray
    reference: np.ndarray
    inside: np.ndarray


def draw(names: Sequence[str], magnitude: int, rng: np.random.Generator) -> list[Drawn]:
    """Operations at RandAugment's magnitude (of 30), signs drawn; of light and medium, drawn from their ranges."""
    most = {"shear": 0.3, "rotate": 30.0, "translate": 150 / 331 * SIZE}
    out = []
    for name in names:
        if name == "crop":
            side = int(rng.integers(200, 251))
            left, top = (int(v) for v in rng.integers(0, SOURCE - side + 1, 2))
            out.append(Drawn(name, 0.0, (left, top, side)))
            continue
        value = most[name.split()[0]] * magnitude / 30 * rng.choice([-1.0, 1.0])
        if names[0] == "crop":
            value = rng.uniform(-15, 15) if name == "rotate" else math.tan(math.radians(rng.uniform(-5, 5)))
        out.append(Drawn(name, float(int(value)) if name == "translate" else value))
    return out


def program(drawn: Sequence[Drawn]) -> Params:
    """The operations as our parameters of one image."""
    rows: list[tuple[Op, list[float]]] = []
    for one in drawn:
        if one.name == "crop":
            left, top, side = one.box
            free = SOURCE - side
            rows.append((Op.CROP, [(side / SOURCE) ** 2, 0.0, 1.0, left / free, top / free]))
        elif one.name == "rotate":
            rows.append((Op.ROTATE, [math.radians(one.value)]))
        elif one.name == "translate":
            rows.append((Op.TRANSLATE, [0.0, 0.0, one.value, 0.0]))
        else:
            rows.append((Op.SHEAR_X if one.name == "shear x" else Op.SHEAR_Y, [-one.value, 1.0]))
    values = np.array([[numbers + [0.0] * (VALUES - len(numbers)) for _, numbers in rows]], np.float32)
    return Params(np.array([[op for op, _ in rows]], np.int8), values, np.array([7], np.uint64), border="fill")


def sequence(image: Any, drawn: Sequence[Drawn], finer: int = 1) -> Any:
    """The operations one after the other by torchvision, on a tensor [3, H, W] that is `finer` times enlarged."""
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as F

    bilinear = InterpolationMode.BILINEAR
    for one in drawn:
        if one.name == "crop":
            left, top, side = (finer * v for v in one.box)
            image = F.resized_crop(image, top, left, side, side, [SIZE * finer, SIZE * finer], bilinear, antialias=True)
        elif one.name == "rotate":
            image = F.rotate(image, one.value, bilinear)
        elif one.name == "translate":
            image = F.affine(image, 0.0, [int(one.value) * finer, 0], 1.0, [0.0, 0.0], bilinear)
        else:
            angle = math.degrees(math.atan(one.value))
            shear = [angle, 0.0] if one.name == "shear x" else [0.0, angle]
            image = F.affine(image, 0.0, [0, 0], 1.0, shear, bilinear, center=[0, 0])
    return image


def about_centre(image: Any) -> np.ndarray:
    """float64[S, S, C] of a tensor [C, 4 S, 4 S]: the mean of the four samples about the centre of each pixel."""
    low = FINER // 2 - 1
    parts = [image[:, y::FINER, x::FINER] for y in (low, low + 1) for x in (low, low + 1)]
    return (sum(parts) / len(parts)).permute(1, 2, 0).double().numpy()


def compare(photo: np.ndarray, drawn: Sequence[Drawn]) -> Seen:
    """Ours, the sequence and the reference of one photo uint8[H, W, 3]."""
    import cv2
    import torch

    tensor = torch.from_numpy(photo.copy()).permute(2, 0, 1)
    large = torch.nn.functional.interpolate(tensor[None].float(), scale_factor=FINER, mode="bicubic")[0].clamp(0, 255)
    reference = about_centre(sequence(large, drawn, FINER))
    covered = about_centre(sequence(torch.ones_like(large[:1]), drawn, FINER))[..., 0]
    kernel = np.ones((2 * EDGE + 1, 2 * EDGE + 1), np.uint8)
    inside = cv2.erode((covered > 0.999).astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    ours = apply(photo[None], program(drawn), SIZE)[0]
    theirs = sequence(tensor, drawn).permute(1, 2, 0).numpy()
    return Seen(ours.astype(np.float64), theirs.astype(np.float64), reference, inside)


def detail(image: np.ndarray, inside: np.ndarray) -> float:
    """Mean step between neighbours inside, both ways."""
    across, down = np.abs(np.diff(image, axis=1)), np.abs(np.diff(image, axis=0))
    return float(across[inside[:, 1:] & inside[:, :-1]].mean() + down[inside[1:] & inside[:-1]].mean())


def measured(subject: str, seen: Sequence[Seen], note: str) -> list[Figure]:
    """The figures of one composition over all photos; the value is their median."""

    def over(work: Callable[[Seen], float]) -> list[float]:
        return [work(one) for one in seen]

    def error(of: Callable[[Seen], np.ndarray]) -> list[float]:
        return over(lambda s: float(np.abs(of(s) - s.reference)[s.inside].mean()))

    def sharp(of: Callable[[Seen], np.ndarray]) -> list[float]:
        return over(lambda s: detail(of(s), s.inside) / detail(s.reference, s.inside))

    apart = over(lambda s: float(np.abs(s.ours - s.sequence).mean()))
    largest = over(lambda s: float(np.abs(s.ours - s.sequence)[s.inside].max()))
    theirs = error(lambda s: s.sequence)
    against = ("sequence", float(np.median(theirs)))
    common: dict[str, Any] = {"seeds": [SEED], "note": note}
    return [
        figure(subject, "mean difference, one warp to sequence", "of 255", apart, bound=BOUND, **common),
        figure(subject, "largest difference inside", "of 255", largest, **common),
        figure(subject, "error of the sequence", "of 255", theirs, **common),
        figure(
            subject, "error of one warp", "of 255", error(lambda s: s.ours), against=against, bound=NEARER, **common
        ),
        figure(subject, "detail of the sequence", "share", sharp(lambda s: s.sequence), **common),
        figure(subject, "detail of one warp", "share", sharp(lambda s: s.ours), **common),
    ]


def photos(folder: Path, count: int, side: int) -> list[np.ndarray]:
    """uint8[side, side, 3] of photos taken evenly over a folder: their middle square, made smaller by Pillow."""
    from PIL import Image, ImageOps

    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg"))
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, count).round().astype(int)]
    return [
        np.asarray(ImageOps.fit(Image.open(p).convert("RGB"), (side, side), Image.Resampling.BILINEAR)) for p in chosen
    ]


def window(seen: Seen) -> tuple[slice, slice]:
    """Where the reference has the most detail, all of it inside."""
    best, place = -1.0, (slice(0, WINDOW), slice(0, WINDOW))
    for y in range(0, SIZE - WINDOW + 1, 14):
        for x in range(0, SIZE - WINDOW + 1, 14):
            part = slice(y, y + WINDOW), slice(x, x + WINDOW)
            found = detail(seen.reference[part], np.ones((WINDOW, WINDOW), bool)) if seen.inside[part].all() else -1
            if found > best:
                best, place = found, part
    return place


def sheet(examples: Sequence[tuple[str, Seen]]) -> Any:
    """A row for each composition: reference, one warp, sequence, and four times the difference of the two."""
    from anmok.report.sheet import Cell, Row, draw_sheet

    rows = []
    for name, seen in examples:
        part = window(seen)
        gap = np.abs(seen.ours - seen.sequence)[part]
        pictures = [seen.reference[part], seen.ours[part], seen.sequence[part], 4 * gap]
        said = ["", *(f"off by {np.abs(p - pictures[0]).mean():.1f} in the mean" for p in pictures[1:3])]
        said.append(f"{gap.mean():.1f} in the mean, {gap.max():.0f} at most")
        cells = [
            Cell(np.rint(np.clip(p, 0, 255)).astype(np.uint8), text) for p, text in zip(pictures, said, strict=True)
        ]
        rows.append(Row(name, "", cells))
    notes = [f"{WINDOW} × {WINDOW} of 224 × 224 pixels, enlarged twice. Both are bilinear; the reference is finer."]
    columns = ["reference", "one warp", "sequence", "difference ×4"]
    return draw_sheet("One warp beside the sequence it stands for", notes, columns, rows, side=2 * WINDOW)


def main() -> None:
    """Every composition on every photo, and the sheet."""
    options = arguments(__doc__)
    folder = data_root() / "photos"
    count = 4 if options.quick else PHOTOS
    plain, large = photos(folder, count, SIZE), photos(folder, count, SOURCE)
    figures, examples = [], {}
    for name in (*COMPOSITIONS, *CROPS):
        names = name.split("+")
        for magnitude in (0,) if "crop" in names else (9, 15):
            rng = np.random.default_rng(SEED)
            seen = [compare(photo, draw(names, magnitude, rng)) for photo in (large if "crop" in names else plain)]
            subject = f"{name}, magnitude {magnitude}" if magnitude else name
            figures += measured(subject, seen, f"{count} photos")
            if name in SHOWN and magnitude in (0, 15):
                examples[name] = (subject, max(seen, key=lambda s: detail(s.reference, s.inside)))
    target = SCRATCH / "quick" if options.quick else RESULTS
    target.mkdir(parents=True, exist_ok=True)
    sheet([examples[name] for name in SHOWN]).save(target / "composition.png", optimize=True)
    where = context(f"photos {fingerprint(folder)}")
    finish(write("composition", figures, where, options.quick), options.quick)


if __name__ == "__main__":
    main()
