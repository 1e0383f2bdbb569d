"""Losses of images apart: they add up to the mean, and weighed as skipping does the gradient is unbiased."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from anmok.core.types import Batch
from anmok.data.skip import Skipping
from anmok.objectives.config import LossConfig
from anmok.objectives.losses import build_loss
from anmok.objectives.supervised import Supervised

NAN = float("nan")
SINGLE = torch.tensor([0, 2, 1, 1, -100])
MULTI = torch.tensor([[1.0, 0, NAN], [0, 1, 1], [NAN, NAN, 0], [0, 0, 0], [1, 1, NAN]])
ARMS: list[tuple[dict[str, Any], str, torch.Tensor]] = [
    ({"name": "cross-entropy", "label_smoothing": 0.1, "class_weights": [1.0, 2.0, 0.5]}, "multiclass", SINGLE),
    ({"name": "nll"}, "multiclass", SINGLE),
    ({"name": "focal"}, "multiclass", SINGLE[:4]),
    ({"name": "bce-with-logits", "pos_weight": [2.0]}, "multilabel", MULTI),
    ({"name": "bce", "class_weights": [1.0, 2.0, 0.5]}, "multilabel", MULTI),
    ({"name": "focal"}, "multilabel", MULTI),
    ({"name": "asymmetric"}, "multilabel", MULTI),
]


@pytest.mark.parametrize(("settings", "task", "targets"), ARMS)
def test_each_images_part_adds_up_to_the_mean(settings: dict[str, Any], task: Any, targets: torch.Tensor) -> None:
    loss = build_loss(LossConfig(**settings), task, [3, 2, 1], 3)
    logits = torch.randn(len(targets), 3, generator=torch.Generator().manual_seed(0)).double()
    each = loss.each(logits, targets)
    assert each.shape == (len(targets),)
    torch.testing.assert_close(each.sum() / loss.counted(targets), loss(logits, targets))
    for i in range(len(targets)):  # and each is that of the image alone
        alone = loss(logits[i : i + 1], targets[i : i + 1]) * loss.counted(targets[i : i + 1])
        torch.testing.assert_close(each[i], alone)


def test_a_loss_of_a_whole_has_none_apart() -> None:
    loss = build_loss(LossConfig(name="soft-f1"), "multiclass", [1, 1, 1], 3)
    with pytest.raises(ValueError, match="no image has a loss of its own"):
        loss.each(torch.zeros(2, 3), torch.tensor([0, 1]))


class Network(nn.Module):
    """What `Supervised` asks of a classifier."""

    task = "multiclass"

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 3).double()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1).double() / 255)  # type: ignore[no-any-return]


class Fixed:
    """Weights as given."""

    def __init__(self, weights: dict[str, float]):
        self.weights, self.noted = weights, {}

    def of(self, ids: Sequence[str]) -> np.ndarray:
        return np.array([self.weights[i] for i in ids])

    def note(self, ids: Sequence[str], losses: Any) -> None:
        self.noted |= dict(zip(ids, losses.tolist(), strict=True))


def gradient(learner: Supervised, batch: Batch) -> torch.Tensor:
    learner.zero_grad()
    learner(batch).loss.backward()
    return torch.cat([p.grad.flatten() for p in learner.parameters() if p.grad is not None])


def test_the_expected_gradient_over_all_ways_to_skip_is_the_full_one() -> None:
    rng = np.random.default_rng(0)
    images, ids = torch.from_numpy(rng.integers(0, 256, (6, 2, 2, 1), np.uint8)), list("abcdef")
    batch = Batch(images, torch.tensor([0, 1, 2, 0, 1, 2]), ids)
    learner = Supervised(Network(), build_loss(LossConfig(), "multiclass", [2, 2, 2], 3))  # type: ignore[arg-type]
    full = gradient(learner, batch)
    learner.weighing = fixed = Fixed(dict.fromkeys(ids, 1.0))
    torch.testing.assert_close(gradient(learner, batch), full)  # all alike: the same
    easy = sorted(ids, key=lambda i: fixed.noted[i])[:4]
    total, ways = torch.zeros_like(full), list(itertools.combinations(easy, 2))
    for out in ways:
        kept = [k for k, i in enumerate(ids) if i not in out]
        learner.weighing = Fixed({i: 2.0 if i in easy else 1.0 for i in ids})
        part = Batch(images[kept], batch.targets[kept], [ids[k] for k in kept])
        total += gradient(learner, part) * (len(kept) / len(ids))  # its mean is over fewer images
    torch.testing.assert_close(total / len(ways), full)


def test_a_batch_in_parts_weighs_as_the_whole_and_losses_are_noted() -> None:
    rng = np.random.default_rng(1)
    images = torch.from_numpy(rng.integers(0, 256, (5, 2, 2, 1), np.uint8))
    batch = Batch(images, torch.tensor([0, 1, 2, 0, 1]), list("abcde"))
    learner = Supervised(Network(), build_loss(LossConfig(), "multiclass", [2, 2, 1], 3))  # type: ignore[arg-type]
    skipping = Skipping(batch.ids, 0.5, 0)
    skipping.weights = np.array([2, 1, 1, 0.5, 3], np.float32)
    learner.weighing = skipping
    whole = learner(batch).loss
    parts = [learner(batch.part(rows)).loss * n / 5 for rows, n in ((slice(0, 2), 2), (slice(2, 5), 3))]
    torch.testing.assert_close(sum(parts), whole)
    each = nn.functional.cross_entropy(learner.model(batch.images), batch.targets, reduction="none")
    np.testing.assert_allclose(skipping.state()["losses"], each.detach().numpy(), rtol=1e-6)
