"""The gradient of a global batch, however many parts it is taken in."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from anmok.core.errors import MachineError
from anmok.core.events import Events
from anmok.core.progress import warn
from anmok.core.types import Batch
from anmok.engine.ranks import equal_parts, take_part
from anmok.engine.runtime import Runtime, micro_batches
from anmok.engine.state import State
from anmok.engine.totals import Totals


def gradients(
    learner: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, images: float, runtime: Runtime,
    accumulate: int, state: State, totals: Totals, events: Events,
) -> int:  # fmt: skip
    """Gradients of a global batch of `images`, of which this is the rank's share; in how many parts it went.

    Where the device's memory does not hold a part, the parts are halved and the batch begins anew: the step stays the
    same, it takes longer.
    """
    account = totals.account
    parts = equal_parts(max(accumulate, state.parts), len(batch), runtime.world)
    whole = runtime.sum_counts(counted(learner, batch))
    account.step()
    if not len(batch):  # on this rank: the others have images, and wait
        take_part(learner, runtime.to_device(batch), runtime)
        return state.parts
    while True:
        outcomes: list[tuple[Any, Batch, float | torch.Tensor]] = []
        try:
            # Parts of two images at least, as one has no batch statistics; no part where every image was rejected.
            for micro, last in micro_batches(batch, parts, least=2):
                share = share_of(learner, micro, whole)
                with runtime.sync(learner, when=last):
                    with account.phase("forward"), runtime.autocast():
                        outcome = learner(runtime.to_device(micro))
                    with account.phase("backward"):
                        runtime.backward(outcome.loss * share)
                outcomes.append((outcome, micro, share))
        except torch.OutOfMemoryError as error:
            if runtime.world > 1 or len(batch) < 4 * parts:
                raise MachineError(
                    f"the device's memory does not hold {-(-len(batch) // parts)} images of this model.", code="memory",
                    where="--batch-size", remedy="Lower --batch-size or --image-size, or raise --optim.accumulate.",
                ) from error  # fmt: skip
            optimizer.zero_grad(set_to_none=True)
            outcomes.clear()
            parts *= 2
            events.log("memory", step=state.step, parts=parts, images=-(-len(batch) // parts))
            warn(f"out of memory on the device: a batch now goes in {parts} parts, {meaning(learner)}")
            continue
        for outcome, part, share in outcomes:
            totals.add(outcome, part, share * images)
        return parts


def counted(learner: nn.Module, batch: Batch) -> int | torch.Tensor:
    """How many the learner's loss is the mean over: as it says itself (`counted`), or the images of the batch."""
    own = getattr(getattr(learner, "module", learner), "counted", None)
    return len(batch) if own is None else own(batch)


def share_of(learner: nn.Module, micro: Batch, whole: float | torch.Tensor) -> float | torch.Tensor:
    """What a part's mean weighs in the mean of the whole, so that nothing weighs more for the part it fell into."""
    part = counted(learner, micro)
    if isinstance(whole, torch.Tensor):
        part = torch.as_tensor(part).to(whole)
        share = part / whole.clamp_min(1)
        return share.item() if share.device.type == "cpu" else share
    return float(part) / max(1.0, whole)


def split_changes(learner: nn.Module) -> list[str]:
    """Why a batch taken in parts teaches something else than the whole; empty where it is the same to rounding."""
    module = getattr(learner, "module", learner)
    reasons = [reason] if (reason := getattr(module, "whole_batch", "")) else []
    kind = nn.modules.batchnorm._BatchNorm
    if any(isinstance(m, kind) and m.training for m in module.modules()):
        reasons.append("batch normalisation takes the statistics of each part")
    return reasons


def meaning(learner: nn.Module) -> str:
    """What taking a batch in parts does to its gradient, in words."""
    reasons = split_changes(learner)
    return f"which is not the same: {'; '.join(reasons)}" if reasons else "its gradient is the same"
