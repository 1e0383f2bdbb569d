"""A policy alone, 256 to 224 px, one core, beside Albumentations and torchvision.  About 2 minutes.

    .venv/bin/python benchmarks/policy.py

Random-resized-crop, flip and RandAugment(2, 9) of uint8 pictures that are decoded already: no file is read, nothing is
normalised. Each subject works through the same pictures in one process held to one core; they take turns. Our
parameters are drawn before, as the loader draws a batch's before its threads start; the drawing alone stands beside.
The peers draw while they work: that is how they are made. The last rows are ours on one and two threads.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from common import Figure, arguments, context, data_root, figure, fingerprint, finish, write
from peer_policies import SCALE, albumentations_policy, torchvision_policy

from anmok.augment.config import AugmentConfig
from anmok.augment.host import augment_into
from anmok.augment.named import build_policy
from anmok.augment.preprocess import resize
from anmok.core.machine import cores
from anmok.data.decode import to_rgb

SOURCE, SIZE, COUNT, CHUNK = 256, 224, 512, 16
POLICIES = {"randaugment": "crop, flip, RandAugment(2, 9)", "flip-crop": "crop, flip"}
BOUNDS = {"albumentations": ">= 2", "torchvision-tensor": ">= 6", "torchvision-pil": ">= 4"}
SCALING = ">= 1.8"


def pictures(folder: Path, count: int) -> np.ndarray:
    """uint8[count, 256, 256, 3]: TrashNet's photos, evenly from all classes, squashed."""
    files = sorted(folder.glob("*/*.jpg"))
    picked = [files[i] for i in np.linspace(0, len(files) - 1, count).astype(int)]
    return np.stack([resize(to_rgb(path), SOURCE, SOURCE) for path in picked])


def ours(policy_name: str, images: np.ndarray, threads: int) -> Callable[[int], Callable[[], None]]:
    """A work for each epoch: the parameters are drawn when it is made, in it the pool only warps and colours."""
    policy = build_policy(AugmentConfig(policy=policy_name, scale=SCALE))
    out, pool = np.empty((len(images), SIZE, SIZE, 3), np.uint8), ThreadPoolExecutor(threads)
    ids = [str(i) for i in range(len(images))]

    def prepare(epoch: int) -> Callable[[], None]:
        params = policy.draw(ids, epoch, 0)
        _ = getattr(params, "programs", None)

        def some(low: int) -> None:
            for i in range(low, min(low + CHUNK, len(images))):
                augment_into(out[i], images[i], params, i)

        return lambda: list(pool.map(some, range(0, len(images), CHUNK))).clear()

    return prepare


def drawing(policy_name: str, images: np.ndarray) -> Callable[[int], Callable[[], None]]:
    """The drawing alone, a batch of 64 at a time."""
    policy = build_policy(AugmentConfig(policy=policy_name, scale=SCALE))
    ids = [str(i) for i in range(len(images))]

    def draw(epoch: int) -> None:
        for low in range(0, len(ids), 64):
            _ = getattr(policy.draw(ids[low : low + 64], epoch, 0), "programs", None)

    return lambda epoch: lambda: draw(epoch)


def theirs(peer: str, randaugment: bool, images: np.ndarray) -> Callable[[int], Callable[[], None]]:
    """One picture after the other through a peer's pipeline."""
    if peer == "albumentations":
        import albumentations as a

        whole, given = a.Compose(albumentations_policy(randaugment, SIZE)), list(images)
        return lambda epoch: lambda: [whole(image=image) for image in given].clear()
    import torch
    from PIL import Image
    from torchvision.transforms import v2

    steps: Any = v2.Compose(torchvision_policy(randaugment, SIZE))
    if peer == "torchvision-pil":
        given = [Image.fromarray(image) for image in images]
    else:
        given = [torch.from_numpy(image).permute(2, 0, 1).contiguous() for image in images]
    return lambda epoch: lambda: [steps(image) for image in given].clear()


def take_turns(subjects: dict[str, Callable[[int], Callable[[], None]]], count: int, rounds: int) -> dict[str, list]:
    """Pictures a second of each subject in each round, after one that is not counted."""
    found: dict[str, list[float]] = {name: [] for name in subjects}
    for turn in range(rounds + 1):
        for name in reversed(subjects) if turn % 2 else subjects:
            work = subjects[name](turn)
            began = time.perf_counter()
            work()
            if turn:
                found[name].append(count / (time.perf_counter() - began))
    return found


def compare(policy: str, images: np.ndarray, rounds: int) -> list[Figure]:
    """The rows of one policy."""
    what, randaugment = f"{POLICIES[policy]}, {SOURCE} to {SIZE} px", policy == "randaugment"
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(everywhere)})
    subjects = {"anmok": ours(policy, images, 1), **{name: theirs(name, randaugment, images) for name in BOUNDS}}
    one = take_turns({**subjects, "anmok, drawing alone": drawing(policy, images)}, len(images), rounds)
    os.sched_setaffinity(0, everywhere)
    rows = [figure(name, what, "images/s", one[name], note="one core") for name in one if name != "anmok"]
    for name, bound in BOUNDS.items():
        against = (name, statistics.median(one[name]))
        rows.append(figure("anmok", what, "images/s", one["anmok"], against=against, note="one core, pre-drawn",
                           bound=bound if randaugment else ""))  # fmt: skip
    if cores() < 2:
        return rows
    both = take_turns({str(n): ours(policy, images, n) for n in (1, 2)}, len(images), rounds)
    rows.append(figure("anmok, 1 thread", what, "images/s", both["1"]))
    against = ("anmok, 1 thread", statistics.median(both["1"]))
    rows.append(figure("anmok, 2 threads", what, "images/s", both["2"], against=against,
                       bound=SCALING if randaugment else ""))  # fmt: skip
    return rows


def main() -> None:
    """Measure both policies and write them down."""
    import cv2
    import torch

    options = arguments(__doc__, rounds={"type": int, "default": 7}, count={"type": int, "default": COUNT})
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    folder = data_root() / "trashnet"
    rounds, count = (2, 64) if options.quick else (options.rounds, options.count)
    images = pictures(folder, count)
    rows = [row for policy in POLICIES for row in compare(policy, images, rounds)]
    where = context(f"trashnet {fingerprint(folder)}", versions_of_peers())
    finish(write("policy", rows, where, options.quick), options.quick)


def versions_of_peers() -> dict[str, str]:
    """They run in the project's own environment here, as guests do."""
    from anmok.core.machine import versions

    return versions(("albumentations", "torchvision", "torch", "opencv-python-headless", "pillow"))


if __name__ == "__main__":
    main()
