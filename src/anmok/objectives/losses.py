"""Losses as functions of logits and targets, each the mean over the images of a batch.

Class weights multiply an image's loss and are not divided out again. What the mean is over (images that are not
ignored, labels that are known) `MeanLoss.counted` says, so that a batch taken in parts gives the gradient of the whole.
With `apart` a loss is float[B], what each image adds to the sum that the mean is of: `MeanLoss.each`.
Targets may be class indices int64[B] or soft rows float32[B, K]. Losses are computed in float32, of float64 logits in
float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn import functional as F

from anmok.core.balance import loss_weights
from anmok.core.errors import UsageError
from anmok.core.types import Task
from anmok.objectives.config import LossConfig

Loss = Callable[..., torch.Tensor]  # of logits and targets


@dataclass(frozen=True)
class MeanLoss:
    """A loss of (logits, targets), with what its mean is over.

    ignored: the class index that does not count, None where every image does; whole: why it is a function of the batch
    as a whole, so that a batch taken in parts learns something else; empty where it is a mean.
    """

    function: Loss
    ignored: int | None = None
    whole: str = ""

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean, a scalar."""
        return self.function(logits, targets)

    def each(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """float[B]: each image's part of the sum, which divided by `counted` is the mean.  ValueError of a whole.

        targets: class indices, or rows of labels; soft rows of a softmax are counted otherwise.
        """
        if self.whole:
            raise ValueError(f"no image has a loss of its own: {self.whole}")
        return self.function(logits, targets, apart=True)

    def counted(self, targets: torch.Tensor) -> int | torch.Tensor:
        """How many the mean is over: images that are not ignored or, of rows, entries that are known (not NaN).

        The loss times this is a sum: sums of parts add up to that of the whole.
        """
        if targets.ndim == 1:
            return len(targets) if self.ignored is None else (targets != self.ignored).sum()
        return (~targets.isnan()).sum()


def _precise(logits: torch.Tensor) -> torch.Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _smooth(targets: torch.Tensor, k: int, smoothing: float) -> torch.Tensor:
    """Soft rows float32[B, K] of indices or soft rows, (1 − ε) y + ε / K (Szegedy et al. 2016)."""
    soft = F.one_hot(targets, k).float() if targets.ndim == 1 else targets.float()
    return soft * (1 - smoothing) + smoothing / k


def cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, *, weight: torch.Tensor | None = None, label_smoothing: float = 0.0,
    ignore_index: int = -100, apart: bool = False,
) -> torch.Tensor:  # fmt: skip
    """−Σ_k w_k y_k log softmax(z)_k, mean over the images whose target is not ignore_index.  logits float[B, K]."""
    return _weighted_nll(_precise(logits).log_softmax(1), targets, weight, label_smoothing, ignore_index, apart)


def nll(
    log_probs: torch.Tensor, targets: torch.Tensor, *, weight: torch.Tensor | None = None, label_smoothing: float = 0.0,
    ignore_index: int = -100, apart: bool = False,
) -> torch.Tensor:  # fmt: skip
    """−Σ_k w_k y_k q_k of log-probabilities q float[B, K]: for a network that ends in log-softmax."""
    return _weighted_nll(_precise(log_probs), targets, weight, label_smoothing, ignore_index, apart)


def _weighted_nll(
    log_probs: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor | None, smoothing: float, ignore_index: int,
    apart: bool,
) -> torch.Tensor:  # fmt: skip
    if hard := targets.ndim == 1:
        keep = targets != ignore_index
        if apart:
            targets = targets.where(keep, 0)
        else:
            log_probs, targets = log_probs[keep], targets[keep]
    if not len(targets) and not apart:
        return log_probs.sum() * 0
    soft = _smooth(targets, log_probs.shape[1], smoothing)
    weighted = soft if weight is None else soft * weight.to(soft.device)
    each = -(weighted * log_probs).sum(1)
    if not apart:
        return each.mean()
    return torch.where(keep, each, 0.0) if hard else each


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
    label_smoothing: float = 0.0, weight: torch.Tensor | None = None, apart: bool = False,
) -> torch.Tensor:  # fmt: skip
    """−[p y log σ(z) + (1 − y) log(1 − σ(z))], mean over outputs and images; a NaN target (unknown) does not count."""
    soft = _binary_targets(logits, targets, label_smoothing)
    known = ~soft.isnan()
    each = F.binary_cross_entropy_with_logits(
        _precise(logits),
        soft.nan_to_num().to(_precise(logits).dtype),
        pos_weight=None if pos_weight is None else pos_weight.to(logits.device),
        reduction="none",
    )
    return _mean_known(each if weight is None else each * _per_output(weight, soft), known, apart)


def bce(
    logits: torch.Tensor, targets: torch.Tensor, *, label_smoothing: float = 0.0, weight: torch.Tensor | None = None,
    apart: bool = False,
) -> torch.Tensor:  # fmt: skip
    """−[y log p + (1 − y) log(1 − p)] with p = σ(z), logarithms clamped at −100 as torch's do."""
    soft = _binary_targets(logits, targets, label_smoothing)
    probs = _precise(logits).sigmoid()
    each = F.binary_cross_entropy(probs, soft.nan_to_num().to(probs.dtype), reduction="none")
    return _mean_known(each if weight is None else each * _per_output(weight, soft), ~soft.isnan(), apart)


