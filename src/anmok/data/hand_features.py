"""Features made by hand, for what a simple classifier can do without a network: pixels, colours, edges, texture.

Each is a function of one image; none learns anything. They tell apart what a network's own features have to beat.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from anmok.core.errors import UsageError, did_you_mean
from anmok.core.optional import need

PIXEL_SIDE = 32  # a larger picture is made this small: at 224 pixels a classifier would have 150,528 columns
BINS = 8  # of the colour histogram, a channel
HOG_SIDE = 64  # at which edges are counted, so that their number does not grow with the picture
CELL = 8  # pixels a cell of HOG
ORIENTATIONS = 9
PATTERNS = ((8, 1), (16, 2))  # local binary patterns: points on a circle of this radius, pixels
LUMA = np.array([19595, 38470, 7471]) / 65536  # ITU-R 601, as `core.pixels.luma`
GRID = 4  # LBP histograms of GRID × GRID parts of the picture
LEAST_SIDE = 16  # of an image that HOG and LBP can look at


def hand_features(name: str, images: np.ndarray) -> np.ndarray:
    """float32[N, D] of uint8[N, S, S, C], C 1 or 3.  name: pixels, colors, hog or lbp.

    UsageError for another name, or images too small for it; MachineError where hog or lbp lack scikit-image.
    """
    if name not in HAND:
        raise UsageError(f"no such features as {name}.", remedy=did_you_mean(name, HAND), code="setting")
    if name in ("hog", "lbp"):
        need("skimage.feature", "features")
        if images.shape[1] < LEAST_SIDE:
            raise UsageError(
                f"{name} needs images of at least {LEAST_SIDE} pixels, found {images.shape[1]}.",
                where="--image-size", code="setting",
            )  # fmt: skip
    return np.stack([HAND[name](image) for image in images]).astype(np.float32)


def pixels(image: np.ndarray) -> np.ndarray:
    """float32[s·s·C] in [0, 1]: the picture itself, its side s at most PIXEL_SIDE."""
    return (_at_most(image, PIXEL_SIDE).astype(np.float32) / 255).ravel()


def colors(image: np.ndarray) -> np.ndarray:
    """float32[BINS ** C]: square roots of the shares of the joint colour histogram (Swain & Ballard 1991).

    The square root makes Euclidean distance that of Hellinger, so that a large even background does not decide alone.
    """
    bins = image.reshape(-1, image.shape[2]).astype(np.int64) * BINS // 256
    index = np.ravel_multi_index(tuple(bins.T), (BINS,) * image.shape[2])
    counts = np.bincount(index, minlength=BINS ** image.shape[2])
    return np.sqrt(counts / len(bins)).astype(np.float32)


def hog(image: np.ndarray) -> np.ndarray:
    """float32[D]: histograms of oriented gradients (Dalal & Triggs 2005) of the grey image, its side at most HOG_SIDE.

    9 unsigned orientations, cells of 8 × 8 pixels, blocks of 2 × 2 cells normalised by L2-Hys; 1,764 numbers of 64 px.
    """
    from skimage.feature import hog as histograms

    gray = _gray(_at_most(image, HOG_SIDE))
    cells = min(2, gray.shape[0] // CELL)
    return histograms(
        gray, orientations=ORIENTATIONS, pixels_per_cell=(CELL, CELL), cells_per_block=(cells, cells),
        block_norm="L2-Hys",
    ).astype(np.float32)  # fmt: skip


def lbp(image: np.ndarray) -> np.ndarray:
    """float32[448]: histograms of uniform local binary patterns (Ojala et al. 2002) in 4 × 4 parts of the grey image.

    (8 points, radius 1) and (16, 2): each pixel's pattern, whatever its rotation, then square roots of the shares.
    """
    from skimage.feature import local_binary_pattern

    gray, out = np.rint(_gray(image)).astype(np.uint8), []
    for points, radius in PATTERNS:
        codes = local_binary_pattern(gray, points, radius, method="uniform").astype(np.int64)
        for rows in np.array_split(codes, GRID, axis=0):
            for part in np.array_split(rows, GRID, axis=1):
                out.append(np.bincount(part.ravel(), minlength=points + 2) / part.size)
    return np.sqrt(np.concatenate(out)).astype(np.float32)


HAND: dict[str, Callable[[np.ndarray], np.ndarray]] = {"pixels": pixels, "colors": colors, "hog": hog, "lbp": lbp}


def _gray(image: np.ndarray) -> np.ndarray:
    """float64[H, W] in [0, 255]: the luma."""
    return image[..., 0].astype(np.float64) if image.shape[2] == 1 else image.astype(np.float64) @ LUMA


def _at_most(image: np.ndarray, side: int) -> np.ndarray:
    """A square image made smaller, if it is larger, by the mean over the area of each pixel."""
    import cv2

    if image.shape[0] <= side:
        return image
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return small.reshape(side, side, image.shape[2])
