"""The few validation figures of every epoch, cheap enough to compute each time."""

from __future__ import annotations

import numpy as np

from anmok.core.types import Predictions

TINY = 1e-7


def quick_score(p: Predictions, select: str = "auto") -> dict[str, float]:
    """{'loss', 'accuracy', 'macro_f1', 'select'}: log loss, share of images right, mean F1 of the classes present.

    p has a target for every row; what is unknown of a multi-label one (NaN) does not count. select: the figure that
    chooses the best weights, higher is better; of accuracy, a tie goes to the lower loss.
    """
    targets = p.targets
    assert targets is not None
    probs = np.clip(p.probs.astype(np.float64), TINY, 1 - TINY)
    if p.task == "multilabel":
        known = ~np.isnan(targets)
        truth, guess = (targets > 0.5) & known, (p.probs >= 0.5) & known
        loss = float(-(truth * np.log(probs) + (1 - truth) * np.log(1 - probs))[known].mean())
        accuracy = float((truth == guess).all(axis=1).mean())
    else:
        loss = float(-np.log(probs[np.arange(len(p)), targets]).mean())
        accuracy = float((p.probs.argmax(axis=1) == targets).mean())
        truth, guess = (np.eye(len(p.classes), dtype=bool)[t] for t in (targets, p.probs.argmax(axis=1)))
    hits, total = (truth & guess).sum(axis=0), truth.sum(axis=0) + guess.sum(axis=0)
    macro_f1 = float((2 * hits[total > 0] / total[total > 0]).mean()) if (total > 0).any() else 0.0
    if select == "auto":
        select = "macro_f1" if p.task == "multilabel" else "accuracy"
    chosen = -loss if select == "loss" else {"accuracy": accuracy, "macro_f1": macro_f1}[select] - 1e-6 * loss
    return {"loss": loss, "accuracy": accuracy, "macro_f1": macro_f1, "select": chosen}
