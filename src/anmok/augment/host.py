"""The executor on the host: parameters and a decoded image in, augmented pixels out, written where they belong.

OpenCV does the work outside the interpreter lock. A `Canvas` keeps geometry pending as one matrix and tables pending as
one table until something needs the pixels: geometry after a table, a table after geometry, or the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np

from anmok.augment import effects, tables
from anmok.augment.guests import GuestParams
from anmok.augment.params import (
    COLOR_ONLY,
    FIRST_OTHER,
    FIRST_TABLE,
    Op,
    Params,
    Program,
    crop_box,
    erased_box,
    programs_of,
)
from anmok.augment.resample import ALIAS, resized
from anmok.augment.warps import source_from_output
from anmok.core.errors import UsageError


def augment_into(
    out: np.ndarray,
    image: np.ndarray,
    params: Params | GuestParams,
    index: int = 0,
    erased: tuple[float, ...] | None = None,
) -> None:
    """Write the augmented uint8[H, W, C] `image` into `out` uint8[S, T, C]; index: whose of the params.

    erased: the colour of what is erased, one value a channel; by default the params'.
    """
    if isinstance(params, GuestParams):
        params.guest.apply_into(out, image, params, index)
        return
    height, width = out.shape[:2]
    canvas = Canvas(image, (width, height), params, index, erased)
    canvas.run(params.programs[index])
    canvas.write(out)


def apply(
    images: np.ndarray | Sequence[np.ndarray], params: Params | GuestParams, size: int | None = None, threads: int = 1
) -> np.ndarray:
    """The augmented images, uint8[N, S, S, C], of uint8[N, H, W, C] or N arrays [H, W, C] of any sizes.

    size: of the output, by default the params', else that of the images, which must then be alike.  UsageError where
    the numbers of images and of parameters differ.
    """
    if len(images) != len(params):
        raise UsageError(f"{len(images)} images and parameters of {len(params)}.", code="image")
    side = size or params.size
    shapes = {(side, side, image.shape[2]) if side else image.shape for image in images}
    if len(shapes) != 1:
        raise UsageError("no images, or of several sizes or depths: the output needs one.", code="image")
    out = np.empty((len(images), *shapes.pop()), np.uint8)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda i: augment_into(out[i], images[i], params, i), range(len(images))))
    return out


class Canvas:
    """An image between operations. `box` is what is left of it; with no matrix pending it becomes the frame by a resize
    and the flips. matrix: source from frame, of the box (border fill) or of the whole image (border reflect). frames:
    matrices and sizes of frames passed since, which cut what a fill-bordered warp shows.
    """

    def __init__(
        self, image: np.ndarray, output: tuple[int, int], params: Params, index: int,
        erased: tuple[float, ...] | None = None,
    ):  # fmt: skip
        self.image, self.output, self.params, self.index = image, output, params, index
        self.depth = image.shape[2]
        self.cuts = params.border == "fill"
        self.fill = colour(params.fill, self.depth)
        self.erased = colour(params.erased, self.depth) if erased is None else erased
        self.table: np.ndarray | None = None
        self.resized = False
        self._reset(image)

    def _reset(self, image: np.ndarray) -> None:
        """Nothing pending on this image."""
        self.image = image
        self.height, self.width = image.shape[:2]
        self.box = (0, 0, self.width, self.height)
        self.mirrored = [False, False]
        self.matrix: np.ndarray | None = None
        self.frames: list[tuple[np.ndarray, int, int]] = []

    def run(self, program: Program) -> None:
        """Apply the operations."""
        for op, numbers in program:
            if op < FIRST_TABLE:
                self._move(op, numbers)
            elif op < FIRST_OTHER:
                self._recolor(op, numbers)
            else:
                self._change(op, numbers)

    def write(self, out: np.ndarray) -> None:
        """The pixels into `out`, resized to it where no crop has done so."""
        if not self.resized and self.output != (self.width, self.height):
            self._move(Op.CROP, [1.0, 0.0, 1.0, 0.0, 0.0])
        out[:] = self.pixels()

    def pixels(self) -> np.ndarray:
        """uint8[height, width, C] with nothing pending."""
        self._settle()
        if self.table is not None:
            self.image = _lut(self.image, self._columns(self.table))
            self.box, self.table = (0, 0, self.width, self.height), None
        return self.image

    # geometry

    def _move(self, op: int, numbers: list[float]) -> None:
        if op in (Op.HFLIP, Op.VFLIP) and self.matrix is None:
            self.mirrored[op - Op.HFLIP] ^= True
            return
        if self.table is not None:
            self.pixels()
        if op == Op.CROP:
            self.resized = True
            if self.matrix is None and self.box[2:] == (self.width, self.height):
                left, top, *_ = self.box
                x, y, width, height = crop_box(numbers, self.width, self.height)
                x = self.width - x - width if self.mirrored[0] else x  # the box is that of the picture before its flips
                y = self.height - y - height if self.mirrored[1] else y
                self.box, (self.width, self.height) = (left + x, top + y, width, height), self.output
                return
        step, size = source_from_output(op, numbers, self.width, self.height, self.output)
        if self.matrix is None:
            self.matrix = self._begin()
        elif self.cuts and op not in (Op.HFLIP, Op.VFLIP):
            self.frames.append((np.eye(3), self.width, self.height))
        self.matrix = self.matrix @ step
        self.frames = [(matrix @ step, width, height) for matrix, width, height in self.frames]
        self.width, self.height = size

    def _begin(self) -> np.ndarray:
        """Source from frame of the box, the resize and the flips."""
        left, top, box_w, box_h = self.box
        if self.cuts:
            self.image = self.image[top : top + box_h, left : left + box_w]
            left = top = 0
        sx, sy = box_w / self.width, box_h / self.height
        x, y = left + box_w / 2 - 0.5, top + box_h / 2 - 0.5
        sx, sy = (-s if m else s for s, m in zip((sx, sy), self.mirrored, strict=True))
        middle_x, middle_y = (self.width - 1) / 2, (self.height - 1) / 2
        return np.array([[sx, 0, x - sx * middle_x], [0, sy, y - sy * middle_y], [0, 0, 1]])

    def _settle(self) -> None:
        """Turn the pending geometry into pixels."""
        if self.matrix is not None:
            self._reset(self._warped(self.matrix))
            return
        size, whole = (self.width, self.height), self.image.shape[1::-1]
        if self.box[2:] == whole == size and not any(self.mirrored):
            return
        self._reset(resized(self.image, *size, self.box, (self.mirrored[0], self.mirrored[1])))

    def _warped(self, matrix: np.ndarray) -> np.ndarray:
        import cv2

        size = (self.width, self.height)
        image, matrix = near(self.image, matrix, size)
        image, matrix = shrunk(image, matrix, size)
        if self.depth == 3:  # four channels warp to the same pixels in less than half the time of three
            image = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
        border = cv2.BORDER_CONSTANT if self.cuts else cv2.BORDER_REFLECT_101
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        flat = matrix[2, 0] == 0 == matrix[2, 1]
        warp, used = (cv2.warpAffine, matrix[:2]) if flat else (cv2.warpPerspective, matrix)
        out = warp(image, used, size, flags=flags, borderMode=border, borderValue=self.fill)
        if self.depth == 3:
            out = cv2.cvtColor(out, cv2.COLOR_RGBA2RGB)
        for frame, width, height in self.frames:
            flat = frame[2, 0] == 0 == frame[2, 1]
            warp, used = (cv2.warpAffine, frame[:2]) if flat else (cv2.warpPerspective, frame)
            shown = warp(_ones(width, height), used, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
            if any(self.fill):
                out[shown == 0] = self.fill
            else:
                out = cv2.bitwise_and(out, out, mask=shown)
        return out.reshape(self.height, self.width, self.depth)

    # colour

    def _recolor(self, op: int, numbers: list[float]) -> None:
        """Compose the pending table with an operation on single values."""
        if self.matrix is not None or self.box[2:] != (self.width, self.height):
            self._settle()
        if op in _OF_COUNTS:
            table = _OF_COUNTS[op](self._counts())
        elif op == Op.CONTRAST:
            table = tables.contrast(numbers[0], self._mean())
        else:
            table = _OF_NUMBER[op](numbers[0])
        self.table = tables.after(self.table, table)

    def _counts(self) -> np.ndarray:
        """float64[C, 256]: the histogram of the pixels as the pending table leaves them."""
        counts = effects.histogram(self._shown())
        return counts if self.table is None else tables.carried(counts, self.table)

    def _mean(self) -> float:
        """The mean grey value of the pixels as the pending table leaves them."""
        import cv2

        means = cv2.mean(self._shown() if self.table is None else _lut(self._shown(), self._columns(self.table)))
        return means[0] if self.depth == 1 else float(np.dot(means[:3], tables.LUMA))

    def _columns(self, table: np.ndarray) -> np.ndarray:
        """The table in the form that OpenCV takes."""
        return table if table.ndim == 1 or self.depth == 1 else table[None]

    def _shown(self) -> np.ndarray:
        left, top, width, height = self.box
        return self.image[top : top + height, left : left + width]

    # the others

    def _change(self, op: int, numbers: list[float]) -> None:
        if op in COLOR_ONLY and self.depth == 1:
            return
        if op == Op.AUGMIX:
            self._mix_chains()
            return
        image, key = self.pixels(), int(self.params.keys[self.index])
        if op == Op.ERASE:
            left, top, width, height = erased_box(numbers, self.width, self.height)
            image = image.copy()
            image[top : top + height, left : left + width] = np.array(self.erased, np.uint8)
        elif op in _SIMPLE:
            image = _SIMPLE[op](image, numbers[0])
        elif op == Op.NOISE:
            image = effects.noisy(image, numbers[0], key)
        else:
            image = effects.elastic(image, numbers[0], numbers[1], key, self.cuts, self.fill)
        self.image = image

    def _mix_chains(self) -> None:
        """AugMix: the weighted mean of the image and of each chain's result."""
        chains = self.params.chains
        if chains is None:
            raise UsageError("the parameters hold no chains for augmix.", code="setting")
        image = self.pixels()
        weights = chains.weights[self.index].tolist()
        total = image.astype(np.float32) * weights[0]
        for ops, values, weight in zip(
            chains.ops[self.index].tolist(), chains.values[self.index].tolist(), weights[1:], strict=True
        ):
            canvas = Canvas(image, (self.width, self.height), self.params, self.index, self.erased)
            canvas.run(programs_of(ops, values))
            total += canvas.pixels().astype(np.float32) * weight
        self.image = np.clip(total, 0, 255).astype(np.uint8)


