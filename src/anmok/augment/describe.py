"""What was drawn, in words."""

from __future__ import annotations

import math
from collections.abc import Callable

from anmok.augment.guests import GuestParams
from anmok.augment.params import COLOR_ONLY, Op, Params, Program, programs_of

_PLAIN = {
    Op.HFLIP: "flip", Op.VFLIP: "upside down", Op.INVERT: "invert", Op.AUTOCONTRAST: "autocontrast",
    Op.EQUALIZE: "equalize", Op.ERASE: "erased", Op.ELASTIC: "elastic",
}  # fmt: skip
_FACTORS = {
    Op.BRIGHTNESS: "brightness", Op.CONTRAST: "contrast", Op.SATURATION: "saturation", Op.SHARPNESS: "sharpness"
}  # fmt: skip


def described(params: Params | GuestParams, index: int, depth: int = 3) -> list[str]:
    """What changes an image of `depth` channels, operation by operation."""
    if isinstance(params, GuestParams):
        return [params.guest.name]
    return _program(params.programs[index], depth) + _mixed(params, index, depth)


def _program(program: Program, depth: int) -> list[str]:
    return [
        text for op, numbers in program if depth == 3 or op not in COLOR_ONLY for text in _words(Op(op), numbers)
    ]  # fmt: skip


def _mixed(params: Params, index: int, depth: int) -> list[str]:
    if params.chains is None:
        return []
    ops, values = params.chains.ops[index].tolist(), params.chains.values[index].tolist()
    own, *weights = params.chains.weights[index].tolist()
    chains = [_program(programs_of(o, v), depth) for o, v in zip(ops, values, strict=True)]
    return [f"{own:.0%} as it is"] + [
        f"{weight:.0%} {' + '.join(chain) or 'as it is'}" for weight, chain in zip(weights, chains, strict=True)
    ]


def _words(op: Op, numbers: list[float]) -> list[str]:
    if op in _PLAIN:
        return [_PLAIN[op]]
    if op in _FACTORS:
        return [f"{_FACTORS[op]} ×{numbers[0]:.2f}"] if abs(numbers[0] - 1) >= 5e-3 else []
    return _SAID[op](numbers) if op in _SAID else []


def _crop(v: list[float]) -> list[str]:
    parts = [f"crop {v[0]:.0%} of the area"] if v[0] < 0.9995 else []
    if abs(v[1]) > 5e-3:
        parts.append(f"aspect ×{math.exp(v[1]):.2f}" if v[2] else f"aspect {math.exp(v[1]):.2f}")
    return parts


def _turn(v: list[float]) -> list[str]:
    return [f"turn {math.degrees(v[0]):+.1f}°"] if abs(math.degrees(v[0])) >= 0.05 else []


def _shear(word: str) -> Callable[[list[float]], list[str]]:
    def said(v: list[float]) -> list[str]:
        degrees = math.degrees(math.atan(v[0]))
        return [f"{word} {degrees:+.1f}°"] if abs(degrees) >= 0.05 else []

    return said


def _move(v: list[float]) -> list[str]:
    sides = [
        f"{share:+.0%} {axis}" if share else f"{int(pixels):+d} px {axis}"
        for share, pixels, axis in zip(v[:2], v[2:4], "xy", strict=True)
        if share or int(pixels)
    ]
    return [f"move {' '.join(sides)}"] if sides else []


_SAID: dict[Op, Callable[[list[float]], list[str]]] = {
    Op.CROP: _crop, Op.ROTATE: _turn, Op.SHEAR_X: _shear("shear"), Op.SHEAR_Y: _shear("upright shear"),
    Op.TRANSLATE: _move, Op.SCALE: lambda v: [f"size ×{v[0]:.2f}"],
    Op.PERSPECTIVE: lambda v: ["perspective"] if any(v) else [],
    Op.POSTERIZE: lambda v: [f"{v[0]:.0f} bits"] if v[0] < 8 else [],
    Op.SOLARIZE: lambda v: [f"solarize from {v[0]:.0f}"] if v[0] <= 255 else [],
    Op.SOLARIZE_ADD: lambda v: [f"solarize +{v[0]:.0f}"], Op.HUE: lambda v: [f"hue {v[0] * 360:+.0f}°"],
    Op.BLUR: lambda v: [f"blur {v[0]:.1f} px"], Op.NOISE: lambda v: [f"noise {v[0]:.1f}"],
}  # fmt: skip
