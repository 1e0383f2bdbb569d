"""The steps a policy is composed of: each turns uniform numbers into operations, for all images of a batch at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from anmok.augment.params import VALUES, Chains, Op
from anmok.core.errors import UsageError


class Drawn(NamedTuple):
    """What a step drew: ops int8[N, L], values float32[N, L, 8], and the chains where it is AugMix."""

    ops: np.ndarray
    values: np.ndarray
    chains: Chains | None = None


@dataclass(frozen=True)
class Step:
    """draw(u float64[N, columns] in [0, 1)) -> Drawn.  ops: what it may draw; name: what a reader calls it.

    colored: whether the step makes no sense without colour, so that one-channel images are refused. settings: the
    arguments of its constructor, in order; built_by: that constructor's name where it is not the step's. alternating:
    its column is drawn once for an image, u in the even epochs and 1 - u in the odd ones.
    """

    name: str
    columns: int
    draw: Callable[[np.ndarray], Drawn] = field(repr=False, compare=False)
    ops: tuple[Op, ...]
    colored: bool = False
    settings: tuple[object, ...] = ()
    built_by: str = ""
    alternating: bool = False


def slot(op: Op, *numbers: np.ndarray | float, where: np.ndarray | bool = True, n: int = 0) -> Drawn:
    """One operation for the images of `where`: its numbers are arrays [N], or the same for all."""
    count = n or next(len(v) for v in (where, *numbers) if isinstance(v, np.ndarray))
    ops = np.where(np.broadcast_to(where, count), np.int8(op), np.int8(0)).astype(np.int8)
    values = np.zeros((count, 1, VALUES), np.float32)
    for k, number in enumerate(numbers):
        values[:, 0, k] = number
    return Drawn(ops[:, None], values)


def joined(drawn: Sequence[Drawn]) -> Drawn:
    """One after the other."""
    chains = next((d.chains for d in drawn if d.chains is not None), None)
    return Drawn(np.concatenate([d.ops for d in drawn], 1), np.concatenate([d.values for d in drawn], 1), chains)


def crop(
    size: int | None = None, scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] | None = (3 / 4, 4 / 3), relative: bool = False,
) -> Step:  # fmt: skip
    """Random-resized-crop (Szegedy et al. 2015): a box with a share of the area from `scale`, width / height from
    `ratio`, becomes the output. relative: the ratio is of the image's own aspect. ratio None: the image's own.
    size: the output's side where nobody else says it.
    """
    _span("scale", scale, 0, 1)
    if ratio is not None:
        _span("ratio", ratio, 0, float("inf"))
    low, high = (0.0, 0.0) if ratio is None else (np.log(ratio[0]), np.log(ratio[1]))

    def draw(u: np.ndarray) -> Drawn:
        area, log_ratio = scale[0] + (scale[1] - scale[0]) * u[:, 0], low + (high - low) * u[:, 1]
        return slot(Op.CROP, area, log_ratio, float(relative or ratio is None), u[:, 2], u[:, 3])

    return Step("crop", 4, draw, (Op.CROP,), settings=(size, scale, ratio, relative))


def flip(p: float = 0.5, vertical: bool = False, alternating: bool = False) -> Step:
    """Mirrored left to right (or upside down) with probability p.

    alternating: whether an image is mirrored in the first epoch is drawn, and it is in every other epoch from then on:
    two epochs in a row never see the same side (Jordan 2024, arXiv:2404.00498, section 3.6). p must be 0.5 then.
    """
    _share("p", p)
    if alternating and p != 0.5:
        raise UsageError(f"an alternating flip mirrors every other epoch: p must be 0.5, found {p:g}.", code="setting")
    op = Op.VFLIP if vertical else Op.HFLIP
    name = "vflip" if vertical else "flip"
    return Step(
        name, 1, lambda u: slot(op, where=u[:, 0] < p), (op,), settings=(p, vertical, alternating), built_by="flip",
        alternating=alternating,
    )  # fmt: skip


def rotate(degrees: float, p: float = 1.0) -> Step:
    """Turned about the centre by up to `degrees` either way, with probability p."""
    _bounded("degrees", degrees, 0, 180)

    def draw(u: np.ndarray) -> Drawn:
        return slot(Op.ROTATE, np.deg2rad(degrees * (2 * u[:, 0] - 1)), where=u[:, 1] < p)

    return Step("rotate", 2, draw, (Op.ROTATE,), settings=(degrees, p))


def shear(x: float = 0.0, y: float = 0.0) -> Step:
    """Sheared about the centre by up to x degrees horizontally and y degrees vertically, either way."""
    _bounded("x", x, 0, 80)
    _bounded("y", y, 0, 80)
    which = [(op, most, k) for k, (op, most) in enumerate(((Op.SHEAR_X, x), (Op.SHEAR_Y, y))) if most]

    def draw(u: np.ndarray) -> Drawn:
        return joined([slot(op, np.tan(np.deg2rad(most * (2 * u[:, k] - 1)))) for op, most, k in which])

    return Step("shear", 2, draw if which else _nothing, tuple(op for op, *_ in which), settings=(x, y))


def translate(x: float = 0.0, y: float | None = None) -> Step:
    """Moved by whole pixels, up to the share x of the width and y (by default x) of the height, either way."""
    most_x, most_y = _bounded("x", x, 0, 1), _bounded("y", x if y is None else y, 0, 1)

    def draw(u: np.ndarray) -> Drawn:
        return slot(Op.TRANSLATE, most_x * (2 * u[:, 0] - 1), most_y * (2 * u[:, 1] - 1))

    return Step("translate", 2, draw, (Op.TRANSLATE,), settings=(most_x, most_y))


def pad_crop(pixels: int) -> Step:
    """Padded by `pixels` on every side and cropped back at random, as small images are: moved by whole pixels."""
    _bounded("pixels", pixels, 0, 4096)

    def draw(u: np.ndarray) -> Drawn:
        moved = np.floor(u * (2 * pixels + 1)) - pixels
        return slot(Op.TRANSLATE, 0.0, 0.0, moved[:, 0], moved[:, 1])

    return Step("pad_crop", 2, draw, (Op.TRANSLATE,), settings=(pixels,))


def scale(low: float, high: float) -> Step:
    """Larger or smaller about the centre by a factor drawn evenly in its logarithm."""
    _span("scale", (low, high), 0, float("inf"))

    def draw(u: np.ndarray) -> Drawn:
        factor = np.exp(np.log(low) + np.log(high / low) * u[:, 0])
        return slot(Op.SCALE, factor, factor)

    return Step("scale", 1, draw, (Op.SCALE,), settings=(low, high))


def perspective(distortion: float = 0.5, p: float = 0.5) -> Step:
    """Each corner moves inwards by up to half of `distortion` of the width and height, as torchvision's.

    distortion: at most 0.6, as corners that move further can leave no convex frame.
    """
    _bounded("distortion", distortion, 0, 0.6)
    _share("p", p)

    def draw(u: np.ndarray) -> Drawn:
        moved = u[:, :8] * distortion / 2
        return slot(Op.PERSPECTIVE, *moved.T, where=u[:, 8] < p)

    return Step("perspective", 9, draw, (Op.PERSPECTIVE,), settings=(distortion, p))


def color_jitter(
    brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0, hue: float = 0.0, p: float = 1.0
) -> Step:
    """Factors of brightness, contrast and saturation drawn from 1 ± each, hue turned by up to `hue` either way (of a
    whole turn, at most 0.5), in this order; all with probability p.
    """
    spreads = {
        Op.BRIGHTNESS: _bounded("brightness", brightness, 0, 1), Op.CONTRAST: _bounded("contrast", contrast, 0, 1),
        Op.SATURATION: _bounded("saturation", saturation, 0, 1), Op.HUE: _bounded("hue", hue, 0, 0.5),
    }  # fmt: skip
    which = [(op, most, k) for k, (op, most) in enumerate(spreads.items()) if most]

    def draw(u: np.ndarray) -> Drawn:
        middle = {Op.HUE: 0.0}
        return joined([
            slot(op, middle.get(op, 1.0) + most * (2 * u[:, k] - 1), where=u[:, 4] < p) for op, most, k in which
        ])  # fmt: skip

    ops = tuple(op for op, *_ in which)
    colored = bool(hue or saturation)
    return Step(
        "color_jitter", 5, draw if which else _nothing, ops, colored, (brightness, contrast, saturation, hue, p)
    )


def grayscale(p: float = 0.2) -> Step:
    """Without colour, three channels kept, with probability p."""
    _share("p", p)
    return Step("grayscale", 1, lambda u: slot(Op.SATURATION, 0.0, where=u[:, 0] < p), (Op.SATURATION,), True, (p,))


def operation(name: str, value: float = 0.0, p: float = 1.0) -> Step:
    """One operation of a fixed magnitude with probability p: posterize (bits), solarize (threshold), solarize_add,
    invert, autocontrast, equalize, sharpness, brightness, contrast, saturation (factors), hue (turns).
    """
    from anmok.core.errors import did_you_mean

    _share("p", p)
    if name not in _SINGLE:
        raise UsageError(f"no such operation: {name}.", remedy=did_you_mean(name, tuple(_SINGLE)), code="setting")
    op, low, high = _SINGLE[name]
    _bounded(name, value, low, high)
    colored = op in (Op.SATURATION, Op.HUE)
    return Step(name, 1, lambda u: slot(op, value, where=u[:, 0] < p), (op,), colored, (name, value, p), "operation")


def blur(low: float = 0.1, high: float = 2.0, p: float = 0.5) -> Step:
    """Gaussian blur of a sigma drawn from [low, high] pixels, with probability p (as SimCLR's, Chen et al. 2020)."""
    _span("sigma", (low, high), 0, 64)
    _share("p", p)

    def draw(u: np.ndarray) -> Drawn:
        return slot(Op.BLUR, low + (high - low) * u[:, 0], where=u[:, 1] < p)

    return Step("blur", 2, draw, (Op.BLUR,), settings=(low, high, p))


def noise(std: float = 0.05, p: float = 0.5) -> Step:
    """Gaussian noise of a standard deviation drawn from [0, std], of the range of values, with probability p."""
    _bounded("std", std, 0, 1)
    _share("p", p)

    def draw(u: np.ndarray) -> Drawn:
        return slot(Op.NOISE, 255 * std * u[:, 0], where=u[:, 1] < p)

    return Step("noise", 2, draw, (Op.NOISE,), settings=(std, p))


def elastic(alpha: float = 50.0, sigma: float = 5.0, p: float = 0.5) -> Step:
    """Displaced by smoothed noise (Simard et al. 2003): uniform in ±alpha pixels, smoothed with sigma pixels."""
    _bounded("alpha", alpha, 0, 1000)
    _bounded("sigma", sigma, 0.5, 64)
    _share("p", p)
    return Step(
        "elastic", 1, lambda u: slot(Op.ELASTIC, alpha, sigma, where=u[:, 0] < p), (Op.ELASTIC,),
        settings=(alpha, sigma, p),
    )  # fmt: skip


def erase(p: float = 0.25) -> Step:
    """Random erasing (Zhong et al. 2020): a rectangle of 2 to 25 % of the area, with probability p."""
    _share("p", p)

    def draw(u: np.ndarray) -> Drawn:
        return slot(Op.ERASE, *u[:, 1:5].T, where=u[:, 0] < p)

    return Step("erase", 5, draw, (Op.ERASE,), settings=(p,))


_SINGLE: dict[str, tuple[Op, float, float]] = {
    "brightness": (Op.BRIGHTNESS, 0, 10), "contrast": (Op.CONTRAST, 0, 10), "saturation": (Op.SATURATION, 0, 10),
    "sharpness": (Op.SHARPNESS, 0, 10), "hue": (Op.HUE, -0.5, 0.5), "posterize": (Op.POSTERIZE, 0, 8),
    "solarize": (Op.SOLARIZE, 0, 256), "solarize_add": (Op.SOLARIZE_ADD, 0, 255), "invert": (Op.INVERT, 0, 0),
    "autocontrast": (Op.AUTOCONTRAST, 0, 0), "equalize": (Op.EQUALIZE, 0, 0),
}  # fmt: skip


def _nothing(u: np.ndarray) -> Drawn:
    return Drawn(np.zeros((len(u), 0), np.int8), np.zeros((len(u), 0, VALUES), np.float32))


def _share(name: str, value: float) -> float:
    return _bounded(name, value, 0, 1)


def _bounded(name: str, value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise UsageError(f"{name} must lie in [{low:g}, {high:g}], found {value:g}.", code="setting")
    return value


def _span(name: str, value: tuple[float, float], low: float, high: float) -> None:
    if len(value) != 2 or not low < value[0] <= value[1] <= high:
        raise UsageError(
            f"{name} must be two numbers, {low:g} < low <= high <= {high:g}, found {value}.", code="setting"
        )
