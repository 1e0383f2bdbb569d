"""Weights in parts over ranks (FSDP2), for a network that one device does not hold; whole again where it is stored."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

LEAST = 100_000  # parameters of a part that is gathered by itself; smaller ones wait for the part around them


def shard(network: nn.Module, device: torch.device, smallest: int = LEAST) -> nn.Module:
    """Split every weight over the ranks, in place: what a rank holds shrinks, values and gradients stay.

    Optimizers come after it: the parameters are other objects. `smallest`: see `blocks_of`.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for block in blocks_of(network, smallest):
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)
    return network


def blocks_of(network: nn.Module, smallest: int = LEAST) -> list[nn.Module]:
    """What is gathered by itself when it is computed: members of lists and sequences, of so many parameters at least.

    Inner ones come before those around them.
    """
    found: dict[int, nn.Module] = {}
    for holder in reversed(list(network.modules())):
        if isinstance(holder, nn.ModuleList | nn.Sequential):
            for block in holder:
                if not isinstance(block, nn.ModuleList) and sum(p.numel() for p in block.parameters()) >= smallest:
                    found.setdefault(id(block), block)
    return list(found.values())


def is_sharded(module: nn.Module) -> bool:
    """Whether the module's weights are split over ranks."""
    from torch.distributed.tensor import DTensor

    return any(isinstance(p, DTensor) for p in module.parameters())


@contextlib.contextmanager
def exchanging(learner: nn.Module, when: bool) -> Iterator[None]:
    """Exchange gradients within the block, or only add them up."""
    from torch.distributed.fsdp import FSDPModule

    parts = [m for m in learner.modules() if isinstance(m, FSDPModule)]
    for part in parts:
        part.set_requires_gradient_sync(when, recurse=False)
    yield


def whole(value: Any) -> Any:
    """A tensor as it is without ranks; all of them have to ask.  Everything else as it is."""
    from torch.distributed.tensor import DTensor

    return value.full_tensor() if isinstance(value, DTensor) else value


def whole_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """A module's state dict with every tensor whole; where weights lie in parts, all ranks have to ask."""
    return {name: whole(value) for name, value in module.state_dict().items()}


def take_state(module: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Load whole tensors into a module, of which each rank takes its part where they lie in parts."""
    if not is_sharded(module):
        module.load_state_dict(tensors)
        return
    own = module.state_dict()
    module.load_state_dict({name: split_as(value, own[name]) for name, value in tensors.items()})


def split_as(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A whole tensor split over the ranks as `like` is, in its memory format; all of them hold the same."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if isinstance(like, DTensor):
        return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
    return torch.empty_like(like).copy_(value)
