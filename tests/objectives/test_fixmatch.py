"""FixMatch's loss against the paper's equations image by image; taken in parts, it is the whole; it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from anmok.core.errors import DataError, UsageError
from anmok.core.types import Batch
from anmok.engine.runtime import micro_batches
from anmok.models.classifier import Classifier
from anmok.objectives.config import LossConfig
from anmok.objectives.fixmatch import FixMatch
from anmok.objectives.losses import build_loss

CLASSES = ["a", "b", "c"]


class Mean(nn.Module):
    """Logits from the mean of each channel."""

    def __init__(self, outputs: int):
        super().__init__()
        self.head = nn.Linear(3, outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(images.mean((2, 3)))


def learner(task: str = "multiclass", threshold: float = 0.6, ratio: float = 2.0, weight: float = 1.5) -> FixMatch:
    classes = CLASSES[:2] if task == "binary" else CLASSES
    torch.manual_seed(3)
    model = Classifier(Mean(1 if task == "binary" else len(classes)), classes, task, (0.5,) * 3, (0.2,) * 3)  # type: ignore[arg-type]
    with torch.no_grad():
        model.backbone.head.weight.mul_(3)  # some are sure
    loss = build_loss(LossConfig(), model.task, [1] * len(classes), model.outputs)
    return FixMatch(model, loss, threshold, ratio, weight)


def batch(targets: list[int], seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 256, (2, len(targets), 1, 1, 3))
    views = [torch.from_numpy((v + np.zeros((1, 4, 4, 1))).astype(np.uint8)) for v in base]
    for row, target in enumerate(targets):
        if target >= 0:
            views[1][row] = views[0][row]
    return Batch(tuple(views), torch.tensor(targets), [str(i) for i in range(len(targets))])


def naive(module: FixMatch, given: Batch) -> float:
    """Equations 3 to 5 of Sohn et al., image by image, for B labelled and µB unlabelled images."""
    weak, strong = ([p.tolist() for p in module.model.probabilities(v)] for v in given.images)
    known = [i for i, t in enumerate(given.targets.tolist()) if t >= 0]
    rest = [i for i, t in enumerate(given.targets.tolist()) if t < 0]
    supervised = sum(-math.log(weak[i][int(given.targets[i])]) for i in known) / len(known)
    unsupervised = 0.0
    for i in rest:
        best = max(range(len(weak[i])), key=lambda k: weak[i][k])
        if weak[i][best] >= module.threshold:
            unsupervised += -math.log(strong[i][best])
    return supervised + module.weight * unsupervised / len(rest)


@settings(max_examples=40)
@given(seed=st.integers(0, 999), labelled=st.integers(1, 4), task=st.sampled_from(["multiclass", "binary"]),
       threshold=st.floats(0.3, 0.99), order=st.randoms(use_true_random=False))  # fmt: skip
def test_it_is_the_equation_of_the_paper(seed: int, labelled: int, task: str, threshold: float, order: object) -> None:
    module = learner(task, threshold)
    targets = [i % len(module.model.classes) for i in range(labelled)] + [-1] * (2 * labelled)
    order.shuffle(targets)  # type: ignore[attr-defined]
    given_batch = batch(targets, seed)
    assert module(given_batch).loss.item() == pytest.approx(naive(module, given_batch), rel=1e-4, abs=1e-5)


def test_taken_in_parts_the_gradient_is_the_whole() -> None:
    module, whole = learner(), batch([0, -1, -1, 1, -1, -1, 2, -1, -1, 0, -1, -1], 5)
    module(whole).loss.backward()
    expected = module.model.backbone.head.weight.grad.clone()
    for parts in (2, 3, 5):
        module.zero_grad()
        for part, _ in micro_batches(whole, parts):
            (module(part).loss * (len(part) / len(whole))).backward()
        torch.testing.assert_close(module.model.backbone.head.weight.grad, expected)


def test_no_gradient_flows_through_the_weak_view() -> None:
    module = learner(threshold=0.0001)
    given_batch = batch([-1, -1, -1], 1)
    module(given_batch).loss.backward()
    logits = module.model(given_batch.images[1])
    labels = module.model(given_batch.images[0]).argmax(1)
    direct = 1.5 * 3 / 2 * torch.nn.functional.cross_entropy(logits, labels)
    found = module.model.backbone.head.weight.grad.clone()
    module.zero_grad()
    direct.backward()
    torch.testing.assert_close(found, module.model.backbone.head.weight.grad)


def test_what_it_counts() -> None:
    module, given_batch = learner(), batch([0, -1, -1, -1, -1], 2)
    weak, strong = (module.model.probabilities(v)[1:] for v in given_batch.images)
    sure = weak.max(1).values >= 0.6
    same = (weak.argmax(1) == strong.argmax(1)) & sure
    module.train()
    outcome = module(given_batch)
    module(given_batch)
    assert outcome.logs["correct"].item() in (0, 5)  # the one labelled image stands for all
    taken = module.reset()
    assert taken.seen == 8
    assert taken.taken == pytest.approx(sure.float().mean().item())
    assert taken.agreement == (pytest.approx(same.sum().item() / sure.sum().item()) if sure.any() else None)
    assert module.reset() == (0, 0.0, None)
    module.eval()
    module(given_batch)
    assert module.reset().seen == 0


def test_a_sure_threshold_leaves_the_labelled_loss() -> None:
    module, given_batch = learner(threshold=1.0), batch([0, 1, -1, -1, -1, -1], 4)
    logits = module.model(given_batch.images[1][:2])
    assert module(given_batch).loss.item() == pytest.approx(
        nn.functional.cross_entropy(logits, torch.tensor([0, 1])).item(), rel=1e-5
    )


def test_batch_statistics_are_those_of_what_is_learned() -> None:
    module = learner()
    module.model.backbone = nn.Sequential(nn.BatchNorm2d(3), module.model.backbone)
    module.train()
    given_batch = batch([0, -1, -1], 7)
    module(given_batch)
    norm = module.model.backbone[0]
    pixels = module.model.normalize(given_batch.images[1])
    torch.testing.assert_close(norm.running_mean, 0.1 * pixels.mean((0, 2, 3)))
    assert norm.num_batches_tracked == 1
    assert norm.training


def test_what_it_refuses() -> None:
    model = Classifier(Mean(3), CLASSES, "multilabel", (0.5,) * 3, (0.2,) * 3)
    with pytest.raises(UsageError, match="one label an image"):
        FixMatch(model, build_loss(LossConfig(), "multilabel", [1, 1, 1], 3))
    one = batch([0, -1, -1], 1)
    with pytest.raises(DataError, match="weak and a strong view"):
        learner()(Batch(one.images[0], one.targets, one.ids))
