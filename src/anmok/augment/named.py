"""Policies by name, with the quantities that the configuration sets apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anmok.augment.config import AugmentConfig
from anmok.augment.guests import Guest
from anmok.augment.papers import augmix, autoaugment, randaugment, trivialaugment
from anmok.augment.policy import Policy, ranges
from anmok.augment.steps import Step, pad_crop
from anmok.core.errors import UsageError, did_you_mean

_FLIP_CROP: dict[str, Any] = {"hflip": 0.5, "scale": (0.35, 1.0), "ratio": (3 / 4, 4 / 3)}
_PAPER: dict[str, Any] = {"hflip": 0.5, "scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "border": "fill"}
_SMALL: dict[str, Any] = {"hflip": 0.5, "border": "fill"}  # of CIFAR-10: padded by 4 pixels and cropped back

# The quantities of each name; the papers' policies bring the crop and flip of the training they were published with.
NAMED: dict[str, dict[str, Any]] = {
    "none": {},
    "flip-crop": _FLIP_CROP,
    "light": _FLIP_CROP | {"scale": (0.6, 1.0), "rotate": 10, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2},
    "medium": _FLIP_CROP
    | {"rotate": 15, "shear": 5, "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "erase": 0.25},
    "strong": _FLIP_CROP | {
        "scale": (0.25, 1.0), "rotate": 20, "shear": 10, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4,
        "erase": 0.25, "mixup": 0.2, "cutmix": 1.0, "mix": 0.5,
    },
    "autoaugment": _PAPER,
    "autoaugment-cifar10": _SMALL,
    "autoaugment-svhn": _SMALL | {"hflip": 0.0},
    "randaugment": _PAPER,
    "trivialaugment": _PAPER,
    "augmix": _PAPER,
}  # fmt: skip
_INNER: dict[str, Callable[..., list[Step]]] = {
    "autoaugment": lambda: [autoaugment()],
    "autoaugment-cifar10": lambda: [pad_crop(4), autoaugment("cifar10")],
    "autoaugment-svhn": lambda: [pad_crop(4), autoaugment("svhn")],
    "randaugment": lambda **settings: [randaugment(**settings)],
    "trivialaugment": lambda: [trivialaugment()],
    "augmix": lambda **settings: [augmix(**settings)],
}
_SETTINGS = {"randaugment": ("n", "m"), "augmix": ("severity", "width", "depth")}


def build_policy(config: AugmentConfig, relative: bool = True, depth: int = 3) -> Policy | Guest:
    """The named policy with the quantities that the configuration sets apart.

    relative: see `ranges`; depth: channels of the images: of a single one a named policy leaves the saturation alone,
    while a saturation or hue that was asked for is a UsageError.
    """
    name, settings = parse(config.policy)
    if name not in NAMED:
        from anmok.augment.accept import as_policy

        return as_policy(config, relative, depth)
    base = NAMED[name] | ({"saturation": 0.0} if depth == 1 else {})
    own = {key: value for key, value in config.model_dump(exclude={"policy"}).items() if value is not None}
    inner = _INNER[name](**settings) if name in _INNER else []
    policy = ranges(inner=inner, relative=relative, **(base | own))
    policy.check(depth)
    return policy


def parse(text: str) -> tuple[str, dict[str, int]]:
    """('randaugment', {'n': 2, 'm': 9}) of 'randaugment:n=2,m=9'; UsageError for what no such policy has."""
    name, _, rest = text.partition(":")
    if name not in _INNER or not rest:
        if rest and name in NAMED:
            raise UsageError(
                f"{name} has no settings of its own, found {rest}.", where="augment.policy", code="setting"
            )
        return text, {}
    known = _SETTINGS.get(name, ())
    found: dict[str, int] = {}
    for part in rest.split(","):
        key, _, value = part.partition("=")
        if key.strip() not in known:
            raise UsageError(
                f"{name} has no setting {key.strip()!r}.", where="augment.policy", code="setting",
                remedy=did_you_mean(key.strip(), known) if known else f"Write --augment {name}.",
            )  # fmt: skip
        if not value.strip().isdecimal():
            raise UsageError(
                f"{name}: {key.strip()} must be a whole number, found {value.strip()!r}.", where="augment.policy",
                code="setting",
            )  # fmt: skip
        found[key.strip()] = int(value)
    return name, found
