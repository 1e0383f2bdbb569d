"""Losses as functions of logits and targets, each the mean over the images of a batch.

Class weights multiply an image's loss and are not divided out again, so that a batch taken in parts gives the same
gradient as the whole. Targets may be class indices int64[B] or soft rows float32[B, K].
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch.nn import functional as F

from anmok.core.balance import loss_weights
from anmok.core.errors import UsageError
from anmok.core.types import Task
from anmok.objectives.config import LossConfig

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _smooth(targets: torch.Tensor, k: int, smoothing: float) -> torch.Tensor:
    """Soft rows float32[B, K] of indices or soft rows, (1 − ε) y + ε / K (Szegedy et al. 2016)."""
    soft = F.one_hot(targets, k).float() if targets.ndim == 1 else targets.float()
    return soft * (1 - smoothing) + smoothing / k


def cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, *, weight: torch.Tensor | None = None, label_smoothing: float = 0.0,
    ignore_index: int = -100,
) -> torch.Tensor:  # fmt: skip
    """−Σ_k w_k y_k log softmax(z)_k, mean over the images whose target is not ignore_index.  logits float[B, K]."""
    return _weighted_nll(logits.float().log_softmax(1), targets, weight, label_smoothing, ignore_index)


def nll(
    log_probs: torch.Tensor, targets: torch.Tensor, *, weight: torch.Tensor | None = None, label_smoothing: float = 0.0,
    ignore_index: int = -100,
) -> torch.Tensor:  # fmt: skip
    """−Σ_k w_k y_k q_k of log-probabilities q float[B, K]: for a network that ends in log-softmax."""
    return _weighted_nll(log_probs.float(), targets, weight, label_smoothing, ignore_index)


def _weighted_nll(
    log_probs: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor | None, smoothing: float, ignore_index: int
) -> torch.Tensor:
    if targets.ndim == 1:
        keep = targets != ignore_index
        log_probs, targets = log_probs[keep], targets[keep]
    if not len(targets):
        return log_probs.sum() * 0
    soft = _smooth(targets, log_probs.shape[1], smoothing)
    weighted = soft if weight is None else soft * weight.to(soft.device)
    return -(weighted * log_probs).sum(1).mean()


def _binary_targets(logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    """float32 like logits [B, O]: indices become one-hot rows, or the column itself where there is one output."""
    outputs = logits.shape[1]
    if targets.ndim == 1:
        soft = targets[:, None].float() if outputs == 1 else F.one_hot(targets, outputs).float()
    else:
        soft = targets[:, 1:2].float() if outputs == 1 and targets.shape[1] == 2 else targets.float()
    return soft * (1 - smoothing) + smoothing / 2


def bce_with_logits(
    logits: torch.Tensor, targets: torch.Tensor, *, pos_weight: torch.Tensor | None = None,
    label_smoothing: float = 0.0, weight: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """−[p y log σ(z) + (1 − y) log(1 − σ(z))], mean over outputs and images; a NaN target (unknown) does not count."""
    soft = _binary_targets(logits, targets, label_smoothing)
    known = ~soft.isnan()
    each = F.binary_cross_entropy_with_logits(
        logits.float(),
        soft.nan_to_num(),
        pos_weight=None if pos_weight is None else pos_weight.to(logits.device),
        reduction="none",
    )
    return _mean_known(each if weight is None else each * _per_output(weight, soft), known)


def bce(
    logits: torch.Tensor, targets: torch.Tensor, *, label_smoothing: float = 0.0, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """−[y log p + (1 − y) log(1 − p)] with p = σ(z), logarithms clamped at −100 as torch's do."""
    soft = _binary_targets(logits, targets, label_smoothing)
    each = F.binary_cross_entropy(logits.float().sigmoid(), soft.nan_to_num(), reduction="none")
    return _mean_known(each if weight is None else each * _per_output(weight, soft), ~soft.isnan())


def focal(
    logits: torch.Tensor, targets: torch.Tensor, *, gamma: float = 2.0, weight: torch.Tensor | None = None,
    label_smoothing: float = 0.0, independent: bool = False,
) -> torch.Tensor:  # fmt: skip
    """−(1 − p_t)^γ log p_t (Lin et al. 2017, arXiv:1708.02002, eq. 5), mean over images.

    independent: outputs are sigmoids of their own (binary, multi-label), averaged over outputs; else a softmax.
    """
    if independent:
        soft = _binary_targets(logits, targets, label_smoothing)
        known = ~soft.isnan()
        log_p, log_q = F.logsigmoid(logits.float()), F.logsigmoid(-logits.float())
        y = soft.nan_to_num()
        each = -(y * log_q.exp() ** gamma * log_p + (1 - y) * log_p.exp() ** gamma * log_q)
        return _mean_known(each if weight is None else each * _per_output(weight, soft), known)
    log_probs = logits.float().log_softmax(1)
    soft = _smooth(targets, logits.shape[1], label_smoothing)
    weighted = soft if weight is None else soft * weight.to(soft.device)
    return -(weighted * (1 - log_probs.exp()) ** gamma * log_probs).sum(1).mean()


