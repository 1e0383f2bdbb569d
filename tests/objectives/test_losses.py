"""Every loss against its closed form, torch's own, and a hand calculation."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from anmok.core.errors import UsageError
from anmok.objectives import losses
from anmok.objectives.config import LossConfig

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.5], [-3.0, 1.0, 4.0], [0.0, 1.0, 2.0]])
TARGETS = torch.tensor([0, 1, 2, 0])
WEIGHT = torch.tensor([1.0, 2.0, 0.5])


def test_cross_entropy_of_equal_logits_is_log_k() -> None:
    assert losses.cross_entropy(torch.zeros(5, 7), torch.arange(5)).item() == pytest.approx(math.log(7), abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_equals_torchs(smoothing: float) -> None:
    mine = losses.cross_entropy(LOGITS, TARGETS, label_smoothing=smoothing)
    assert mine.item() == pytest.approx(F.cross_entropy(LOGITS, TARGETS, label_smoothing=smoothing).item(), abs=1e-6)


def test_class_weights_multiply_and_are_not_divided_out() -> None:
    mine = losses.cross_entropy(LOGITS, TARGETS, weight=WEIGHT).item()
    each = F.cross_entropy(LOGITS, TARGETS, reduction="none")
    assert mine == pytest.approx((WEIGHT[TARGETS] * each).mean().item(), abs=1e-6)


def test_a_batch_in_parts_weighs_as_the_whole() -> None:
    whole = losses.cross_entropy(LOGITS, TARGETS, weight=WEIGHT, label_smoothing=0.1)
    parts = [
        losses.cross_entropy(LOGITS[a:b], TARGETS[a:b], weight=WEIGHT, label_smoothing=0.1) * (b - a) / 4
        for a, b in ((0, 3), (3, 4))
    ]
    assert whole.item() == pytest.approx(sum(p.item() for p in parts), abs=1e-6)


def test_ignored_targets_do_not_count() -> None:
    targets = torch.tensor([0, -100, 2, -100])
    mine = losses.cross_entropy(LOGITS, targets)
    assert mine.item() == pytest.approx(F.cross_entropy(LOGITS[[0, 2]], torch.tensor([0, 2])).item(), abs=1e-6)
    assert losses.cross_entropy(LOGITS, torch.full((4,), -100)).item() == 0


def test_soft_targets_equal_torchs() -> None:
    soft = torch.tensor([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.1, 0.1, 0.8], [1.0, 0.0, 0.0]])
    assert losses.cross_entropy(LOGITS, soft).item() == pytest.approx(F.cross_entropy(LOGITS, soft).item(), abs=1e-6)


def test_nll_takes_log_probabilities() -> None:
    mine = losses.nll(LOGITS.log_softmax(1), TARGETS)
    assert mine.item() == pytest.approx(F.nll_loss(LOGITS.log_softmax(1), TARGETS).item(), abs=1e-6)


def test_bce_with_logits_by_hand() -> None:
    z, y = torch.tensor([[0.0], [2.0]]), torch.tensor([1, 0])
    expected = (math.log(2) + math.log(1 + math.exp(2))) / 2
    assert losses.bce_with_logits(z, y).item() == pytest.approx(expected, abs=1e-6)
    assert losses.bce(z, y).item() == pytest.approx(expected, abs=1e-6)


def test_pos_weight_equals_torchs() -> None:
    y = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    p = torch.tensor([3.0, 1.0, 0.2])
    mine = losses.bce_with_logits(LOGITS, y, pos_weight=p)
    assert mine.item() == pytest.approx(F.binary_cross_entropy_with_logits(LOGITS, y, pos_weight=p).item(), abs=1e-6)


def test_unknown_labels_do_not_count() -> None:
    y = torch.tensor([[1.0, float("nan"), 0.0]])
    z = torch.tensor([[1.0, 5.0, -1.0]], requires_grad=True)
    loss = losses.bce_with_logits(z, y)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)), abs=1e-6)
    assert z.grad is not None
    assert z.grad[0, 1] == 0


def test_focal_with_gamma_zero_is_cross_entropy() -> None:
    assert losses.focal(LOGITS, TARGETS, gamma=0).item() == pytest.approx(
        F.cross_entropy(LOGITS, TARGETS).item(), abs=1e-6
    )
    z = torch.tensor([[0.3], [-1.2]])
    y = torch.tensor([1, 0])
    mine = losses.focal(z, y, gamma=0, independent=True).item()
    assert mine == pytest.approx(losses.bce_with_logits(z, y).item(), abs=1e-6)


def test_focal_by_hand() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0]])  # p = 3/4, 1/4
    assert losses.focal(logits, torch.tensor([0]), gamma=2).item() == pytest.approx(
        -(0.25**2) * math.log(0.75), abs=1e-6
    )


def test_soft_f1_by_hand() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])  # p0: 3/4, 1/2
    first = 2 * 0.75 / (1.25 + 1)
    second = 2 * 0.5 / (0.75 + 1)
    assert losses.soft_f1(logits, torch.tensor([0, 1])).item() == pytest.approx(1 - (first + second) / 2, abs=1e-6)


def test_soft_f1_is_zero_for_certain_and_right() -> None:
    assert losses.soft_f1(torch.tensor([[50.0, -50.0], [-50.0, 50.0]]), torch.tensor([0, 1])).item() == pytest.approx(
        0, abs=1e-6
    )


def test_balanced_weights_equal_scikit_learns() -> None:
    import numpy as np
    from sklearn.utils.class_weight import compute_class_weight

    counts = [10, 30, 60]
    y = np.repeat([0, 1, 2], counts)
    mine = losses.class_weights("balanced", counts)
    assert mine is not None
    np.testing.assert_allclose(mine.numpy(), compute_class_weight("balanced", classes=np.arange(3), y=y), rtol=1e-6)


@pytest.mark.parametrize(
    ("config", "task", "outputs"),
    [
        (LossConfig(name="cross-entropy"), "binary", 1),
        (LossConfig(name="soft-f1", label_smoothing=0.1), "multiclass", 3),
        (LossConfig(pos_weight=[1.0]), "multiclass", 3),
        (LossConfig(class_weights=[1.0, 2.0]), "multiclass", 3),
    ],
)
def test_what_does_not_fit_is_refused(config: LossConfig, task: str, outputs: int) -> None:
    with pytest.raises(UsageError, match=r"loss\."):
        losses.build_loss(config, task, [1, 1, 1], outputs)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["auto", "cross-entropy", "nll", "bce", "bce-with-logits", "focal", "soft-f1"])
def test_every_name_builds_and_has_a_gradient(name: str) -> None:
    loss = losses.build_loss(LossConfig(name=name), "multiclass", [1, 2, 3], 3)  # type: ignore[arg-type]
    logits = LOGITS.clone().requires_grad_()
    loss(logits, TARGETS).backward()
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("unknown", [False, True])
def test_asymmetric_by_the_paper(unknown: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, generator=rng, dtype=torch.float64) * 3
    targets = (torch.rand(6, 4, generator=rng) < 0.4).float()
    if unknown:
        targets[0, 1] = targets[3, 3] = math.nan
    total, count = 0.0, 0
    for z, y in zip(logits.flatten().tolist(), targets.flatten().tolist(), strict=True):
        if math.isnan(y):
            continue
        p = 1 / (1 + math.exp(-z))
        q = max(p - 0.05, 0)
        total -= (1 - p) ** 1 * math.log(p) if y else q**4 * math.log(1 - q)
        count += 1
    got = losses.asymmetric(logits, targets, gamma_positive=1, gamma_negative=4, margin=0.05).item()
    assert got == pytest.approx(total / count, rel=1e-5)


def test_asymmetric_without_focus_is_bce() -> None:
    logits = torch.tensor([[0.3, -40.0], [-1.2, 40.0]], requires_grad=True)
    targets = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    mine = losses.asymmetric(logits, targets, gamma_positive=0, gamma_negative=0, margin=0)
    assert mine.item() == pytest.approx(losses.bce_with_logits(logits, targets).item(), rel=1e-6)
    mine.backward()
    assert torch.isfinite(logits.grad).all()  # type: ignore[arg-type]
    easy = losses.asymmetric(torch.tensor([[-4.0]]), torch.tensor([[0.0]]))  # p = 0.018, below the margin
    assert easy.item() == 0


def test_asymmetric_is_for_sigmoids() -> None:
    assert losses.build_loss(LossConfig(name="asymmetric"), "multilabel", [1, 2], 2)
    assert losses.build_loss(LossConfig(name="asymmetric"), "binary", [1, 2], 1)
    with pytest.raises(UsageError, match="asymmetric needs outputs that are sigmoids"):
        losses.build_loss(LossConfig(name="asymmetric"), "multiclass", [1, 2, 3], 3)
