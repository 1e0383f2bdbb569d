"""The augmentation as data: what was drawn for each image, plain arrays, the same for every executor.

An image's program is a list of operations in their drawn order, each a code and up to eight numbers. Executors fuse it:
geometry that follows geometry is one warp, tables that follow tables are one table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np

VALUES = 8  # numbers an operation can have


class Op(IntEnum):
    """Operations, and what their numbers are.

    Geometry (in a frame of W × H pixels): CROP area share, log(width / height), 1 where that is relative to the image's
    own aspect, place x, place y in [0, 1]: the box becomes the output's square (Szegedy et al. 2015). ROTATE radians,
    counter-clockwise. SHEAR_X, SHEAR_Y factor, 1 where it is about the corner and not the centre. TRANSLATE share of W,
    share of H, pixels, pixels: whole pixels, cut towards 0. SCALE factor x, factor y. PERSPECTIVE eight shares of W and
    H (x, y of the corners, clockwise from top left) by which the corners move inwards.

    Tables (channel by channel, as Pillow): BRIGHTNESS, CONTRAST factor. POSTERIZE bits kept. SOLARIZE threshold in
    [0, 255] from which values are inverted. SOLARIZE_ADD what is added below 128. INVERT, AUTOCONTRAST, EQUALIZE.

    The others: SATURATION factor. HUE turns, in [-0.5, 0.5]. SHARPNESS factor. BLUR sigma, pixels. NOISE std, of 255.
    ELASTIC alpha, sigma, pixels (Simard et al. 2003). ERASE four uniform numbers of a rectangle (Zhong et al. 2020).
    AUGMIX: the image's chains.
    """

    NONE = 0
    CROP = 1
    HFLIP = 2
    VFLIP = 3
    ROTATE = 4
    SHEAR_X = 5
    SHEAR_Y = 6
    TRANSLATE = 7
    SCALE = 8
    PERSPECTIVE = 9
    BRIGHTNESS = 16
    CONTRAST = 17
    POSTERIZE = 18
    SOLARIZE = 19
    SOLARIZE_ADD = 20
    INVERT = 21
    AUTOCONTRAST = 22
    EQUALIZE = 23
    SATURATION = 32
    HUE = 33
    SHARPNESS = 34
    BLUR = 35
    NOISE = 36
    ELASTIC = 37
    ERASE = 38
    AUGMIX = 39


FIRST_TABLE, FIRST_OTHER = int(Op.BRIGHTNESS), int(Op.SATURATION)
COLOR_ONLY = (Op.SATURATION, Op.HUE)  # mean nothing for a single channel
Program = list[tuple[int, list[float]]]


@dataclass(frozen=True)
class Chains:
    """AugMix's chains (Hendrycks et al. 2020) of N images: W programs each, and the weight of every result.

    ops int8[N, W, D], values float32[N, W, D, 8]; weights float32[N, 1 + W]: the image's own, then its chains', sum 1.
    """

    ops: np.ndarray
    values: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Params:
    """The drawn augmentation of N images.

    ops int8[N, L]: codes in order, 0 where there is none; values float32[N, L, 8]; keys uint64[N]: what noise and
    elastic displacements are drawn from. border: `reflect`, or `fill` for what a warp uncovers; fill: its colour, RGB
    in [0, 255]; erased: the colour of what is erased. size: side of the output, None for the images' own size. With
    `fill` a frame is cut at its edges by every operation; with `reflect` what lies beyond a crop comes back.
    """

    ops: np.ndarray
    values: np.ndarray
    keys: np.ndarray
    chains: Chains | None = None
    border: str = "reflect"
    fill: tuple[int, int, int] = (0, 0, 0)
    erased: tuple[int, int, int] = (255, 255, 255)
    size: int | None = None

    def __len__(self) -> int:
        return len(self.ops)

    def take(self, index: Any) -> Params:
        """The parameters of some of the images: a slice, or an array of indices."""
        chains = self.chains and Chains(*(getattr(self.chains, f.name)[index] for f in fields(Chains)))
        return replace(self, ops=self.ops[index], values=self.values[index], keys=self.keys[index], chains=chains)

    @cached_property
    def programs(self) -> list[Program]:
        """The program of each image as plain numbers: made once, as reading arrays holds the interpreter."""
        return [programs_of(o, v) for o, v in zip(self.ops.tolist(), self.values.tolist(), strict=True)]


def programs_of(ops: list[int], values: list[list[float]]) -> Program:
    """(code, numbers) of what is not NONE."""
    return [(op, numbers) for op, numbers in zip(ops, values, strict=True) if op]


def crop_box(numbers: list[float], width: int, height: int) -> tuple[int, int, int, int]:
    """(left, top, width, height) in whole pixels of a CROP in an image; a box that does not fit is cut to the image."""
    area, log_ratio, relative, place_x, place_y = numbers[:5]
    ratio = math.exp(log_ratio) * (width / height if relative else 1.0)
    size = area * width * height
    box_w = min(max(1, round((size * ratio) ** 0.5)), width)
    box_h = min(max(1, round((size / ratio) ** 0.5)), height)
    return round((width - box_w) * place_x), round((height - box_h) * place_y), box_w, box_h


def erased_box(numbers: list[float], width: int, height: int) -> tuple[int, int, int, int]:
    """(left, top, width, height) of an ERASE: 2 to 25 % of the area, aspect 0.3 to 3.3."""
    area, aspect = (0.02 + 0.23 * numbers[0]) * width * height, (1 / 0.3) ** (2 * numbers[1] - 1)
    box_w, box_h = min(width, round((area * aspect) ** 0.5)), min(height, round((area / aspect) ** 0.5))
    return round((width - box_w) * numbers[2]), round((height - box_h) * numbers[3]), box_w, box_h


def smallest_side(program: Program, size: int) -> int | None:
    """The short side, pixels, from which the program's crop still has `size` pixels a side; None without a crop.

    Of an image's W × H it keeps at least √(area · exp(−|log ratio|)) of its short side.
    """
    crop = next((numbers for op, numbers in program if op == Op.CROP), None)
    if crop is None:
        return None
    return math.ceil(size / math.sqrt(crop[0] * math.exp(-abs(crop[1]))))
