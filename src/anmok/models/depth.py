"""The stages of a network, in the order in which an image passes them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import nn

from anmok.models.heads import in_head


class Stage(NamedTuple):
    """A part of a network: what it is called, and the names of its parameters."""

    name: str
    parameters: tuple[str, ...]


def stages_of(backbone: nn.Module, heads: tuple[str, ...]) -> list[Stage]:
    """The stages before the head, the one that sees the image first.

    What the network itself says (timm's `group_matcher`), else its children that hold parameters; where that is only
    one, the children of that one. Parameters after the last stage that are not the head's (a final norm) belong to it.
    """
    names = [n for n, _ in backbone.named_parameters() if not in_head(n, heads)]
    groups = _said(backbone, heads) if hasattr(backbone, "group_matcher") else _children(names)
    return [Stage(_common(group), tuple(group)) for group in groups if group]


def rate_factors(backbone: nn.Module, heads: tuple[str, ...], decay: float) -> dict[str, float]:
    """The share of the learning rate of each parameter: 1 for the head, and `decay` to the number of stages above.

    Layer-wise learning-rate decay (Clark et al. 2020, arXiv:2003.10555; Bao et al. 2022, arXiv:2106.08254): the rate of
    stage i of D is lr · decay^(D − i), and the head is stage D.
    """
    stages = stages_of(backbone, heads)
    factors = {n: decay ** (len(stages) - i) for i, stage in enumerate(stages) for n in stage.parameters}
    return {n: factors.get(n, 1.0) for n, _ in backbone.named_parameters()}


def _said(backbone: Any, heads: tuple[str, ...]) -> list[list[str]]:
    """The groups of the network's own `group_matcher`; what only the head's group holds besides it joins the last."""
    from timm.models import group_parameters

    of = group_parameters(backbone, backbone.group_matcher(coarse=True), reverse=True)
    last = max((of[n] for n in of if in_head(n, heads)), default=math.inf)
    groups: dict[float, list[str]] = {}
    for name, _ in backbone.named_parameters():
        if not in_head(name, heads):
            groups.setdefault(of.get(name, last), []).append(name)
    rest = groups.pop(last, [])
    ordered = [groups[i] for i in sorted(groups)]
    if ordered:
        ordered[-1] += rest
    return ordered or [rest]


def _children(names: list[str]) -> list[list[str]]:
    """Names grouped by their first part, or by the first in which they differ."""
    depth = 0
    while True:
        groups: dict[str, list[str]] = {}
        for name in names:
            groups.setdefault(".".join(name.split(".")[: depth + 1]), []).append(name)
        if len(groups) != 1 or all(len(n.split(".")) <= depth + 2 for n in names):
            return list(groups.values())
        depth += 1


def _common(names: Iterable[str]) -> str:
    """What the modules of these parameters are called together: 'layer4', 'conv1, bn1', 'blocks.5, norm'."""
    parts: dict[str, list[list[str]]] = {}
    for name in names:
        path = name.split(".")
        parts.setdefault(path[0], []).append(path[:-1] or path)
    shown = []
    for paths in parts.values():
        same = next((i for i, at in enumerate(zip(*paths, strict=False)) if len(set(at)) > 1), min(map(len, paths)))
        shown.append(".".join(paths[0][:same]))
    return ", ".join(shown[:3]) + (", …" if len(shown) > 3 else "")
