"""What the pixels of one small decode say: light, colour, detail, sharpness. Every value is of sRGB as stored (gamma
encoded), luma is ITU-R 601.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

SIDE = 128  # pixels are measured on a decode whose short side is at least this, where the format can be scaled
REBLUR = 0.7  # pixels: the Gaussian that `sharpness` compares with
PERCENTILES = {"luma_1": 0.01, "luma_5": 0.05, "luma_95": 0.95, "luma_99": 0.99}
_SHARES = np.array(list(PERCENTILES.values())) - 1e-9  # a sum of shares may be a little short
_FAINT = 1e-3  # a direction with less than this share of the other's fourth powers has no edges to judge by
_LEVELS = np.arange(256, dtype=np.float64)


def color(pixels: np.ndarray) -> dict[str, float]:
    """mean_r … std_b: mean and population standard deviation of each channel, in [0, 1]; colorfulness and chroma.

    pixels: uint8[H, W, 3].  colorfulness: M of Hasler & Süsstrunk 2003, eq. 7 (levels of 255; the authors found 0 to be
    not colourful, 33 moderately, 82 highly): all its moments follow from the mean squared differences of two channels.
    chroma: root mean square of the differences R - G, G - B and B - R, in [0, 1]; 0 for grey.
    """
    import cv2

    n = pixels.shape[0] * pixels.shape[1]
    r, g, b = planes = cv2.split(pixels)
    means = [total / n for total in cv2.sumElems(pixels)[:3]]
    found = {f"mean_{name}": mean / 255 for name, mean in zip("rgb", means, strict=True)}
    for name, plane, mean in zip("rgb", planes, means, strict=True):
        found[f"std_{name}"] = math.sqrt(max(_square(plane) / n - mean**2, 0)) / 255
    rg, gb, br = (cv2.norm(one, other, cv2.NORM_L2SQR) / n for one, other in ((r, g), (g, b), (b, r)))
    center_rg, center_yb = means[0] - means[1], (means[0] + means[1]) / 2 - means[2]
    yb = (2 * br + 2 * gb - rg) / 4  # mean of ((R + G) / 2 - B)²
    spread = max(rg - center_rg**2, 0) + max(yb - center_yb**2, 0)
    found["colorfulness"] = math.sqrt(spread) + 0.3 * math.hypot(center_rg, center_yb)
    found["chroma"] = math.sqrt((rg + gb + br) / 3) / 255
    return found


def light(small: np.ndarray) -> dict[str, float]:
    """brightness, contrast: mean and population standard deviation of luma, in [0, 1]; luma_1, luma_5, luma_95,
    luma_99: its percentiles, in [0, 1]; entropy: of its histogram of 256 bins, in bits, [0, 8].

    small: uint8[H, W], as `reduce` gives it.
    """
    return light_of([histogram(small)])[0]


def histogram(small: np.ndarray) -> np.ndarray:
    """How many pixels of uint8[H, W] have each level, float32[256]."""
    import cv2

    return cv2.calcHist([small], [0], None, [256], [0, 256]).ravel()


def light_of(histograms: Sequence[np.ndarray]) -> list[dict[str, float]]:
    """`light` by each histogram; all at once, as most of the time for one goes into calling numpy."""
    counts = np.array(histograms, np.float64).reshape(-1, 256)
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ _LEVELS
    found = {
        "brightness": mean / 255,
        "contrast": np.sqrt(np.maximum(share @ _LEVELS**2 - mean**2, 0)) / 255,
        **dict(zip(PERCENTILES, (share.cumsum(axis=1) < _SHARES[:, None, None]).sum(axis=2) / 255, strict=True)),
        "entropy": np.maximum(-(share * np.log2(np.where(share > 0, share, 1))).sum(axis=1), 0),
    }
    columns = [values.tolist() for values in found.values()]
    return [dict(zip(found, row, strict=True)) for row in zip(*columns, strict=True)]


def edges(small: np.ndarray) -> dict[str, float | None]:
    """sharpness: the lesser of 1 - Σ(∂ G ∗ I)⁴ / Σ(∂ I)⁴ across and down, in [0, 1]; detail: root mean square of |∇I|,
    where white is 1; None where a side is below three pixels, sharpness also where nothing changes.

    small: uint8[H, W], as `reduce` gives it.  I: the picture, ∂: the difference of neighbours, G: a Gaussian of REBLUR
    pixels.  A sharp picture loses much by being blurred again, a blurred one has nothing left to lose (Crété-Roffet et
    al. 2007, SPIE 6492): of an edge that a Gaussian of σ pixels has blurred, (σ² / (σ² + REBLUR²))^1.5 is kept (after
    the ratio of gradients of Zhuo & Sim 2011, Pattern Recognition 44:9). The fourth power lets the strongest edges
    decide, so that neither a plain background nor noise counts. A ratio at one scale, it does not depend on contrast
    or on the size of the file; the lesser of two directions sees a motion too.
    """
    import cv2

    if min(small.shape) < 3:
        return {"sharpness": None, "detail": None}
    values = small.astype(np.float32)
    across, down = _differences(values)
    energy = cv2.sumElems(across)[0] + cv2.sumElems(down)[0]
    before = _square(across), _square(down)
    after = map(_square, _differences(cv2.GaussianBlur(values, (5, 5), REBLUR)))
    kept = [a / b for a, b in zip(after, before, strict=True) if b > _FAINT * max(before)]
    return {
        "sharpness": max(0.0, 1 - max(kept)) if kept else None,
        "detail": math.sqrt(energy / values.size) / 255,
    }


def _differences(values: np.ndarray) -> list[np.ndarray]:
    """Squared differences of neighbours, across and down, of float32[H, W]."""
    import cv2

    pairs = (values[:, 1:], values[:, :-1]), (values[1:], values[:-1])
    steps = [cv2.subtract(one, other) for one, other in pairs]
    return [cv2.multiply(step, step, step) for step in steps]


def reduce(gray: np.ndarray) -> np.ndarray:
    """uint8[H, W] with a short side of SIDE or, where it was smaller, as it is: halved by means, the rest bilinear."""
    import cv2

    height, width = gray.shape
    while min(height, width) >= 2 * SIDE:
        height, width = (height + 1) // 2, (width + 1) // 2
        gray = cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA)
    if min(height, width) > SIDE:
        scale = SIDE / min(height, width)
        size = (max(SIDE, round(width * scale)), max(SIDE, round(height * scale)))
        gray = cv2.resize(gray, size, interpolation=cv2.INTER_LINEAR)
    return gray


def _square(values: Any) -> float:
    """Σ v² of an array of OpenCV's."""
    import cv2

    return float(cv2.norm(values, cv2.NORM_L2SQR))
