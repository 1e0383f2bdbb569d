"""A verb in several processes: rank 0 opens the data and writes the run, the others follow it and keep silent."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from anmok.core.errors import UsageError
from anmok.core.progress import say, warn
from anmok.core.types import Predictions, Reject
from anmok.stages.config import LearnConfig

if TYPE_CHECKING:
    from torch import nn

    from anmok.data.batches import Loader
    from anmok.engine.meeting import Round
    from anmok.engine.runtime import Runtime
    from anmok.engine.state import State
    from anmok.stages.job import Job
    from anmok.stages.rejects import Rejects

R = TypeVar("R")
C = TypeVar("C", bound=LearnConfig)
_now: list[Round] = []  # the round that this process is in


def together(lead: Callable[[], R], follow: Callable[[Path], R], again: Callable[[Path], R]) -> R:
    """Do a verb's work on all ranks; a process alone just leads.

    lead: on rank 0; it calls `announce` when the folder is ready to learn in. follow: on the others, in that folder.
    again: on the others, where there was nothing to do in a run.  Errors of a rank end all, by name (`rank`).
    """
    from anmok.engine.meeting import Round, meeting, named

    place = meeting()
    if place.world == 1 or _now:
        return lead()
    ranks = Round(place)
    _now.append(ranks)
    try:
        with named(ranks):
            if place.rank == 0:
                out = lead()
                ranks.say("done", str(getattr(out, "path", "")))
                return out
            told = json.loads(ranks.wait("ready", "finished"))
            out = follow(Path(told)) if ranks.heard("ready") else again(Path(told))
            ranks.wait("done")
            return out
    finally:
        _now.clear()


def announce(folder: Path, ready: bool = True) -> None:
    """On rank 0: tell the others the folder, ready to learn in or finished; nothing where there are no others."""
    if _now and _now[0].rank == 0:
        _now[0].say("ready" if ready else "finished", json.dumps(str(folder.resolve())))


def refuse_ranks(what: str) -> None:
    """UsageError for what one process does alone, where torchrun started several."""
    from anmok.engine.meeting import meeting

    if meeting().world > 1:
        raise UsageError(
            f"{what} learns in one process, and these are {meeting().world}.", where="torchrun", code="ranks",
            remedy="Start it without torchrun; `anmok train` from labels learns in several.",
        )  # fmt: skip


def leads() -> bool:
    """Whether this process writes and speaks."""
    from anmok.engine.meeting import meeting

    return meeting().rank == 0


def gathered(own: Predictions, loader: Loader, runtime: Runtime) -> Predictions:
    """The predictions of all ranks for a loader's images, each once, in the order of its table."""
    from anmok.engine.ranks import in_order

    return in_order(own, loader.table.rows["id"].to_list(), runtime.world)


def share_rejects(rejects: Rejects, world: int) -> None:
    """Tell all ranks of the images that one of them could not use.  DataError, on all, where they are too many."""
    from anmok.engine.ranks import of_all

    if world > 1:
        for found in of_all([tuple(r) for r in rejects.loaded()], world):
            for item in found:
                rejects.add(Reject(*item))


def agreed(job: Job, validate: Callable[[Job], dict[str, float]]) -> Callable[[], dict[str, float]]:
    """Validation over the ranks: of one state of the network, with one result, rank 0's, on all."""
    from anmok.engine.meeting import watch
    from anmok.engine.ranks import from_first, same_buffers

    def scores() -> dict[str, float]:
        watch(0)
        world = job.runtime.world
        same_buffers(job.judged, world)
        found = validate(job)
        share_rejects(job.rejects, world)
        return from_first(lambda: found, world)

    return scores


def tell_ranks(job: Job) -> None:
    """Say how many processes learn, and what that changes."""
    from anmok.engine.ranks import norms_of

    world, batch = job.runtime.world, job.config.batch_size
    if world == 1:
        return
    parts = ", each with a part of the weights" if job.config.runtime.shard else ""
    say(f"{world} processes learn together{parts}: a batch of {batch} is {batch / world:g} images on each")
    if not any(norm.training for norm in norms_of(job.learner)):
        return
    if job.runtime.device.type == "cuda":
        say("batch normalisation is synchronised: it sees the images of all ranks")
    else:
        warn(
            "batch normalisation sees the images of its own rank only, as one process does with --optim.accumulate "
            f"{world}; running statistics are rank 0's"
        )


def check_shard(config: C, world: int) -> C:
    """The settings as weights in parts need them.  UsageError for what does not go with `runtime.shard`."""
    if not config.runtime.shard:
        return config
    reason = ""
    if world == 1:
        reason = "weights are split over processes, and this is one"
    elif config.optim.ema:
        reason = "a moving average needs the weights whole"
    elif config.optim.lookahead:
        reason = "slow weights need the weights whole"
    elif config.optim.name == "muon":
        reason = "muon needs each matrix whole"
    elif config.training.unfreeze is not None:
        reason = "what learns has to stay"
    elif config.runtime.channels_last:
        reason = "weights in parts have no channels_last"
    if reason:
        raise UsageError(
            f"{reason}.", where="runtime.shard", code="setting",
            remedy="Leave it out." if world > 1 else "Start it with torchrun --nproc-per-node N -m anmok ….",
        )  # fmt: skip
    runtime = config.runtime.model_copy(update={"channels_last": False, "compile": "false"})
    return config.model_copy(update={"runtime": runtime})


def in_parts(learner: nn.Module, network: nn.Module, runtime: Runtime) -> nn.Module:
    """Split the network inside a learner over the ranks; returns a whole copy of it on the CPU, for the end."""
    from anmok.engine.shard import shard

    plain = copy.deepcopy(learner).cpu()
    shard(network, runtime.device)
    return plain


def with_whole(job: Job) -> Job:
    """The job with its weights whole again, on the CPU; all ranks have to call it."""
    from anmok.engine.shard import whole_state

    assert job.plain is not None
    job.plain.load_state_dict(whole_state(job.learner))
    return replace(job, learner=job.plain)


def own_randomness(job: Job, step: int = 0) -> None:
    """Give each rank but the first draws of its own (dropout, stochastic depth), from this step on."""
    import torch

    if job.runtime.rank:
        seed = np.random.SeedSequence([job.config.seed % 2**64, job.runtime.rank, step]).generate_state(1, np.uint64)
        torch.manual_seed(int(seed[0]) % 2**63)


def stop_on_all(job: Job, stop: Callable[[], bool]) -> Callable[[], bool]:
    """Whether a signal asked any rank to end, after the same step on all; a rank that comes to no step says where."""
    from anmok.engine.meeting import watch
    from anmok.engine.ranks import any_of

    world, seconds = job.runtime.world, job.config.runtime.rank_timeout
    if world == 1:
        return stop
    asked = any_of(stop, world)

    def agreed_stop() -> bool:
        watch(seconds)
        return asked()

    return agreed_stop


def due_on_all(job: Job, due: Callable[[State], bool]) -> Callable[[State], bool]:
    """Whether a checkpoint is due, by rank 0's clock."""
    from anmok.engine.ranks import any_of

    rank, world = job.runtime.rank, job.runtime.world
    return due if world == 1 else lambda state: any_of(lambda: rank == 0 and due(state), world)()
