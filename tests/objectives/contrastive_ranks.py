"""What each of two ranks computes of a contrastive loss; in a module of its own, as a spawned process imports it."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from anmok.objectives.contrastive import gathered, similarities, supervised_contrastive


def rank(rank: int, file: str, sizes: list[int], out: str) -> None:
    """A rank's loss and the gradient of its vectors, for the sum over ranks of n_r / N times the loss."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=len(sizes))
    start = sum(sizes[:rank])
    first, second = halves(sum(sizes))
    mine = torch.cat([first[start : start + sizes[rank]], second[start : start + sizes[rank]]]).requires_grad_()
    keys = (-1 - torch.arange(sizes[rank])).repeat(2)
    others, all_keys, row = gathered(mine, keys)
    loss = supervised_contrastive(*similarities(mine, others, all_keys, row, 0.5))
    (loss * sizes[rank] / sum(sizes)).backward()
    torch.save({"loss": loss.detach(), "gradient": mine.grad}, f"{out}-{rank}.pt")
    torch.distributed.destroy_process_group()


def halves(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two views of n images, unit vectors."""
    generator = torch.Generator().manual_seed(3)
    first, second = (F.normalize(torch.randn(n, 4, generator=generator), dim=1) for _ in range(2))
    return first, second
