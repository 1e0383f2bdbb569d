"""Pending geometry of a batch as the few launches that settle it, planned on the host.

Images that need the same kind of work are one part: copied, resized with antialiasing, or sampled bilinearly, where
resize, flip and warp are the same thing; before a warp that shrinks the part is first made smaller.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from anmok.augment.device_moves import (
    Moves,
    low_column,
    near,
    normalised,
    resized_matrices,
    resizing,
    shrunk_sizes,
)
from anmok.augment.device_pack import Pack, Ref

TEMPORARY = 512 * 2**20  # bytes that the temporaries of one step may take; a batch that needs more is done in parts


class Source(NamedTuple):
    """Where images lie: the first pixel in the flat buffer, the width and height of each, int64[n].

    rows: int64[n], which image of a tensor [N, H, W, C] each is, where there is such a tensor.
    """

    start: np.ndarray
    width: np.ndarray
    height: np.ndarray
    rows: np.ndarray | None = None

    def take(self, index: np.ndarray) -> Source:
        """Some of the images."""
        rows = None if self.rows is None else self.rows[index]
        return Source(self.start[index], self.width[index], self.height[index], rows)


def uniform(n: int, width: int, height: int, rows: np.ndarray | None = None) -> Source:
    """The images of a tensor [N, height, width, C], all in order or those of `rows`."""
    rows = np.arange(n) if rows is None else rows
    return Source(rows * (width * height), np.full(len(rows), width), np.full(len(rows), height), rows)


class Rows(NamedTuple):
    """m images of the output, at: int64[m]; span: (first, end) where they follow each other."""

    at: Ref
    m: int
    span: tuple[int, int] | None


class Smaller(NamedTuple):
    """An antialiased resize: sizes int64[m, 2] after it, mirrored bool[m, 2], taps a pixel along x and y at most."""

    sizes: Ref
    mirrored: Ref
    taps: tuple[int, int]


class Warp(NamedTuple):
    """A bilinear sampling. matrix float32[m, 3, 3] from pixels to [-1, 1]; projective: whether it divides.

    still float32[m, 4, 2]: of those that are only resized and flipped, the factors from a pixel to its place in pixels,
    what is added, the first and the last pixel; of others, a first after the last. mirror float32[m, 2, 2] (low, span):
    about what places are mirrored. inside int64[m, 4] (x, y, x, y): what does not count as fill. Each None where it
    does nothing.
    cuts: (places in the part int64[k], None for all; matrix float32[k, 3, 3]) of frames passed.
    """

    matrix: Ref
    projective: bool
    still: Ref | None
    mirror: Ref | None
    inside: Ref | None
    cuts: list[tuple[Ref | None, Ref]]


@dataclass(frozen=True)
class Part:
    """Images settled together. stage: (height, width) of what is sampled, or of the output.

    whole: rows of the source's tensor, read as they are. Else pixels are read by index: origin, stride int64[m] and
    sizes int64[m, 2] (width, height) of the regions, the highest of which has `read_height` rows.
    """

    rows: Rows
    stage: tuple[int, int]
    read_height: int
    whole: Rows | None
    origin: Ref
    stride: Ref
    sizes: Ref
    smaller: Smaller | None
    warp: Warp | None


def rows_of(index: np.ndarray, pack: Pack) -> Rows:
    """The rows, sent with the pack."""
    first, end = int(index[0]), int(index[-1]) + 1
    span = (first, end) if end - first == len(index) and (np.diff(index) == 1).all() else None
    return Rows(pack.add(index, np.int64), len(index), span)


def settle(moves: Moves, index: np.ndarray, source: Source, depth: int, pack: Pack) -> list[Part]:
    """The parts that settle what is pending on images `index` of the output, read from the source, in `moves`' order.

    Every frame is of the size `moves.output`.
    """
    width, height = moves.output
    box, mirrored, moved = moves.box, moves.mirrored, moves.moved
    same = ~moved & (box[:, 2] == width) & (box[:, 3] == height) & ~mirrored.any(1)
    less = ~moved & (np.maximum(box[:, 2] / width, box[:, 3] / height) > 1)
    resize = ~moved & ~same & ~less
    region, matrix = moves.region.copy(), moves.matrix.copy()
    region[~moved] = box[~moved]
    matrix[resize] = resizing(box[resize], box[resize], moves.width[resize], moves.height[resize], mirrored[resize])
    if moved.any():
        matrix[moved], region[moved] = near(matrix[moved], region[moved], width, height)
    new = region[:, 2:].copy()
    new[less] = width, height
    if moved.any():
        new[moved] = shrunk_sizes(matrix[moved], region[moved], width, height)
    first = moved & (new != region[:, 2:]).any(1)
    work = _Work(moves, index, source, depth, pack, region, matrix, new)
    return [
        *work.parts(np.nonzero(same)[0], work.copied, work.read_bytes, True),
        *work.parts(np.nonzero(less)[0], work.resized, work.smaller_bytes, False),
        *work.parts(np.nonzero((moved & ~first) | resize)[0], work.sampled, work.sampled_bytes, True),
        *work.parts(np.nonzero(first)[0], work.shrunk, work.shrunk_bytes, False),
    ]


class _Work:
    """What `settle` found, from which parts are made."""

    def __init__(
        self, moves: Moves, index: np.ndarray, source: Source, depth: int, pack: Pack, region: np.ndarray,
        matrix: np.ndarray, new: np.ndarray,
    ):  # fmt: skip
        self.moves, self.index, self.source, self.depth, self.pack = moves, index, source, depth, pack
        self.region, self.matrix, self.new = region, matrix, new
        self.out_w, self.out_h = moves.output

    def parts(
        self, at: np.ndarray, build: Callable[[np.ndarray], Part], bytes_of: Callable[[np.ndarray], int], whole: bool
    ) -> list[Part]:
        """Parts of at most TEMPORARY bytes, or of one image; bytes_of: temporaries of each of these images, at most.

        whole: whether `bytes_of` is that of whole images where they are read as they are.
        """
        if not len(at):
            return []
        count = -(-len(at) * bytes_of(at) // TEMPORARY)
        if count <= 1 or len(at) == 1:
            return [build(at)]
        if whole and self._whole(at):
            return [build(part) for part in np.array_split(at, count) if len(part)]
        at = at[np.lexsort(self.region[at, 2:].T)]  # those of like size together
        half = len(at) // 2
        return [*self.parts(at[:half], build, bytes_of, whole), *self.parts(at[half:], build, bytes_of, whole)]

    def read_bytes(self, at: np.ndarray) -> int:
        height, width = self._stage(at)
        return width * height * (self.depth if self._whole(at) else 4 + self.depth)

    def smaller_bytes(self, at: np.ndarray) -> int:
        high, (new_w, new_h) = int(self.region[at, 3].max()), self.new[at].max(0).tolist()
        return int(high * new_w * (4 + 6 * self.depth) + new_w * new_h * 6 * self.depth)

    def sampled_bytes(self, at: np.ndarray) -> int:
        height, width = self._stage(at)
        return self.read_bytes(at) + 4 * self.depth * width * height + self.warp_bytes()

    def shrunk_bytes(self, at: np.ndarray) -> int:
        return self.smaller_bytes(at) + self.warp_bytes()

    def warp_bytes(self) -> int:
        return self.out_w * self.out_h * (8 + 5 * self.depth)

    def _whole(self, at: np.ndarray) -> bool:
        """Whether images are read as they are: where they are alike, and not much larger than their regions."""
        wide, high = self.region[at, 2:].max(0).tolist()
        size = self.source.width[at[0]] * self.source.height[at[0]]
        return self.source.rows is not None and bool(2 * wide * high >= size)

    def _stage(self, at: np.ndarray) -> tuple[int, int]:
        """(height, width) of what is read for sampling."""
        if self._whole(at):
            return int(self.source.height[at[0]]), int(self.source.width[at[0]])
        return int(self.region[at, 3].max()), int(self.region[at, 2].max())

    def _part(
        self, at: np.ndarray, stage: tuple[int, int], whole: bool, smaller: Smaller | None, warp: Warp | None
    ) -> Part:
        region, source, add = self.region[at], self.source.take(at), self.pack.add
        origin = source.start + region[:, 1] * source.width + region[:, 0]
        images = None if not whole or source.rows is None else rows_of(source.rows, self.pack)
        return Part(
            rows_of(self.index[at], self.pack), stage, int(region[:, 3].max()), images, add(origin, np.int64),
            add(source.width, np.int64), add(region[:, 2:], np.int64), smaller, warp,
        )  # fmt: skip

    def copied(self, at: np.ndarray) -> Part:
        whole = self._whole(at) and self._stage(at) == (self.out_h, self.out_w)
        return self._part(at, (self.out_h, self.out_w), whole, None, None)

    def resized(self, at: np.ndarray) -> Part:
        return self._part(at, (self.out_h, self.out_w), False, self._smaller(at, self.moves.mirrored[at]), None)

    def sampled(self, at: np.ndarray) -> Part:
        whole, stage, region, matrix = self._whole(at), self._stage(at), self.region[at], self.matrix[at]
        if whole:
            matrix = matrix + low_column(region[:, :2]) * matrix[:, 2:]
        else:
            region[:, :2] = 0
        return self._part(at, stage, whole, None, self._warp(at, matrix, region, stage))

    def shrunk(self, at: np.ndarray) -> Part:
        new = self.new[at]
        stage = int(new[:, 1].max()), int(new[:, 0].max())
        matrix = resized_matrices(self.matrix[at], self.region[at], new)
        region = np.concatenate([np.zeros_like(new), new], 1)
        smaller = self._smaller(at, np.zeros((len(at), 2), bool))
        return self._part(at, stage, False, smaller, self._warp(at, matrix, region, stage))

    def _smaller(self, at: np.ndarray, mirrored: np.ndarray) -> Smaller:
        taps = 2 * np.ceil(np.maximum(1, (self.region[at, 2:] / self.new[at]).max(0))).astype(int) + 1
        return Smaller(self.pack.add(self.new[at], np.int64), self.pack.add(mirrored, np.bool_), tuple(taps.tolist()))

    def _warp(self, at: np.ndarray, matrix: np.ndarray, region: np.ndarray, stage: tuple[int, int]) -> Warp:
        """region int64[m, 4]: the image's part of the stage, whose pixels count."""
        moved, add = self.moves.moved[at], self.pack.add
        size = np.array([stage[1], stage[0]])
        last = region[:, :2] + region[:, 2:] - 1
        low, high = (2 * region[:, :2] + 1) / size - 1, (2 * last + 1) / size - 1
        still = mirror = inside = None
        if not moved.all():
            lines = np.stack([matrix[:, [0, 1], [0, 1]], matrix[:, :2, 2], region[:, :2], last], 1)
            lines[moved, 2:] = [[1, 1], [0, 0]]
            still = add(lines, np.float32)
        if not self.moves.cuts and moved.any():
            mirror = add(np.stack([low, np.maximum(high - low, 1e-6)], 1), np.float32)
        if self.moves.cuts and ((region[:, 2:] != size) & moved[:, None]).any():
            inside = add(np.concatenate([region[:, :2], last], 1), np.int64)
        cuts: list[tuple[Ref | None, Ref]] = []
        for cut in self.moves.passed:
            on = np.nonzero(cut.on[at])[0]
            if len(on):
                found = normalised(cut.matrix[at[on]], cut.width[at[on]], cut.height[at[on]])
                cuts.append((None if len(on) == len(at) else add(on, np.int64), add(found, np.float32)))
        found = normalised(matrix, stage[1], stage[0])
        return Warp(add(found, np.float32), bool((matrix[:, 2, :2] != 0).any()), still, mirror, inside, cuts)
