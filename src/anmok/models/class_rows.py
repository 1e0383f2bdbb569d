"""A stored head for the same classes in another order."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from anmok.models.heads import in_head


def bring_into_order(
    state: dict[str, torch.Tensor], heads: tuple[str, ...], stored: Sequence[str] | None, classes: Sequence[str]
) -> bool:
    """Put the rows of the heads in `state`, which are of the classes `stored`, into the order of `classes`, in place.

    False, and nothing is done, where these are other classes or a head has not one row a class.
    """
    if stored is None or len(set(stored)) != len(stored) or sorted(stored) != sorted(classes):
        return False
    keys = [key for key in state if in_head(key, heads)]
    if not keys or any(state[key].shape[:1] != (len(classes),) for key in keys):
        return False
    rows = [stored.index(name) for name in classes]
    for key in keys:
        state[key] = state[key][rows]
    return True
