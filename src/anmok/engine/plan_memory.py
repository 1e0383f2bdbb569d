"""How many images a step may have: by the account of one step on a CPU, by trying on a GPU."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from anmok.core.types import Batch
from anmok.engine.plan_measure import step
from anmok.engine.runtime import Runtime

SPARE = 0.8  # of the free memory, what a step may take
WORK = 2.0  # of what a step keeps for its backward pass, what it needs at most: gradients of it come to that


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` that fits, by bisection; 0 where not even one does. What fits, fits with less."""
    if fits(most):
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low


def kept_bytes(trial: nn.Module, batch: Batch, runtime: Runtime) -> int:
    """Bytes that a forward pass keeps for its backward pass, parameters not among them, each storage once."""
    own = {p.untyped_storage().data_ptr() for p in trial.parameters()}
    kept: dict[int, int] = {}
    alive: list[torch.Tensor] = []  # an address is one storage's only as long as it lives

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor.detach())
        return tensor

    data = runtime.to_device(batch)
    trial = runtime.place(trial)
    torch.manual_seed(0)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), runtime.autocast():
        trial(data)
    return sum(kept.values())


def fitting(trial: nn.Module, batch: Batch, runtime: Runtime, free_bytes: int, probe: int) -> int:
    """How many images of the batch a step may have, 0 where not one.

    On a GPU a step is tried, and survives running out of memory. On a CPU, where that would end the process, what a
    step of `probe` images keeps is scaled up and compared with the free memory.
    """
    if runtime.device.type == "cpu":
        part = batch.part(slice(probe))
        each = kept_bytes(trial, part, runtime) * WORK / max(1, len(part))
        return min(len(batch), int(free_bytes * SPARE / max(1.0, each)))

    return largest(lambda n: fits(trial, batch.part(slice(n)), runtime), len(batch))


def fits(trial: nn.Module, batch: Batch, runtime: Runtime) -> bool:
    """Whether the device's memory holds a step of the batch."""
    try:
        step(trial, batch, runtime)
    except torch.OutOfMemoryError:
        trial.zero_grad(set_to_none=True)
        if runtime.device.type == "cuda":
            torch.cuda.empty_cache()
        return False
    return True


def parts_for(images: int, most: int, least: int = 2) -> int:
    """In how many parts a batch goes of which `most` images fit; none of the parts has fewer than `least`."""
    parts = -(-images // max(most, least))
    return max(1, min(parts, images // least))
