"""Out-of-fold probabilities by small networks: one a fold, from scratch, in a minute or two for 10,000 images.

On a CPU each fold learns on one thread of its own, as many at a time as there are threads: small layers gain little
from more, and what is learned does not depend on how many there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from anmok.core.machine import cores, cpu_flags
from anmok.core.progress import Bar, bar
from anmok.core.types import Batch, Task
from anmok.engine.config import OptimConfig, RuntimeConfig, ScheduleConfig
from anmok.engine.optim import build_optimizer, set_lr
from anmok.engine.runtime import Runtime, build_runtime
from anmok.engine.schedule import factor
from anmok.models.airbench import AirBench, stem_for
from anmok.models.classifier import Classifier, evaluating, outputs_for
from anmok.objectives.config import LossConfig
from anmok.objectives.losses import build_loss
from anmok.objectives.supervised import Supervised

BATCH = (16, 128)  # smallest and largest: an eighth of the images, so that a few images are many steps too
STEPS = 500  # of each fold: 8 epochs of 8,000 images
EPOCHS = (2, 40)  # fewest and most passes, however many or few images
OPTIM = OptimConfig(name="muon", lr=0.02, aux_lr=0.004)
SCHEDULE = ScheduleConfig(name="one-cycle", start=0.2, peak=0.25)
SHIFT = 8  # an image is moved by up to one part in so many of its side, either way
SAMPLE = 2000  # images that the stem is whitened with
ASKED = 512  # images of a prediction step


@dataclass(frozen=True)
class Lesson:
    """What the folds learn from. pixels: uint8[N, S, S, 3]; targets: int64[N], or float32[N, K] for multi-label; fold:
    int64[N], -1 trains in all; mean, std: of all pixels in [0, 1], one a channel.
    """

    pixels: np.ndarray
    targets: np.ndarray
    fold: np.ndarray
    classes: list[str]
    task: Task
    mean: tuple[float, ...]
    std: tuple[float, ...]


def network_probabilities(
    pixels: np.ndarray, targets: np.ndarray, fold: np.ndarray, classes: list[str], task: Task, folds: int, *,
    seed: int = 0, threads: int | None = None, device: str = "auto",
) -> np.ndarray:  # fmt: skip
    """float32[N, K]; NaN rows where fold is -1.  MachineError for a device that is not there."""
    before = torch.get_num_threads()
    runtime = build_runtime(RuntimeConfig(device=device, threads=1))
    runtime = runtime.form(precision(runtime.device), channels_last=True)
    lesson = Lesson(pixels, targets, fold, classes, task, *moments(pixels))
    out = np.full((len(pixels), len(classes)), np.nan, np.float32)
    asked = [f for f in range(folds) if (fold == f).any()]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        learners = {f: build_learner(lesson, f, runtime) for f in asked}
    steps = sum(course_for(int((fold != f).sum())).steps for f in asked)
    workers = (threads or cores()) if runtime.device.type == "cpu" else 1
    try:
        with bar("folds", steps) as progress, ThreadPoolExecutor(workers) as pool:

            def one(f: int) -> None:
                learn_fold(learners[f], lesson, f, runtime, np.random.default_rng([seed, f]), progress)
                out[fold == f] = ask(learners[f].model, pixels[fold == f], runtime)

            list(pool.map(one, asked))
    finally:
        torch.set_num_threads(before)
    return out


def precision(device: torch.device) -> str:
    """bf16 where the device is fast in it; not measured, so that the same machine always takes the same."""
    if device.type == "cpu":
        return "bf16" if {"avx512_bf16", "amx_bf16"} & set(cpu_flags()) else "fp32"
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


def moments(pixels: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of each channel over a sample of the images, in [0, 1]."""
    sample = pixels[:: max(1, len(pixels) // SAMPLE)][:SAMPLE].reshape(-1, 3) / 255
    return tuple(sample.mean(axis=0).tolist()), tuple(np.maximum(sample.std(axis=0), 1e-3).tolist())


class Course(NamedTuple):
    """How long a fold learns: images a step, steps an epoch (what is left over waits for the next), epochs."""

    batch: int
    per_epoch: int
    epochs: int

    @property
    def steps(self) -> int:
        """All in all."""
        return self.per_epoch * self.epochs


def course_for(images: int) -> Course:
    """The epochs that come nearest to STEPS."""
    batch = min(max(images // 8, BATCH[0]), BATCH[1], images)
    per_epoch = images // batch
    return Course(batch, per_epoch, min(max(round(STEPS / per_epoch), EPOCHS[0]), EPOCHS[1]))


def build_learner(lesson: Lesson, f: int, runtime: Runtime) -> Supervised:
    """A fresh network whose stem is whitened by the images (not the labels) of the other folds."""
    net = AirBench(outputs_for(lesson.task, len(lesson.classes)), stem=stem_for(lesson.pixels.shape[1]))
    model = Classifier(net, lesson.classes, lesson.task, lesson.mean, lesson.std)
    train = np.flatnonzero(lesson.fold != f)
    sample = np.ascontiguousarray(lesson.pixels[train[:: max(1, len(train) // SAMPLE)][:SAMPLE]])
    net.whiten(model.normalize(torch.from_numpy(sample)))
    learner = Supervised(model, build_loss(LossConfig(), lesson.task, [], model.outputs))
    runtime.place(learner)
    return learner


def learn_fold(
    learner: Supervised, lesson: Lesson, f: int, runtime: Runtime, rng: np.random.Generator, progress: Bar
) -> None:
    """Train on the other folds."""
    train = np.flatnonzero(lesson.fold != f)
    optimizer = build_optimizer(learner, OPTIM, runtime.dtype)
    course = course_for(len(train))
    learner.train()
    for step, batch in enumerate(batches(lesson, train, course, rng)):
        set_lr(optimizer, factor(SCHEDULE, step, course.steps, course.per_epoch))
        with runtime.autocast():
            outcome = learner(runtime.to_device(batch))
        runtime.backward(outcome.loss)
        runtime.update(optimizer, None)
        progress.advance()


def batches(lesson: Lesson, train: np.ndarray, course: Course, rng: np.random.Generator) -> Iterator[Batch]:
    """Shuffled batches of moved and mirrored images."""
    for _ in range(course.epochs):
        order = rng.permutation(train)
        for low in range(0, course.per_epoch * course.batch, course.batch):
            rows = order[low : low + course.batch]
            yield Batch(shifted(lesson.pixels[rows], rng), lesson.targets[rows], [""] * len(rows))


def shifted(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint8[B, S, S, C]: each moved by up to S / SHIFT pixels (the edge is reflected), half of them mirrored."""
    side = images.shape[1]
    most = side // SHIFT
    padded = np.pad(images, ((0, 0), (most, most), (most, most), (0, 0)), mode="reflect")
    down, right = rng.integers(0, 2 * most + 1, (2, len(images)))
    out = np.empty_like(images)
    for i, mirror in enumerate(rng.random(len(images)) < 0.5):
        image = padded[i, down[i] : down[i] + side, right[i] : right[i] + side]
        out[i] = image[:, ::-1] if mirror else image
    return out


def ask(model: Classifier, pixels: np.ndarray, runtime: Runtime) -> np.ndarray:
    """float32[M, K]: mean probabilities of each image and its mirror image."""
    out = []
    with evaluating(model), runtime.autocast():
        for low in range(0, len(pixels), ASKED):
            images = torch.from_numpy(np.ascontiguousarray(pixels[low : low + ASKED])).to(runtime.device)
            probs = (model.probabilities(images).float() + model.probabilities(images.flip(2)).float()) / 2
            out.append(probs.cpu().numpy())
    return np.concatenate(out)
