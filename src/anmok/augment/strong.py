"""FixMatch's strong view: the weak one, then RandAugment and a rectangle cut out (Sohn et al. 2020, § 2.3)."""

from __future__ import annotations

from anmok.augment.guests import Guest
from anmok.augment.papers import randaugment
from anmok.augment.policy import Policy, compose
from anmok.augment.steps import crop, erase, flip

GREY = (127, 127, 127)  # of what a warp uncovers


def strong_view(weak: Policy | Guest, operations: int = 2, magnitude: int = 9, cutout: float = 1.0) -> Policy:
    """The steps of `weak` (of a guest's policy, which cannot be gone on with, a crop and a flip), then `operations` of
    RandAugment of a magnitude of 0 to 30, then with probability `cutout` an erased rectangle.
    """
    before = weak.steps if isinstance(weak, Policy) else (crop(None, (0.35, 1.0), relative=True), flip())
    after = [randaugment(operations, magnitude), *([erase(cutout)] if cutout else [])]
    return compose(*before, *after, border="fill", fill=GREY)