def soft_f1(logits: torch.Tensor, targets: torch.Tensor, *, independent: bool = False) -> torch.Tensor:
    """1 − mean over classes of 2 TP / (2 TP + FP + FN), with probabilities in the place of counts.

    It is a function of the batch as a whole: taken in parts it means something else. A class that neither occurs nor is
    predicted counts as 0 loss.
    """
    if independent:
        probs, soft = logits.float().sigmoid(), _binary_targets(logits, targets, 0.0)
        probs, soft = torch.where(soft.isnan(), 0.0, probs), soft.nan_to_num()
    else:
        probs, soft = logits.float().softmax(1), _smooth(targets, logits.shape[1], 0.0)
    both = 2 * (probs * soft).sum(0)
    total = probs.sum(0) + soft.sum(0)
    return 1 - torch.where(total > 1e-8, both / total.clamp_min(1e-8), 1.0).mean()


def _per_output(weight: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
    """Class weights as weights of each output: of one output, w_1 for positives and w_0 for negatives."""
    weight = weight.to(soft.device)
    if soft.shape[1] == 1 and len(weight) == 2:
        y = soft.nan_to_num()
        return y * weight[1] + (1 - y) * weight[0]
    return weight.expand_as(soft)


def _mean_known(each: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    return torch.where(known, each, 0.0).sum() / known.sum().clamp_min(1)


def build_loss(config: LossConfig, task: Task, counts: list[int], outputs: int) -> Loss:
    """The loss as a function of (logits, targets); counts: training images of each class, for balanced weights.

    UsageError where the loss does not fit the task or the weights do not fit the classes.
    """
    independent = task == "multilabel" or outputs == 1
    name = config.name
    if name == "auto":
        name = "bce-with-logits" if independent else "cross-entropy"
    if name in ("cross-entropy", "nll") and independent:
        raise UsageError(
            f"{name} needs one output a class, of which one is right; the task is {task} with {outputs} output(s).",
            where="loss.name", remedy="Use bce-with-logits, focal or soft-f1.", code="setting",
        )  # fmt: skip
    if config.label_smoothing and name == "soft-f1":
        raise UsageError("soft-f1 has no label smoothing.", where="loss.label_smoothing", code="setting")
    weight = class_weights(config.class_weights, counts)
    pos_weight = None if config.pos_weight is None else torch.tensor(config.pos_weight)
    if pos_weight is not None and (name != "bce-with-logits" or len(pos_weight) not in (1, outputs)):
        raise UsageError(
            f"expected bce-with-logits and {outputs} weight(s), found {name} and {len(pos_weight)}.",
            where="loss.pos_weight", code="setting",
        )  # fmt: skip
    smoothing = config.label_smoothing
    if name in ("cross-entropy", "nll"):
        function = cross_entropy if name == "cross-entropy" else nll
        return partial(function, weight=weight, label_smoothing=smoothing, ignore_index=config.ignore_index)
    if name == "bce-with-logits":
        return partial(bce_with_logits, pos_weight=pos_weight, label_smoothing=smoothing, weight=weight)
    if name == "bce":
        return partial(bce, label_smoothing=smoothing, weight=weight)
    if name == "focal":
        return partial(focal, gamma=config.gamma, weight=weight, label_smoothing=smoothing, independent=independent)
    return partial(soft_f1, independent=independent)


def class_weights(setting: str | list[float], counts: list[int]) -> torch.Tensor | None:
    """float32[K] or None; balanced: n / (K n_k), as scikit-learn's; sqrt, effective: see `loss_weights`.

    A class without images gets 0.
    """
    if setting == "none":
        return None
    if setting == "balanced":
        total = sum(counts)
        return torch.tensor([total / (len(counts) * c) if c else 0.0 for c in counts])
    if isinstance(setting, str):
        return torch.tensor(loss_weights(counts, setting), dtype=torch.float32)
    if len(setting) != len(counts):
        raise UsageError(
            f"{len(setting)} weights for {len(counts)} classes.", where="loss.class_weights", code="setting"
        )
    return torch.tensor([float(w) for w in setting])
