"""What every room means by grey, and the usual normalisation of photos."""

from __future__ import annotations

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# The same statistics of the grey image: the luma of the means, and a spread between the channels'.
GRAY_MEAN = (0.458,)
GRAY_STD = (0.226,)


def luma(color: tuple[int, int, int]) -> int:
    """ITU-R 601 grey of an RGB colour in [0, 255], rounded as Pillow does."""
    r, g, b = color
    return (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16
