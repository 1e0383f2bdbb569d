"""The pending geometry of a batch as arrays: what `host.Canvas` keeps for one image, and the same rules."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anmok.augment.device_matrices import affine, crop_boxes, steps
from anmok.augment.params import Op
from anmok.augment.resample import ALIAS

HFLIP, VFLIP, CROP = int(Op.HFLIP), int(Op.VFLIP), int(Op.CROP)


class Cut(NamedTuple):
    """A frame passed on the way, which cuts what a fill-bordered warp shows: of the images where `on`."""

    on: np.ndarray
    matrix: np.ndarray
    width: np.ndarray
    height: np.ndarray


class Moves:
    """Geometry of n images of width and height [n], into frames of `output` (width, height) after a CROP.

    box int64[n, 4], mirrored bool[n, 2], moved bool[n] (whether there is a matrix) and matrix float64[n, 3, 3] as in
    Canvas; region int64[n, 4]: the part (left, top, width, height) of the image that the matrix speaks of.
    """

    def __init__(self, width: np.ndarray, height: np.ndarray, output: tuple[int, int], cuts: bool):
        n = len(width)
        self.width, self.height, self.output, self.cuts = width.copy(), height.copy(), output, cuts
        self.box = np.stack([np.zeros(n, np.int64), np.zeros(n, np.int64), width, height], 1)
        self.region = self.box.copy()
        self.mirrored = np.zeros((n, 2), bool)
        self.moved = np.zeros(n, bool)
        self.matrix = np.tile(np.eye(3), (n, 1, 1))
        self.passed: list[Cut] = []

    def move(self, at: np.ndarray, ops: np.ndarray, values: np.ndarray) -> None:
        """One operation for each of the images at these places: codes [m], numbers [m, 8]."""
        flips = ((ops == HFLIP) | (ops == VFLIP)) & ~self.moved[at]
        self.mirrored[at[flips], ops[flips] - HFLIP] ^= True
        whole = (self.box[at, 2] == self.width[at]) & (self.box[at, 3] == self.height[at])
        boxes = (ops == CROP) & ~self.moved[at] & whole
        if boxes.any():
            i = at[boxes]
            found = crop_boxes(values[boxes], self.width[i], self.height[i])
            other = np.stack([self.width[i], self.height[i]], 1) - found[:, :2] - found[:, 2:]
            found[:, :2] = np.where(self.mirrored[i], other, found[:, :2]) + self.box[i, :2]
            self.box[i] = found
            self.width[i], self.height[i] = self.output
        rest = ~flips & ~boxes
        if rest.any():
            self._warp(at[rest], ops[rest], values[rest])

    def _warp(self, at: np.ndarray, ops: np.ndarray, values: np.ndarray) -> None:
        step = steps(ops, values, self.width[at], self.height[at], self.output)
        fresh = at[~self.moved[at]]
        passed = at[self.moved[at] & (ops != HFLIP) & (ops != VFLIP)]
        self.begin(fresh)
        if self.cuts and len(passed):
            on = np.zeros(len(self.moved), bool)
            on[passed] = True
            self.passed.append(Cut(on, np.tile(np.eye(3), (len(on), 1, 1)), self.width.copy(), self.height.copy()))
        self.matrix[at] = self.matrix[at] @ step
        for cut in self.passed:
            cut.matrix[at] = cut.matrix[at] @ step
        crops = at[ops == CROP]
        self.width[crops], self.height[crops] = self.output

    def begin(self, at: np.ndarray) -> None:
        """Source from frame of the box, the resize and the flips of images that have no matrix yet."""
        if self.cuts:
            self.region[at] = self.box[at]
        self.matrix[at] = resizing(self.box[at], self.region[at], self.width[at], self.height[at], self.mirrored[at])
        self.moved[at] = True


def resizing(
    box: np.ndarray, region: np.ndarray, width: np.ndarray, height: np.ndarray, mirrored: np.ndarray
) -> np.ndarray:
    """float64[n, 3, 3]: places in the region, from those in frames that show the box, mirrored where bool[n, 2] says.

    Half-pixel centres, edges on edges.
    """
    left, top = (box[:, :2] - region[:, :2]).T
    box_w, box_h = box[:, 2:].T
    sx = box_w / width * np.where(mirrored[:, 0], -1, 1)
    sy = box_h / height * np.where(mirrored[:, 1], -1, 1)
    x, y = left + box_w / 2 - 0.5 - sx * (width - 1) / 2, top + box_h / 2 - 0.5 - sy * (height - 1) / 2
    return affine(sx, 0, x, 0, sy, y, len(box))


def near(matrix: np.ndarray, region: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of the region that the frame's corners reach, and its matrix, where it all lies inside; see host.near.

    matrix float64[n, 3, 3], region int64[n, 4], frames of one size.
    """
    corners = matrix @ np.array([[0, width - 1, 0, width - 1], [0, 0, height - 1, height - 1], [1.0, 1, 1, 1]])
    ahead = (corners[:, 2] > 0).all(1)
    places = corners[:, :2] / np.where(ahead[:, None, None], corners[:, 2:], 1)
    low = np.trunc(np.clip(places.min(2) - 4, -1e9, 1e9)).astype(np.int64)
    high = np.trunc(np.clip(places.max(2) + 5, -1e9, 1e9)).astype(np.int64)
    inside = ahead & (low > 0).all(1) & (high < region[:, 2:]).all(1)
    low, high = np.where(inside[:, None], low, 0), np.where(inside[:, None], high, region[:, 2:])
    moved = matrix - low_column(low) * matrix[:, 2:]
    return moved, np.concatenate([region[:, :2] + low, high - low], 1)


def low_column(low: np.ndarray) -> np.ndarray:
    """float64[n, 3, 1]: x, y, 0 of int64[n, 2]."""
    return np.concatenate([low, np.zeros((len(low), 1))], 1)[:, :, None]


def shrunk_sizes(matrix: np.ndarray, region: np.ndarray, width: int, height: int) -> np.ndarray:
    """int64[n, 2]: the width and height to which the regions are made smaller before the warp; see host.shrunk."""
    x, y = (width - 1) / 2, (height - 1) / 2
    w = matrix[:, 2, 0] * x + matrix[:, 2, 1] * y + matrix[:, 2, 2]
    w = np.where(w == 0, 1e-12, w)
    place = (matrix[:, :2, 0] * x + matrix[:, :2, 1] * y + matrix[:, :2, 2]) / w[:, None]
    along = matrix[:, :2, :2] - place[:, :, None] * matrix[:, 2:, :2]
    along = along / w[:, None, None]
    area = np.abs(along[:, 0, 0] * along[:, 1, 1] - along[:, 0, 1] * along[:, 1, 0])
    lengths = np.hypot(along[..., 0], along[..., 1])[:, ::-1]
    rates = area[:, None] / np.maximum(lengths, 1e-12)
    return np.where(rates > ALIAS, np.maximum(1, np.rint(region[:, 2:] / rates)), region[:, 2:]).astype(np.int64)


def resized_matrices(matrix: np.ndarray, region: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The matrices of regions that were resized to the sizes int64[n, 2]."""
    sx, sy = (new / region[:, 2:]).T
    return affine(sx, 0, sx / 2 - 0.5, 0, sy, sy / 2 - 0.5, len(new)) @ matrix


def normalised(matrix: np.ndarray, width: np.ndarray | int, height: np.ndarray | int) -> np.ndarray:
    """With the image's edges at −1 and 1, as grid_sample has places: float64[n, 3, 3]."""
    return affine(2 / width, 0, 1 / width - 1, 0, 2 / height, 1 / height - 1, len(matrix)) @ matrix
