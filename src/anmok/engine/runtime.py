"""Device, precision, memory format and ranks, in one place."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from anmok.core.errors import MachineError, UsageError
from anmok.core.machine import cores
from anmok.core.types import Batch
from anmok.engine.config import RuntimeConfig
from anmok.engine.ranks import join, number_here, processes_here, summed, with_synchronised_norms
from anmok.engine.shard import exchanging, is_sharded

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Runtime:
    """Where a step runs and how: device, autocast precision, channels_last, gradient scaler, this rank of how many."""

    device: torch.device
    dtype: str = "fp32"
    channels_last: bool = False
    threads: int = 1
    rank: int = 0
    world: int = 1
    scaler: torch.amp.GradScaler | None = None
    compiled: bool = False

    def form(self, dtype: str, channels_last: bool, compiled: bool = False) -> Runtime:
        """The same place, in another precision and memory format, learners compiled or not."""
        scaler = torch.amp.GradScaler(self.device.type) if dtype == "fp16" else None
        return replace(self, dtype=dtype, channels_last=channels_last, scaler=scaler, compiled=compiled)

    def place(self, module: nn.Module) -> nn.Module:
        """The module on the device, in the memory format."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return module.to(self.device).to(memory_format=layout)

    def wrap(self, learner: nn.Module) -> nn.Module:
        """The learner, with gradients averaged over ranks where there are several; compiled if that is the form.

        Only calls of the learner run compiled code: its parts, their names and what is saved of it stay as they are.
        """
        if self.compiled:
            learner.compile()
        if self.world == 1 or is_sharded(learner):
            return learner
        learner = with_synchronised_norms(learner, self.device, self.world)
        ids = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(learner, device_ids=ids)

    def host_array(self, shape: tuple[int, ...]) -> np.ndarray:
        """uint8[shape], not filled; for a GPU in pinned memory, from which it copies while the host goes on."""
        if self.device.type != "cuda":
            return np.empty(shape, np.uint8)
        return torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy()

    def to_device(self, batch: Batch) -> Batch:
        """The batch as tensors on the device."""
        views = batch.images if isinstance(batch.images, tuple) else (batch.images,)
        *images, targets = (self._moved(a) for a in (*views, batch.targets))
        return Batch(tuple(images) if isinstance(batch.images, tuple) else images[0], targets, batch.ids)

    def _moved(self, array: Any) -> torch.Tensor:
        tensor = array if isinstance(array, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(array))
        return tensor.to(self.device, non_blocking=True)

    def fed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches; on a GPU each is copied there while the one before it is being computed."""
        if self.device.type != "cuda":
            yield from batches
            return
        stream = torch.cuda.Stream(self.device)
        held: tuple[Batch, Batch] | None = None
        for batch in batches:
            with torch.cuda.stream(stream):
                following = (batch, self.to_device(batch))  # the host's arrays live until their copy is done
            if held is not None:
                yield held[1]
            torch.cuda.current_stream(self.device).wait_stream(stream)
            images, targets, _ = following[1]
            for tensor in (*(images if isinstance(images, tuple) else (images,)), targets):
                tensor.record_stream(torch.cuda.current_stream(self.device))
            held = following
        if held is not None:
            yield held[1]

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Mixed precision for the forward pass."""
        if self.dtype == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=DTYPES[self.dtype])

    def sync(self, learner: nn.Module, when: bool) -> contextlib.AbstractContextManager[Any]:
        """Exchange gradients over ranks only in the last part of a batch."""
        if self.world > 1 and is_sharded(learner):
            return exchanging(learner, when)
        if self.world == 1 or when:
            return contextlib.nullcontext()
        return learner.no_sync()  # type: ignore[operator]

    def backward(self, loss: torch.Tensor) -> None:
        """Gradients of a loss that is this rank's share of the global batch's mean."""
        loss = loss * self.world  # the exchange averages over ranks, the shares must add up
        (self.scaler.scale(loss) if self.scaler else loss).backward()

    def update(self, optimizer: torch.optim.Optimizer, clip: float | None) -> bool:
        """One optimizer step, with clipping; False where it was left out because its fp16 gradient overflowed."""
        if clip is not None:
            if self.scaler:
                self.scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], clip)
        done = True
        if self.scaler:
            scale = self.scaler.get_scale()
            self.scaler.step(optimizer)
            self.scaler.update()
            done = self.scaler.get_scale() >= scale  # it is lowered after an overflow, and only then
        else:
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return done

    def sum(self, value: float) -> float:
        """A number summed over ranks."""
        return summed([value], self.world)[0]

    def sum_counts(self, count: int | torch.Tensor) -> float | torch.Tensor:
        """A count summed over ranks, in float64 (on mps float32); a tensor stays on the device, none waits for it."""
        if self.world == 1 and not isinstance(count, torch.Tensor):
            return count
        tensor = torch.as_tensor(count).to(self.device, torch.float32 if self.device.type == "mps" else torch.float64)
        if self.world > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def finish(self) -> None:
        """Wait for what the device was given to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


def build_runtime(config: RuntimeConfig) -> Runtime:
    """The device the configuration means, threads set, ranks joined when torchrun started this process.

    MachineError for a device that is not there: the CPU is never taken silently in its place.
    """
    device = pick_device(config.device)
    threads = config.threads or max(1, cores() // processes_here())
    torch.set_num_threads(threads)
    rank, world = join(config.rank_timeout)
    if world > 1 and device.type == "cuda":
        if number_here() >= torch.cuda.device_count():
            raise MachineError(
                f"{processes_here()} processes need a GPU each, and there are {torch.cuda.device_count()}.",
                where="--ranks", remedy="Start fewer, or add --device cpu.", code="device",
            )  # fmt: skip
        device = torch.device("cuda", number_here())
        torch.cuda.set_device(device)
    if config.dtype == "fp16" and device.type == "cpu":
        raise UsageError("fp16 needs a GPU; the CPU has bf16 and fp32.", where="runtime.dtype", code="setting")
    return Runtime(device, threads=threads, rank=rank, world=world)


def pick_device(name: str) -> torch.device:
    """'auto' is the first GPU that works, else Apple's, else the CPU."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(
            f"no such device: {name}.", where="--device", remedy="Use auto, cpu, cuda, cuda:N or mps.", code="device"
        ) from error
    there: dict[str, Callable[[], bool]] = {
        "cpu": lambda: True,
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
    }
    if device.type not in there or not there[device.type]():
        raise MachineError(
            f"{name} is not available here.", where="--device", code="device",
            remedy="`anmok doctor` says why; --device cpu runs without it.",
        )  # fmt: skip
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MachineError(f"{name} is not there: {torch.cuda.device_count()} GPU(s).", where="--device", code="device")
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def micro_batches(batch: Batch, parts: int, least: int = 1) -> Iterator[tuple[Batch, bool]]:
    """A batch in up to `parts` parts that differ by one image at most, each with whether it is the last.

    least: images that a part has at least, if the batch has them.
    """
    n = len(batch)
    parts = max(1, min(parts, n // least))
    for k in range(parts):
        yield batch.part(slice(k * n // parts, (k + 1) * n // parts)), k + 1 == parts
