"""Pictures with enough in them to be told apart, and the bytes of their files."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def scene(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    """A picture of things in colour on a shaded ground, different for each seed."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(60, 250, (2, 2, 3)).astype(np.uint8)
    image = Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(image)
    for kind in rng.integers(0, 3, 40):
        x, y = rng.integers(-20, width), rng.integers(-20, height)
        w, h = rng.integers(8, width // 3, 2)
        color = tuple(int(v) for v in rng.integers(0, 256, 3))
        box = (int(x), int(y), int(x + w), int(y + h))
        if kind == 0:
            draw.rectangle(box, fill=color)
        elif kind == 1:
            draw.ellipse(box, fill=color)
        else:
            draw.line(box, fill=color, width=4)
    return image.filter(ImageFilter.GaussianBlur(0.8))


def encoded(image: Image.Image, form: str = "JPEG", **options: object) -> bytes:
    """The bytes of a file of the picture."""
    out = io.BytesIO()
    image.save(out, form, **({"quality": 90} | options if form == "JPEG" else options))
    return out.getvalue()


def gray(image: Image.Image) -> np.ndarray:
    """uint8[H, W] luma."""
    return np.asarray(image.convert("L"))
