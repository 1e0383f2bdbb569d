"""A batch's programs as launches: decided on the host, from the drawn numbers alone, before the device does anything.

A program is laid out in rounds of pending geometry, pending tables, and at most one operation of the others. The round,
not the place in its program, is what images share: of RandAugment's programs nearly all geometry falls into the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from anmok.augment.device_matrices import codes, erased_boxes
from anmok.augment.device_moves import CROP, HFLIP, VFLIP, Moves
from anmok.augment.device_pack import Pack, Ref
from anmok.augment.device_parts import TEMPORARY, Part, Rows, Source, rows_of, settle, uniform
from anmok.augment.device_tables import Colours, colours
from anmok.augment.effects import blur_radius
from anmok.augment.params import COLOR_ONLY, FIRST_OTHER, FIRST_TABLE, VALUES, Chains, Op, Params
from anmok.core.errors import UsageError

ERASE, AUGMIX = int(Op.ERASE), int(Op.AUGMIX)


@dataclass(frozen=True)
class Look:
    """What holds for the whole batch: channels, whether warps uncover a fill, its colour, that of what is erased."""

    depth: int
    cuts: bool
    fill: tuple[float, ...]
    erased: tuple[float, ...]


class Programs(NamedTuple):
    """Of n images: codes [n, L], numbers [n, L, 8], keys uint64[n], and AugMix's chains."""

    ops: np.ndarray
    values: np.ndarray
    keys: np.ndarray
    chains: Chains | None

    def take(self, index: np.ndarray) -> Programs:
        """Those of some of the images."""
        chains = self.chains and Chains(*(a[index] for a in (self.chains.ops, self.chains.values, self.chains.weights)))
        return Programs(self.ops[index], self.values[index], self.keys[index], chains)


class Mix(NamedTuple):
    """AugMix of images [first, end) of an operation: their chains one after the other, weights float32[k, 1 + W]."""

    first: int
    end: int
    chains: Plan
    weights: Ref


class Other(NamedTuple):
    """One of the other operations on some images: its numbers, float32[m, 8].

    keys: int64[m], what noise is drawn from. boxes: int64[m, 4] (left, top, right, bottom), what is erased. radius:
    pixels that the widest blur reaches. mixes: AugMix.
    """

    op: int
    rows: Rows
    numbers: Ref
    keys: Ref
    boxes: Ref | None = None
    radius: int = 0
    mixes: tuple[Mix, ...] = ()


class Round(NamedTuple):
    """What is done to the batch, in this order."""

    parts: list[Part]
    tables: Colours | None
    others: list[Other]


class Plan(NamedTuple):
    """All that is done to n images; size: (width, height) of the output."""

    n: int
    size: tuple[int, int]
    look: Look
    rounds: list[Round]


def programs_of(params: Params, depth: int) -> Programs:
    """The programs without what means nothing for the depth."""
    ops = params.ops
    if depth == 1:
        ops = np.where(np.isin(ops, COLOR_ONLY), np.int8(0), ops)
    return Programs(ops, params.values, params.keys, params.chains)


def plan(programs: Programs, source: Source, size: tuple[int, int], look: Look, pack: Pack) -> Plan:
    """The launches for n ≥ 1 images into frames of size (width, height).

    Operations that need pixels come only where an image's frame has that size: see `early`.
    """
    programs = _ended(programs, source, size)
    ops, rounds = programs.ops, _laid_out(programs.ops)
    geometry = (ops > 0) & (ops < FIRST_TABLE)
    found = []
    for k in range(int(rounds.max(initial=0)) + 1):
        now = rounds == k
        rows = np.arange(len(ops)) if k == 0 else np.nonzero((now & geometry).any(1))[0]
        parts = _moved(programs, now & geometry, rows, source if k == 0 else None, size, look, pack)
        tables = now & (ops >= FIRST_TABLE) & (ops < FIRST_OTHER)
        others = _others(programs, now & (ops >= FIRST_OTHER), size, look, pack)
        found.append(Round(parts, colours(ops, programs.values, tables, look.depth, pack), others))
    return Plan(len(ops), size, look, found)


def early(programs: Programs, source: Source, size: tuple[int, int]) -> np.ndarray:
    """int64[n]: how many operations of a program come before its pixels can be left for the output's frame.

    0 for nearly all: those whose first operation that needs pixels comes after the crop, or that have the output's size
    from the start.
    """
    n, length = programs.ops.shape
    if not length:
        return np.zeros(n, np.int64)
    ops, at = programs.ops, np.arange(length)
    crop = np.where((ops == CROP).any(1), (ops == CROP).argmax(1), length)
    last = np.where((ops >= FIRST_TABLE) & (at < crop[:, None]), at + 1, 0).max(1)
    # Flips right after a table are done with it, not with the crop.
    others = ~np.isin(ops, (0, HFLIP, VFLIP)) & (at >= last[:, None])
    until = np.where(others.any(1), others.argmax(1), length)
    last = np.where((last > 0) & (ops[np.arange(n), last - 1] < FIRST_OTHER), until, last)
    return np.where((source.width == size[0]) & (source.height == size[1]), 0, last)


