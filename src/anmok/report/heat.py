"""Maps of numbers as pictures: a scale of colours that grows evenly lighter, alone or laid over an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# From nothing to most: dark violet over red to pale yellow, told apart by lightness too, in any kind of colour sight.
COLORS = (
    (13, 8, 35), (58, 15, 86), (103, 26, 108), (148, 38, 103), (190, 54, 85), (224, 83, 57), (245, 125, 21),
    (251, 174, 18), (245, 219, 75), (252, 255, 164),
)  # fmt: skip
COVER = 0.68  # of the image that the largest value hides


def scaled(values: np.ndarray) -> np.ndarray:
    """Values brought to [0, 1] by their smallest and largest; all 0 where they are all the same. NaN stays."""
    low, high = (float(f(values[np.isfinite(values)], initial=v)) for f, v in ((np.min, np.inf), (np.max, -np.inf)))
    if not high > low:
        return np.where(np.isnan(values), np.nan, 0.0)
    return (values - low) / (high - low)


def colored(values: np.ndarray) -> np.ndarray:
    """float[H, W] in [0, 1] as uint8[H, W, 3]; NaN is black."""
    steps = np.linspace(0, 1, len(COLORS))
    known = np.nan_to_num(values)
    parts = [np.interp(known, steps, [color[i] for color in COLORS]) for i in range(3)]
    return np.where(np.isnan(values)[..., None], 0, np.rint(np.stack(parts, axis=-1))).astype(np.uint8)


def gray(values: np.ndarray) -> np.ndarray:
    """float[H, W] in [0, 1] as uint8[H, W, 1]."""
    return np.rint(np.clip(np.nan_to_num(values), 0, 1) * 255).astype(np.uint8)[..., None]


def overlay(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The image uint8[H, W, 1 | 3] under its map float[H, W] in [0, 1], as uint8[H, W, 3].

    A place of value 0 shows the image as it is, a larger one more and more of its colour; where the map is NaN, which
    the network did not see, the image is pale.
    """
    base = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    cover = (COVER * np.nan_to_num(values))[..., None]
    out = base * (1 - cover) + colored(values) * cover
    return np.rint(np.where(np.isnan(values)[..., None], 255 - (255 - base) * 0.25, out)).astype(np.uint8)


def enlarged(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """float[h, w] as float32[height, width], bilinear between the middles of the cells."""
    from PIL import Image

    picture = Image.fromarray(values.astype(np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))


def ringed(
    picture: np.ndarray, centre: tuple[float, float], radii: Sequence[float], scale: int, color: tuple[int, int, int]
) -> np.ndarray:
    """The picture uint8[H, W, 3] enlarged `scale` times, with a circle of each radius about centre (row, column)."""
    from PIL import Image, ImageDraw

    size = picture.shape[1] * scale, picture.shape[0] * scale
    image = Image.fromarray(picture).resize(size, Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    y, x = ((c + 0.5) * scale for c in centre)
    for radius in radii:
        r = radius * scale
        draw.ellipse((x - r, y - r, x + r, y + r), outline=color, width=2)
    return np.asarray(image)
