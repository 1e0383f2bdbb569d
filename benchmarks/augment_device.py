"""The device's executor alone: the whole RandAugment policy, and the crop and flip alone, 256 → 224.  About 20 s.

    .venv/bin/python benchmarks/augment_device.py [--batch 1024]

uint8 256 × 256 images that lie on the device become normalised tensors of 224 × 224, channels last, in bfloat16 and
float32: drawn parameters, planning, transfer and launches are in the time, decoding is not. The device is the first of
cuda, mps and cpu that is found; on a machine without a GPU the row says that the GPU's figure is not measured. `host
side` is what the batch costs the processor before the device can start: where it is the larger part, more images a
batch or planning the next batch meanwhile is what helps.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from common import Figure, arguments, context, figure, finish, write

from anmok.augment.config import AugmentConfig
from anmok.augment.device_pack import Pack
from anmok.augment.device_parts import uniform
from anmok.augment.device_plan import Look, plan, programs_of
from anmok.augment.named import build_policy
from anmok.core.pixels import IMAGENET_MEAN, IMAGENET_STD

SOURCE, SIZE, SEED = 256, 224, 0
BOUND = ">= 300000"  # of the whole policy on a GPU


def pictures(count: int) -> np.ndarray:
    """uint8[count, 256, 256, 3]: windows of scikit-learn's two photos."""
    from sklearn.datasets import load_sample_image

    photos = [load_sample_image("china.jpg"), load_sample_image("flower.jpg")]
    rng = np.random.default_rng(SEED)
    y, x = rng.integers(0, 427 - SOURCE, count), rng.integers(0, 640 - SOURCE, count)
    return np.stack([photos[k % 2][y[k] : y[k] + SOURCE, x[k] : x[k] + SOURCE] for k in range(count)])


def rates(work: Callable[[int], object], images: int, wait: Callable[[], object], repeats: int) -> list[float]:
    """Images a second of each repeat, after a warm-up."""
    found = []
    for epoch in range(repeats + 1):
        began = time.perf_counter()
        work(epoch)
        wait()
        found.append(images / (time.perf_counter() - began))
    return found[1:]


def main() -> None:
    """The policy and the normalisation on the device that is there."""
    import torch

    from anmok.augment import device

    options = arguments(__doc__, batch={"type": int, "default": 0, "help": "Images a batch; by default the device's."})
    kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    name = torch.cuda.get_device_name() if kind == "cuda" else kind
    count = options.batch or (32 if options.quick else 64 if kind == "cpu" else 2048)
    repeats = 3 if options.quick else 5 if kind == "cpu" else 30
    wait = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}.get(kind, lambda: None)
    images, ids = torch.from_numpy(pictures(count)).to(kind), [str(i) for i in range(count)]
    threads = torch.get_num_threads()
    note = f"batch {count}" + (f"; {threads} threads; the GPU's figure is not measured" if kind == "cpu" else "")

    def measured(policy_name: str, dtype: torch.dtype, bound: str) -> Figure:
        policy = build_policy(AugmentConfig(policy=policy_name))

        def work(epoch: int) -> torch.Tensor:
            out = device.apply(images, policy.draw(ids, epoch, SEED), SIZE)
            return device.finish(out, IMAGENET_MEAN, IMAGENET_STD, dtype)

        quantity = f"{policy_name} {SOURCE} to {SIZE}, {str(dtype).removeprefix('torch.')}"
        found = rates(work, count, wait, repeats)
        return figure(f"device executor, {name}", quantity, "images/s", found, bound=bound, seeds=[SEED], note=note)

    figures = [
        measured(policy, dtype, BOUND if kind == "cuda" and policy == "randaugment" else "")
        for policy in ("randaugment", "flip-crop")
        for dtype in (torch.bfloat16, torch.float32)
    ]
    policy = build_policy(AugmentConfig(policy="randaugment"))

    look = Look(3, True, (0, 0, 0), (255, 255, 255))

    def planned(epoch: int) -> object:
        programs = programs_of(policy.draw(ids, epoch, SEED), 3)
        return plan(programs, uniform(count, SOURCE, SOURCE), (SIZE, SIZE), look, Pack())

    found = rates(planned, count, lambda: None, 20)
    quantity, own = "randaugment, drawn and planned", f"batch {count}, one thread"
    figures.append(figure("host side", quantity, "images/s", found, seeds=[SEED], note=own))
    where = context("scikit-learn's china.jpg and flower.jpg")
    finish(write("augment_device", figures, where, options.quick), options.quick)


if __name__ == "__main__":
    main()