def _ended(programs: Programs, source: Source, size: tuple[int, int]) -> Programs:
    """With a crop of the whole image where none has been drawn and the size differs, as Canvas.write does."""
    n = len(programs.ops)
    bare = ~(programs.ops == CROP).any(1) & ((source.width != size[0]) | (source.height != size[1]))
    if not bare.any():
        return programs
    values = np.zeros((n, 1, VALUES), np.float32)
    values[:, 0, [0, 2]] = 1
    ops = np.where(bare, np.int8(CROP), np.int8(0))[:, None]
    return programs._replace(
        ops=np.concatenate([programs.ops, ops], 1), values=np.concatenate([programs.values, values], 1)
    )


def _laid_out(ops: np.ndarray) -> np.ndarray:
    """int[n, L]: the round of each operation, −1 where there is none.

    Flips after tables belong to the geometry before them: tables do not mind.
    """
    n, length = ops.shape
    out = np.full((n, length), -1)
    now, colored = np.zeros(n, int), np.zeros(n, bool)
    for p in range(length):
        op = ops[:, p]
        table, other = (op >= FIRST_TABLE) & (op < FIRST_OTHER), op >= FIRST_OTHER
        again = (op > 0) & ~table & ~other & colored & (op != HFLIP) & (op != VFLIP)
        now = now + again
        out[:, p] = np.where(op > 0, now, -1)
        now = now + other
        colored = (colored & ~again & ~other) | table
    return out


def _moved(
    programs: Programs, which: np.ndarray, rows: np.ndarray, source: Source | None, size: tuple[int, int], look: Look,
    pack: Pack,
) -> list[Part]:  # fmt: skip
    if not len(rows):
        return []
    source = source or uniform(len(rows), *size, rows)
    moves = Moves(source.width, source.height, size, look.cuts)
    for p in range(which.shape[1]):
        at = np.nonzero(which[rows, p])[0]
        if len(at):
            moves.move(at, programs.ops[rows[at], p], programs.values[rows[at], p])
    return settle(moves, rows, source, look.depth, pack)


def _others(programs: Programs, which: np.ndarray, size: tuple[int, int], look: Look, pack: Pack) -> list[Other]:
    """The round's other operations; an image has at most one."""
    rows, places = np.nonzero(which)
    found_ops, numbers = programs.ops[rows, places], programs.values[rows, places]
    found = []
    for op in codes(found_ops):
        at = np.nonzero(found_ops == op)[0]
        i, v = rows[at], numbers[at]
        other = Other(
            op,
            rows_of(i, pack),
            pack.add(v, np.float32),
            pack.add(programs.keys[i].astype(np.uint64).view(np.int64), np.int64),
        )
        if op == ERASE:
            boxes = erased_boxes(v, *size)
            boxes[:, 2:] += boxes[:, :2]
            other = other._replace(boxes=pack.add(boxes, np.int64))
        elif op in _BLURS:
            other = other._replace(radius=blur_radius(float(v[:, _BLURS[op]].max())))
        elif op == AUGMIX:
            other = other._replace(mixes=_mixes(programs.take(i), size, look, pack))
        found.append(other)
    return found


_BLURS = {int(Op.BLUR): 0, int(Op.ELASTIC): 1}  # the place of sigma


def _mixes(programs: Programs, size: tuple[int, int], look: Look, pack: Pack) -> tuple[Mix, ...]:
    """AugMix's chains as a batch of their own, W images for each; in parts that hold at most TEMPORARY / 2 bytes."""
    chains = programs.chains
    if chains is None:
        raise UsageError("the parameters hold no chains for augmix.", code="setting")
    n, width, length = chains.ops.shape
    most = max(1, TEMPORARY // 2 // (width * size[0] * size[1] * look.depth))
    found = []
    for first in range(0, n, most):
        end = min(n, first + most)
        k = end - first
        ops, values = chains.ops[first:end].reshape(k * width, length), chains.values[first:end]
        own = Programs(ops, values.reshape(k * width, length, -1), np.repeat(programs.keys[first:end], width), None)
        if look.depth == 1:
            own = own._replace(ops=np.where(np.isin(own.ops, COLOR_ONLY), np.int8(0), own.ops))
        source = uniform(k * width, *size, np.repeat(np.arange(k), width))
        weights = pack.add(chains.weights[first:end], np.float32)
        found.append(Mix(first, end, plan(own, source, size, look, pack), weights))
    return tuple(found)
