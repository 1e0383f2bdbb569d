"""Several processes that torchrun started as one run: how they agree, share what each has found, and average.

What is agreed goes over the CPU (gloo), also where gradients go over GPUs (nccl): no step waits for the device for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import nn

from anmok.core.types import Batch, Predictions
from anmok.engine.meeting import meeting

if TYPE_CHECKING:
    from anmok.engine.runtime import Runtime

T = TypeVar("T")


def join(seconds: float) -> tuple[int, int]:
    """(rank, world): this process among those that torchrun started, its exchange open; (0, 1) of a process alone.

    seconds: how long an exchange waits for a rank that is not heard of.
    """
    ranks = meeting()
    if ranks.world > 1 and not torch.distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        torch.distributed.init_process_group(
            backend, store=torch.distributed.PrefixStore("exchange", ranks.store), rank=ranks.rank,
            world_size=ranks.world, timeout=timedelta(seconds=seconds),
        )  # fmt: skip
    return ranks.rank, ranks.world


def processes_here() -> int:
    """How many ranks share this machine's cores."""
    return max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def number_here() -> int:
    """Which of this machine's ranks, and GPUs, this is."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def summed(values: Sequence[float], world: int) -> list[float]:
    """Numbers, each summed over ranks in float64."""
    if world == 1:
        return list(values)
    tensor = torch.tensor(list(values), dtype=torch.float64)
    torch.distributed.all_reduce(tensor)
    return tensor.tolist()


def least(value: int, world: int) -> int:
    """The smallest of the ranks' numbers."""
    if world == 1:
        return value
    tensor = torch.tensor([value])
    torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MIN)
    return int(tensor)


def wait_for_all(world: int) -> None:
    """Go on when all ranks have come here."""
    summed([0.0], world)


def any_of(ask: Callable[[], bool], world: int) -> Callable[[], bool]:
    """Whether it is so on any rank, the same answer on all; all have to ask."""
    return ask if world == 1 else lambda: summed([ask()], world)[0] > 0


def from_first(make: Callable[[], T], world: int) -> T:
    """What rank 0 makes, on all ranks; the others do not make it."""
    if world == 1:
        return make()
    told: list[Any] = [make() if torch.distributed.get_rank() == 0 else None]
    torch.distributed.broadcast_object_list(told, src=0, device=torch.device("cpu"))
    return told[0]


def of_all(value: T, world: int) -> list[T]:
    """Every rank's value, in the order of the ranks."""
    if world == 1:
        return [value]
    told: list[Any] = [None] * world
    torch.distributed.all_gather_object(told, value)
    return told


def in_order(own: Predictions, ids: Sequence[str], world: int) -> Predictions:
    """The ranks' predictions as one, in the order of `ids`; each image once, those that nobody could read left out.

    ValueError where an image was predicted by two ranks.
    """
    if world == 1:
        return own
    parts = of_all((own.ids, own.probs, own.targets), world)
    found = [identity for names, _, _ in parts for identity in names]
    place = {identity: number for number, identity in enumerate(found)}
    if len(place) != len(found):
        raise ValueError(f"{len(found) - len(place)} images were predicted by two ranks")
    order = np.array([place[i] for i in ids if i in place], np.int64)
    known = [t for _, _, t in parts if t is not None and len(t)]  # a rank without images may not know their form
    return Predictions(
        [found[i] for i in order], own.classes, np.concatenate([probs for _, probs, _ in parts])[order],
        np.concatenate(known)[order] if known else None, own.task,
    )  # fmt: skip


def same_buffers(module: nn.Module, world: int) -> None:
    """Give all ranks rank 0's buffers: each has met other images, and their batch statistics differ."""
    if world > 1:
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, src=0)


def norms_of(module: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The batch normalisations of a network."""
    return [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def with_synchronised_norms(learner: nn.Module, device: torch.device, world: int) -> nn.Module:
    """The learner; on several GPUs its batch normalisations see the images of all ranks.

    torch has that for GPUs only.  By timm's conversion, as torch's forgets activations that sit in a normalisation.
    """
    if world == 1 or device.type != "cuda" or not norms_of(learner):
        return learner
    from timm.layers import convert_sync_batchnorm

    return convert_sync_batchnorm(learner)


def equal_parts(parts: int, images: int, world: int) -> int:
    """In how many parts every rank takes its share, of two images at least: as many on all, as parts are exchanged."""
    return parts if world == 1 or parts == 1 else max(1, min(parts, least(images, world) // 2))


def take_part(learner: nn.Module, batch: Batch, runtime: Runtime) -> None:
    """A step of a rank none of whose images could be read: it adds nothing, but the others wait for its exchange.

    Batch statistics of no image are not to be kept; synchronised ones are those of the other ranks.
    """
    alone = [m for m in norms_of(learner) if m.training and not isinstance(m, nn.SyncBatchNorm)]
    for norm in alone:
        norm.eval()
    try:
        with runtime.autocast():
            outcome = learner(batch)
        runtime.backward(outcome.loss.nan_to_num() * 0)
    finally:
        for norm in alone:
            norm.train()
