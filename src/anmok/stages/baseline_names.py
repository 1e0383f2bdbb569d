"""Names of what is compared: a network's, or FEATURES/CLASSIFIER of a simple baseline."""

from __future__ import annotations

from typing import NamedTuple

from anmok.core.errors import UsageError, nearest
from anmok.data.hand_features import HAND
from anmok.evaluate.baseline_models import SETTINGS

TORCHVISION = "torchvision/"


class BaselineName(NamedTuple):
    """A simple baseline's parts: what the classifier sees (a network's name: what its head would see), and which."""

    features: str
    classifier: str

    @property
    def network(self) -> str:
        """The network whose features they are, '' of those made by hand."""
        return "" if self.features in HAND else self.features


def baseline_name(name: str) -> BaselineName | None:
    """The baseline that a name means, None where it is a network's (torchvision/NAME stays one).

    UsageError where a part before or after the slash is none that there is. Whether a network of the name before it
    exists is not looked at here.
    """
    head, slash, tail = name.rpartition("/")
    if not slash or (head and f"{head}/" == TORCHVISION and tail not in SETTINGS):
        return None
    if tail not in SETTINGS or not head:
        near = nearest(tail, SETTINGS)
        meant = ", ".join(f"{head or 'pixels'}/{name}" for name in near)
        hint = f"Did you mean {meant}? " if near else ""
        raise UsageError(
            f"there is no classifier {tail or 'of no name'}.", where=name, code="model",
            remedy=f"{hint}Known: {', '.join(SETTINGS)}; before the slash {', '.join(HAND)}, or a network's name.",
        )  # fmt: skip
    return BaselineName(head, tail)