def near(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The part of the image that the frame's corners reach, and the matrix of that part, where it all lies inside."""
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    xs, ys = [], []
    for x, y in ((0, 0), (size[0] - 1, 0), (0, size[1] - 1), (size[0] - 1, size[1] - 1)):
        w = g * x + h * y + i
        if w <= 0:
            return image, matrix
        xs.append((a * x + b * y + c) / w)
        ys.append((d * x + e * y + f) / w)
    left, top, right, bottom = int(min(xs) - 4), int(min(ys) - 4), int(max(xs) + 5), int(max(ys) + 5)
    if left <= 0 or top <= 0 or right >= image.shape[1] or bottom >= image.shape[0]:
        return image, matrix
    moved = [[a - left * g, b - left * h, c - left * i], [d - top * g, e - top * h, f - top * i], [g, h, i]]
    return image[top:bottom, left:right], np.array(moved)


def shrunk(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The image made smaller with antialiasing where the warp would skip its pixels, and the matrix of the result."""
    height, width = image.shape[:2]
    rates = pixel_rates(matrix, size)
    new = [max(1, round(n / r)) if r > ALIAS else n for n, r in zip((width, height), rates, strict=True)]
    if new == [width, height]:
        return image, matrix
    image = resized(image, *new)
    sx, sy = new[0] / width, new[1] / height
    return image, np.array([[sx, 0, sx / 2 - 0.5], [0, sy, sy / 2 - 0.5], [0, 0, 1]]) @ matrix


def pixel_rates(matrix: np.ndarray, size: tuple[int, int]) -> tuple[float, float]:
    """Source pixels an output pixel along the source's x and y, at the frame's centre."""
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    x, y = (size[0] - 1) / 2, (size[1] - 1) / 2
    w = g * x + h * y + i
    u, v = (a * x + b * y + c) / w, (d * x + e * y + f) / w
    a, b, d, e = (v / w for v in (a - u * g, b - u * h, d - v * g, e - v * h))
    area = abs(a * e - b * d)  # a shear moves rows apart without skipping any
    return area / max(math.hypot(d, e), 1e-12), area / max(math.hypot(a, b), 1e-12)


@lru_cache(maxsize=256)
def colour(rgb: tuple[float, ...], depth: int) -> tuple[float, ...]:
    """The colour as one value a channel."""
    from anmok.core.pixels import luma

    return tuple(rgb) if depth == 3 else (luma(rgb),)  # type: ignore[arg-type]


def _lut(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.LUT(image, table).reshape(image.shape)


@lru_cache(maxsize=64)
def _ones(width: int, height: int) -> np.ndarray:
    return np.full((height, width), 255, np.uint8)


_OF_COUNTS = {int(Op.AUTOCONTRAST): tables.autocontrast, int(Op.EQUALIZE): tables.equalize}
_OF_NUMBER = {
    int(Op.BRIGHTNESS): tables.brightness, int(Op.SOLARIZE): tables.solarize,
    int(Op.POSTERIZE): lambda bits: tables.posterize(round(bits)), int(Op.INVERT): lambda _: tables.invert(),
    int(Op.SOLARIZE_ADD): tables.solarize_add,
}  # fmt: skip
_SIMPLE = {
    int(Op.SATURATION): effects.saturated, int(Op.HUE): effects.hue_turned, int(Op.SHARPNESS): effects.sharpened,
    int(Op.BLUR): effects.blurred,
}  # fmt: skip
