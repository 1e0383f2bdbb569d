"""Colour, geometry, the deterministic preparation of an image, and augmentation as data.

`compose(flip(), rotate(15), color_jitter(.2, .2, .2, .02), crop(224))` makes a policy; `policy.draw(ids, epoch, seed)`
plain arrays; `apply(images, params)` the pictures, on the host for numpy arrays, on their device for tensors.
"""

from __future__ import annotations

from typing import Any

_STEPS = (
    "blur", "color_jitter", "crop", "elastic", "erase", "flip", "grayscale", "noise", "operation", "pad_crop",
    "perspective", "rotate", "scale", "shear", "translate",
)  # fmt: skip
_PAPERS = ("augmix", "autoaugment", "randaugment", "trivialaugment")
_HOME = {
    "Guest": "guests", "Params": "params", "Policy": "policy", "apply": "execute", "build_policy": "named",
    "Views": "views", "compose": "policy", "guest": "guests", "load_policy": "files", "multi_crop": "views",
    "ranges": "policy", "save_policy": "files", "two_views": "views",
    **dict.fromkeys(_STEPS, "steps"), **dict.fromkeys(_PAPERS, "papers"),
}  # fmt: skip
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    import importlib

    if name in _HOME:
        return getattr(importlib.import_module(f"anmok.augment.{_HOME[name]}"), name)
    raise AttributeError(f"module 'anmok.augment' has no attribute {name!r}")