def focal(
    logits: torch.Tensor, targets: torch.Tensor, *, gamma: float = 2.0, weight: torch.Tensor | None = None,
    label_smoothing: float = 0.0, independent: bool = False, apart: bool = False,
) -> torch.Tensor:  # fmt: skip
    """−(1 − p_t)^γ log p_t (Lin et al. 2017, arXiv:1708.02002, eq. 5), mean over images.

    independent: outputs are sigmoids of their own (binary, multi-label), averaged over outputs; else a softmax.
    """
    if independent:
        soft = _binary_targets(logits, targets, label_smoothing)
        known = ~soft.isnan()
        log_p, log_q = F.logsigmoid(_precise(logits)), F.logsigmoid(-_precise(logits))
        y = soft.nan_to_num()
        each = -(y * log_q.exp() ** gamma * log_p + (1 - y) * log_p.exp() ** gamma * log_q)
        return _mean_known(each if weight is None else each * _per_output(weight, soft), known, apart)
    log_probs = _precise(logits).log_softmax(1)
    soft = _smooth(targets, logits.shape[1], label_smoothing)
    weighted = soft if weight is None else soft * weight.to(soft.device)
    each = -(weighted * (1 - log_probs.exp()) ** gamma * log_probs).sum(1)
    return each if apart else each.mean()


def asymmetric(
    logits: torch.Tensor, targets: torch.Tensor, *, gamma_positive: float = 0.0, gamma_negative: float = 4.0,
    margin: float = 0.05, weight: torch.Tensor | None = None, apart: bool = False,
) -> torch.Tensor:  # fmt: skip
    """−[y (1 − p)^γ₊ log p + (1 − y) q^γ₋ log(1 − q)], p = σ(z), q = max(p − m, 0), mean over outputs and images.

    Ridnik et al. 2021, arXiv:2009.14119, eq. 7: of many labels most are absent from an image, so those that are easily
    told to be absent weigh less, or with the margin nothing.  A NaN target (unknown) does not count.
    """
    soft = _binary_targets(logits, targets, 0.0)
    known, y = ~soft.isnan(), soft.nan_to_num()
    p = _precise(logits).sigmoid()
    shifted = (p - margin).clamp_min(0)
    there = (1 - p) ** gamma_positive * F.logsigmoid(_precise(logits))
    # without a margin log(1 - p) from the logit itself, which does not round to log 0
    absent = F.logsigmoid(-_precise(logits)) if margin == 0 else torch.log1p(-shifted)
    each = -(y * there + (1 - y) * shifted**gamma_negative * absent)
    return _mean_known(each if weight is None else each * _per_output(weight, soft), known, apart)


def soft_f1(logits: torch.Tensor, targets: torch.Tensor, *, independent: bool = False) -> torch.Tensor:
    """1 − mean over classes of 2 TP / (2 TP + FP + FN), with probabilities in the place of counts.

    It is a function of the batch as a whole: taken in parts it means something else. A class that neither occurs nor is
    predicted counts as 0 loss.
    """
    if independent:
        probs, soft = _precise(logits).sigmoid(), _binary_targets(logits, targets, 0.0)
        probs, soft = torch.where(soft.isnan(), 0.0, probs), soft.nan_to_num()
    else:
        probs, soft = _precise(logits).softmax(1), _smooth(targets, logits.shape[1], 0.0)
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


def _mean_known(each: torch.Tensor, known: torch.Tensor, apart: bool) -> torch.Tensor:
    each = torch.where(known, each, 0.0)
    return each.sum(1) if apart else each.sum() / known.sum().clamp_min(1)


def build_loss(config: LossConfig, task: Task, counts: list[int], outputs: int) -> MeanLoss:
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
            where="loss.name", remedy="Use bce-with-logits, focal, asymmetric or soft-f1.", code="setting",
        )  # fmt: skip
    if name == "asymmetric" and not independent:
        raise UsageError(
            f"asymmetric needs outputs that are sigmoids of their own; the task is {task}.", where="loss.name",
            remedy="Use cross-entropy or focal, or --task multilabel.", code="setting",
        )  # fmt: skip
    if config.label_smoothing and name in ("soft-f1", "asymmetric"):
        raise UsageError(f"{name} has no label smoothing.", where="loss.label_smoothing", code="setting")
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
        ignored = config.ignore_index
        return MeanLoss(
            partial(function, weight=weight, label_smoothing=smoothing, ignore_index=ignored), ignored=ignored
        )
    if name == "bce-with-logits":
        return MeanLoss(partial(bce_with_logits, pos_weight=pos_weight, label_smoothing=smoothing, weight=weight))
    if name == "bce":
        return MeanLoss(partial(bce, label_smoothing=smoothing, weight=weight))
    if name == "focal":
        return MeanLoss(
            partial(focal, gamma=config.gamma, weight=weight, label_smoothing=smoothing, independent=independent)
        )
    if name == "asymmetric":
        function = partial(
            asymmetric, gamma_positive=config.gamma_positive, gamma_negative=config.gamma_negative,
            margin=config.margin, weight=weight,
        )  # fmt: skip
        return MeanLoss(function)
    return MeanLoss(
        partial(soft_f1, independent=independent), whole="soft-f1 is a function of all images of a batch at once"
    )


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
