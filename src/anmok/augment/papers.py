"""Published policies as steps: AutoAugment, RandAugment, TrivialAugment, AugMix; magnitudes as torchvision has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from anmok.augment.papers_table import AUTOAUGMENT
from anmok.augment.params import VALUES, Chains, Op
from anmok.augment.steps import Drawn, Step, joined
from anmok.core.errors import UsageError


class Scale(NamedTuple):
    """How a magnitude becomes an operation's numbers: op, number(level in [0, 1]), its place, whether a sign is drawn.

    extra: other numbers of the operation, (place, number).
    """

    op: Op
    number: Callable[[np.ndarray], np.ndarray] | None
    place: int = 0
    signed: bool = False
    offset: float = 0.0
    extra: tuple[tuple[int, float], ...] = ()


def _linear(high: float, low: float = 0.0) -> Callable[[np.ndarray], np.ndarray]:
    return lambda level: low + (high - low) * level


def _bits(start: int, lost: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda level: np.rint(start - level * lost)


def _space(
    shear: float, move: tuple[float, int], turn: float, factor: float, bits: tuple[int, int]
) -> dict[str, Scale]:
    """The operations of one paper: largest shear, (translation, its place), degrees, enhancement, posterize's bits."""
    share, place = move
    corner = ((1, 1.0),)
    radians = float(np.deg2rad(turn))
    return {
        "Identity": Scale(Op.NONE, None),
        # torchvision's shear along x has its sign reversed: x' = x − k y
        "ShearX": Scale(Op.SHEAR_X, _linear(-shear), signed=True, extra=corner),
        "ShearY": Scale(Op.SHEAR_Y, _linear(-shear), signed=True, extra=corner),
        "TranslateX": Scale(Op.TRANSLATE, _linear(share), place, signed=True),
        "TranslateY": Scale(Op.TRANSLATE, _linear(share), place + 1, signed=True),
        "Rotate": Scale(Op.ROTATE, _linear(radians), signed=True),
        "Brightness": Scale(Op.BRIGHTNESS, _linear(factor), signed=True, offset=1.0),
        "Color": Scale(Op.SATURATION, _linear(factor), signed=True, offset=1.0),
        "Contrast": Scale(Op.CONTRAST, _linear(factor), signed=True, offset=1.0),
        "Sharpness": Scale(Op.SHARPNESS, _linear(factor), signed=True, offset=1.0),
        "Posterize": Scale(Op.POSTERIZE, _bits(*bits)),
        "Solarize": Scale(Op.SOLARIZE, _linear(0.0, 255.0)),
        "AutoContrast": Scale(Op.AUTOCONTRAST, None),
        "Equalize": Scale(Op.EQUALIZE, None),
        "Invert": Scale(Op.INVERT, None),
    }


_NARROW = _space(0.3, (150 / 331, 0), 30, 0.9, (8, 4))  # AutoAugment's and RandAugment's
_WIDE = _space(0.99, (32, 2), 135, 0.99, (8, 6))  # TrivialAugment's: 32 pixels whatever the image
_AUGMIX = _space(0.3, (1 / 3, 0), 30, 0.9, (4, 4))
_RAND = tuple(k for k in _NARROW if k != "Invert")
_MIXED = tuple(k for k in _RAND if k != "Identity")


class Table:
    """A space's operations in a fixed order, drawn from with arrays: codes, places, numbers of every level."""

    def __init__(self, space: dict[str, Scale], names: Sequence[str], levels: np.ndarray):
        scales = [space[name] for name in names]
        self.codes = np.array([s.op for s in scales], np.int8)
        self.places = np.array([s.place for s in scales])
        self.signed = np.array([s.signed for s in scales])
        self.offsets = np.array([s.offset for s in scales])
        self.numbers = np.array([np.zeros(len(levels)) if s.number is None else s.number(levels) for s in scales])
        self.base = np.zeros((len(scales), VALUES), np.float32)
        for k, s in enumerate(scales):
            for place, number in s.extra:
                self.base[k, place] = number
        self.ops = tuple(sorted({s.op for s in scales if s.op}))

    def draw(self, which: np.ndarray, level: np.ndarray, negative: np.ndarray) -> Drawn:
        """ops int8[N, 1], values float32[N, 1, 8] of which, level int[N], negative bool[N]."""
        numbers = self.numbers[which, level]
        numbers = np.where(negative & self.signed[which], -numbers, numbers) + self.offsets[which]
        values = self.base[which]
        values[np.arange(len(which)), self.places[which]] = numbers
        return Drawn(self.codes[which][:, None], values[:, None])


