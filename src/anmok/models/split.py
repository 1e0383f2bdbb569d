"""A network in two: the frozen part, whose answers can be kept, and the rest, which goes on from them.

The rest shares its parameters with the network, so that what is learned, averaged and stored is the network as ever; a
copy of the network together with its split is one of both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import fx, nn

from anmok.models.cut import CANNOT, Cannot, cut
from anmok.models.heads import in_head
from anmok.models.modes import settle_frozen, untouched

Kept = tuple[torch.Tensor, ...]
CLOSE = 1e-4  # of the largest logit, that rounding may make


class Split(Protocol):
    """The two halves."""

    def front(self, images: torch.Tensor) -> Kept:
        """float[B, C, H, W] to what is kept of them, tensors whose first dimension is B; in evaluation mode."""

    def back(self, kept: Kept, training: bool) -> torch.Tensor:
        """What is kept to the logits [B, outputs], as the network says them in training or in evaluation mode."""


def split_at_frozen(backbone: nn.Module, heads: tuple[str, ...], images: torch.Tensor) -> Split:
    """Split a network where its frozen part ends.

    images: float[B, C, H, W], three or more, what the split is tried on: both halves together must say what the whole
    does.  Raises Cannot with the reason where there is no such place, or the network cannot be followed.
    """
    learning = [n for n, p in backbone.named_parameters() if p.requires_grad]
    ways: list[Callable[[], Split]] = [lambda: GraphSplit(*cut(backbone, heads, images))]
    if all(in_head(n, heads) for n in learning) and len(heads) == 1:
        ways.append(lambda: HeadSplit(backbone, heads[0]))
    reason = ""
    for way in ways:
        try:
            with untouched(backbone):
                found = way()
                _check(backbone, found, images)
            return found
        except Cannot as error:
            reason = str(error)
        except CANNOT as error:
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    raise Cannot(reason)


@dataclass(frozen=True)
class GraphSplit:
    """By the network's graph: first half, second half in training and in evaluation mode."""

    first: fx.GraphModule
    learning: fx.GraphModule
    settled: fx.GraphModule

    def front(self, images: torch.Tensor) -> Kept:
        """See Split."""
        return tuple(self.first(images))

    def back(self, kept: Kept, training: bool) -> torch.Tensor:
        """See Split."""
        return (self.learning if training else self.settled)(*kept)


@dataclass(frozen=True)
class HeadSplit:
    """Before the head, of a network that ends with it and need not be followed."""

    backbone: nn.Module
    head: str

    def front(self, images: torch.Tensor) -> Kept:
        """See Split.  Cannot where the head is not called once, with one tensor."""
        seen: list[torch.Tensor] = []
        module = self.backbone.get_submodule(self.head)
        handle = module.register_forward_pre_hook(lambda _module, given: seen.extend(given))
        try:
            self.backbone(images)
        finally:
            handle.remove()
        if len(seen) != 1:
            raise Cannot(f"its head is given {len(seen)} tensors for a batch")
        return (seen[0],)

    def back(self, kept: Kept, training: bool) -> torch.Tensor:
        """See Split."""
        return self.backbone.get_submodule(self.head)(*kept)


@torch.no_grad()
def _check(backbone: nn.Module, split: Split, images: torch.Tensor) -> None:
    """Cannot, where the halves say something else than the whole, in evaluation or in training."""
    backbone.eval()
    kept = split.front(images)
    if any(k.shape[:1] != images.shape[:1] for k in kept):
        raise Cannot("what its frozen part gives has no dimension for the images")
    if not all(map(_near, split.front(images[1:]), (k[1:] for k in kept))):
        raise Cannot("what its frozen part gives of an image depends on the others of its batch")
    for training in (False, True):
        backbone.train(training)
        settle_frozen(backbone)
        torch.manual_seed(0)  # the caller's generator is forked
        whole = backbone(images)
        torch.manual_seed(0)
        halves = split.back(kept, training)
        if not _near(halves, whole):
            how = "in training" if training else "in evaluation"
            raise Cannot(f"its frozen part and the rest do not give the whole network's logits {how}")


def _near(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether two tensors are the same but for rounding."""
    if found.shape != expected.shape:
        return False
    return bool((found - expected).abs().max() <= CLOSE * expected.abs().max().clamp_min(1e-6))
