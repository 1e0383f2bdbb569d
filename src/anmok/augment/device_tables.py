"""Operations on single values for a batch: which tables compose in which order, planned on the host from the codes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anmok.augment.device_matrices import codes
from anmok.augment.device_pack import Pack, Ref
from anmok.augment.device_parts import Rows, rows_of
from anmok.augment.params import Op

_LEVELS = np.arange(256)
CONTRAST = int(Op.CONTRAST)
OF_COUNTS = (int(Op.AUTOCONTRAST), int(Op.EQUALIZE))


class Step(NamedTuple):
    """The next table of some images: `at` int64[k] among the round's rows, and what it is made of.

    kind: `table` of uint8[k, 256]; `contrast` about the mean, of factors float32[k]; `counts`, of bool[k], whether it
    equalises or stretches. images int64[k]: which of the output. first: whether no table is pending yet.
    """

    kind: str
    at: Ref
    images: Ref
    data: Ref
    k: int
    first: bool


class Colours(NamedTuple):
    """The tables of a round: rows, what each image begins with, uint8[m, 256], and the steps after that."""

    rows: Rows
    begin: Ref
    steps: list[Step]


def colours(ops: np.ndarray, values: np.ndarray, which: np.ndarray, depth: int, pack: Pack) -> Colours | None:
    """The tables of the operations `which` bool[n, L] of codes [n, L] and numbers [n, L, 8]; None where there are none.

    Tables that depend on numbers alone are composed here; those that depend on the pixels on the device.
    """
    rows = np.nonzero(which.any(1))[0]
    if not len(rows):
        return None
    m = len(rows)
    pending, some, turn = np.tile(_LEVELS.astype(np.uint8), (m, 1)), np.zeros(m, bool), np.zeros(m, int)
    begin = pending.copy()
    steps: list[Step] = []

    def emit(kind: str, at: np.ndarray, data: np.ndarray, dtype: type[np.generic]) -> None:
        for k in codes(turn[at]):
            of = turn[at] == k
            i = at[of]
            if kind == "table" and k == 0:
                begin[i] = data[of]
                continue
            refs = pack.add(i, np.int64), pack.add(rows[i], np.int64), pack.add(data[of], dtype)
            found.append((k, Step(kind, *refs, len(i), k == 0)))
        turn[at] += 1

    found: list[tuple[int, Step]] = []
    for p in range(ops.shape[1]):
        at = np.nonzero(which[rows, p])[0]
        if not len(at):
            continue
        own, numbers = ops[rows[at], p], values[rows[at], p, 0]
        dynamic = (own == CONTRAST) | (own == OF_COUNTS[0]) | (own == OF_COUNTS[1])
        fixed, moving = at[~dynamic], at[dynamic]
        then, after = tables(own[~dynamic], numbers[~dynamic]), some[fixed]
        pending[fixed[~after]] = then[~after]
        pending[fixed[after]] = np.take_along_axis(then[after], pending[fixed[after]].astype(int), 1)
        some[fixed] = True
        flushed = moving[some[moving]]
        emit("table", flushed, pending[flushed], np.uint8)
        pending[flushed], some[flushed] = _LEVELS, False
        is_contrast = own[dynamic] == CONTRAST
        emit("contrast", moving[is_contrast], numbers[dynamic][is_contrast], np.float32)
        emit("counts", moving[~is_contrast], own[dynamic][~is_contrast] == OF_COUNTS[1], np.bool_)
    rest = np.nonzero(some)[0]
    emit("table", rest, pending[rest], np.uint8)
    steps = [step for _, step in sorted(found, key=lambda pair: pair[0])]
    return Colours(rows_of(rows, pack), pack.add(begin, np.uint8), steps)


def tables(ops: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """uint8[n, 256] of operations on single values that do not depend on the picture; see `tables` for one."""
    levels, v = _LEVELS[None], numbers.astype(np.float64)[:, None]
    out = np.empty((len(ops), 256), np.uint8)
    for op in codes(ops):
        i = ops == op
        out[i] = np.clip(_OF_NUMBER[op](levels, v[i]), 0, 255).astype(np.uint8)
    return out


_OF_NUMBER = {
    int(Op.BRIGHTNESS): lambda x, v: x.astype(np.float32) * v.astype(np.float32),
    int(Op.POSTERIZE): lambda x, v: x & (0xFF00 >> np.rint(v).astype(int) & 0xFF),
    int(Op.SOLARIZE): lambda x, v: np.where(x.astype(np.float32) >= v.astype(np.float32), 255 - x, x),
    int(Op.SOLARIZE_ADD): lambda x, v: np.where(x < 128, x + v, x),
    int(Op.INVERT): lambda x, v: 255 - x + 0 * v.astype(int),
}  # fmt: skip