def randaugment(n: int = 2, m: int = 9) -> Step:
    """RandAugment (Cubuk et al. 2020, arXiv:1909.13719): n operations of 14, each of magnitude m of 0 to 30."""
    _whole("n", n, 1, 16)
    _whole("m", m, 0, 30)
    table = Table(_NARROW, _RAND, np.linspace(0, 1, 31))

    def draw(u: np.ndarray) -> Drawn:
        level = np.full(len(u), m)
        which = (u[:, ::2] * len(_RAND)).astype(int)
        return joined([table.draw(which[:, k], level, u[:, 2 * k + 1] < 0.5) for k in range(n)])

    return Step("randaugment", 2 * n, draw, table.ops, settings=(n, m))


def trivialaugment() -> Step:
    """TrivialAugment Wide (Müller and Hutter 2021, arXiv:2103.10158): one operation of 14, of any of 31 magnitudes."""
    table = Table(_WIDE, _RAND, np.linspace(0, 1, 31))

    def draw(u: np.ndarray) -> Drawn:
        which, level = (u[:, 0] * len(_RAND)).astype(int), (u[:, 1] * 31).astype(int)
        return table.draw(which, level, u[:, 2] < 0.5)

    return Step("trivialaugment", 3, draw, table.ops)


def autoaugment(data: str = "imagenet") -> Step:
    """AutoAugment (Cubuk et al. 2019, arXiv:1805.09501): one of 25 pairs of operations, learned on `data`: imagenet,
    cifar10 or svhn.
    """
    from anmok.core.errors import did_you_mean

    if data not in AUTOAUGMENT:
        raise UsageError(
            f"no AutoAugment policy of {data}.", remedy=did_you_mean(data, tuple(AUTOAUGMENT)), code="setting"
        )
    names = tuple(_NARROW)
    table = Table(_NARROW, names, np.linspace(0, 1, 10))
    pairs = AUTOAUGMENT[data]
    which = np.array([[names.index(name) for name, *_ in pair] for pair in pairs])
    chance = np.array([[p for _, p, _ in pair] for pair in pairs])
    level = np.array([[m for *_, m in pair] for pair in pairs])

    def draw(u: np.ndarray) -> Drawn:
        pair = (u[:, 0] * len(pairs)).astype(int)
        parts = []
        for k in range(2):
            drawn = table.draw(which[pair, k], level[pair, k], u[:, 2 + 2 * k] < 0.5)
            taken = u[:, 1 + 2 * k] < chance[pair, k]
            parts.append(drawn._replace(ops=np.where(taken[:, None], drawn.ops, np.int8(0))))
        return joined(parts)

    return Step("autoaugment", 5, draw, table.ops, settings=(data,))


def augmix(severity: int = 3, width: int = 3, depth: int = 0, alpha: float = 1.0) -> Step:
    """AugMix (Hendrycks et al. 2020, arXiv:1912.02781): `width` chains of `depth` operations (0: one to three, drawn)
    are averaged with weights of a Dirichlet(alpha), the average with the image by a Beta(alpha, alpha).
    """
    from scipy.special import gammaincinv

    _whole("severity", severity, 1, 10)
    _whole("width", width, 1, 16)
    _whole("depth", depth, 0, 8)
    if not alpha > 0:
        raise UsageError(f"alpha must be above 0, found {alpha:g}.", code="setting")
    table = Table(_AUGMIX, _MIXED, np.linspace(0, 1, 10))
    most = depth or 3
    per_chain = 1 + 3 * most

    def draw(u: np.ndarray) -> Drawn:
        n = len(u)
        shares = np.maximum(gammaincinv(alpha, u[:, : width + 2]), 1e-300)  # gammas, of which a Dirichlet is made
        chain = shares[:, :width] / shares[:, :width].sum(1, keepdims=True)
        own = shares[:, width] / shares[:, width:].sum(1)
        weights = np.concatenate([own[:, None], (1 - own)[:, None] * chain], 1).astype(np.float32)
        rest = u[:, width + 2 :].reshape(n, width, per_chain)
        length = np.full((n, width), most) if depth else 1 + (rest[:, :, 0] * most).astype(int)
        draws = rest[:, :, 1:].reshape(n * width, most, 3)
        which, level = (draws[..., 0] * len(_MIXED)).astype(int), (draws[..., 1] * severity).astype(int)
        found = joined([table.draw(which[:, k], level[:, k], draws[:, k, 2] < 0.5) for k in range(most)])
        ops = np.where(np.arange(most) < length[..., None], found.ops.reshape(n, width, most), np.int8(0))
        chains = Chains(ops.astype(np.int8), found.values.reshape(n, width, most, VALUES), weights)
        return Drawn(np.full((n, 1), Op.AUGMIX, np.int8), np.zeros((n, 1, VALUES), np.float32), chains)

    ops = (Op.AUGMIX, *table.ops)
    return Step("augmix", width + 2 + width * per_chain, draw, ops, settings=(severity, width, depth, alpha))


def _whole(name: str, value: int, low: int, high: int) -> None:
    if not (isinstance(value, int) and low <= value <= high):
        raise UsageError(f"{name} must be a whole number in [{low}, {high}], found {value}.", code="setting")
