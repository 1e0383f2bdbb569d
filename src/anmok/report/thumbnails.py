"""Small pictures for a page: WebP of a few kilobytes, without any metadata of the original."""

from __future__ import annotations

import io

import numpy as np

SIDE = 176  # pixels: 2 × the width of a card on a phone's screen would be 320; this stays near 4 kB
QUALITY = 72


def thumbnail(image: np.ndarray, side: int = SIDE, quality: int = QUALITY) -> bytes:
    """WebP bytes of an image uint8[H, W, 1 or 3], long side at most `side`; small pictures keep their size."""
    from PIL import Image

    array = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    picture = Image.fromarray(array).convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=quality, method=4)
    return out.getvalue()
