"""Do the intervals hold what they say, and the promises? A thousand simulated validation sets each.  About 10 minutes.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/interval_coverage.py

Five classes of prevalence 0.4, 0.25, 0.2, 0.1 and 0.05; an image's logits are normal, that of its class raised, and the
probabilities are their softmax after Bayes' rule, made 1.3 times too steep, so that there is a calibration error. The
truth is that of two million images. Class sizes of a set are drawn like the images ('drawn'), or fixed at the
prevalences as a stratified split has them ('stratified'). Bounds are those of the project: 93 to 97 % for the accuracy,
whose interval is Wilson's; those of the bootstrap are stated. A promise of precision at least 0.95 at delta 0.1 may be
broken in 10 % of the sets, of all thousand, those without a promise among the kept. That of a recall is exact, so about
10 % are broken and, in a thousand sets, by chance up to 1.9 % more.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from common import Figure, arguments, context, figure, finish, write

from anmok.core.machine import versions
from anmok.core.types import Predictions
from anmok.evaluate.guarantee import precision_at_least, recall_at_least
from anmok.evaluate.metrics import evaluate

PREVALENCE = np.array([0.4, 0.25, 0.2, 0.1, 0.05])
RAISED, STEEP, SETS, SIZES, DELTA = 2.2, 1.3, 1000, (200, 2000), 0.1
K = len(PREVALENCE)
WHOLE = 2_000_000
SCORES = (
    "accuracy", "top_3_accuracy", "balanced_accuracy", "macro_f1", "macro_precision", "weighted_f1", "mcc",
    "cohen_kappa", "log_loss", "brier", "ece", "roc_auc", "average_precision",
)  # fmt: skip
PROMISED = {"precision": 0.95, "recall": 0.95}


def sample(targets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Probabilities float32[N, K] of images of these classes."""
    logits = rng.standard_normal((len(targets), K)) + RAISED * np.eye(K)[targets]
    logits = STEEP * (RAISED * logits + np.log(PREVALENCE))  # of unit normals the likelihood ratio is exp(raised · x)
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (probs / probs.sum(axis=1, keepdims=True)).astype(np.float32)


def drawn(n: int, stratified: bool, rng: np.random.Generator) -> Predictions:
    """A validation set."""
    targets = np.repeat(np.arange(K), (n * PREVALENCE).astype(int)) if stratified else rng.choice(K, n, p=PREVALENCE)
    return Predictions([str(i) for i in range(n)], [f"c{k}" for k in range(K)], sample(targets, rng), targets)


def truth() -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """The scores of two million images, and the probabilities and classes themselves."""
    p = drawn(WHOLE, True, np.random.default_rng(10**6))
    found = evaluate(p, "", ranking=True, resamples=200)
    scores = {name: found.value(name) for name in SCORES}
    scores |= {f"{s} of c{k}": found["per_class"][f"c{k}"][s]["value"] for s in ("recall", "f1") for k in (0, K - 1)}
    return {name: float(value or 0) for name, value in scores.items()}, p.probs, p.targets  # type: ignore[return-value]


def covered(true: dict[str, float], n: int, stratified: bool, sets: int) -> dict[str, list[bool]]:
    """Of every score whether the interval of each set holds the truth; a score that is n/a is not counted."""
    out: dict[str, list[bool]] = {name: [] for name in true}
    for seed in range(sets):
        found = evaluate(
            drawn(n, stratified, np.random.default_rng([n, stratified, seed])), "", seed=seed, ranking=True
        )
        for name, value in true.items():
            score, _, label = name.partition(" of ")
            m: dict[str, Any] = found["per_class"][label][score] if label else found["metrics"][name]
            if m["value"] is not None:
                out[name].append("low" in m and m["low"] <= value <= m["high"])
    return out


def promises(scores: np.ndarray, positive: np.ndarray, n: int, sets: int) -> list[Figure]:
    """How often a promise about the first class is broken among all images, and how often one is given."""
    out = []
    for name, least in PROMISED.items():
        broken, given = 0, 0
        for seed in range(sets):
            p = drawn(n, False, np.random.default_rng([n, 7, seed]))
            fit = precision_at_least if name == "precision" else recall_at_least
            found = fit(p.probs[:, 0].astype(np.float64), p.targets == 0, least, DELTA)
            if found.threshold is None:
                continue
            given += 1
            alarm = scores >= found.threshold
            held = positive[alarm].mean() if name == "precision" else alarm[positive].mean()
            broken += bool(held < least)
        note = f"a promise in {given} of {sets} sets; of those broken in {100 * broken / max(1, given):.1f} %"
        quantity = f"{name} >= {least} at delta {DELTA}, n = {n}"
        bound = f"<= {100 * DELTA:g}"
        out.append(figure("promise broken", quantity, "%", [100 * broken / sets], bound=bound, note=note))
    return out


def main() -> None:
    """Intervals of both sizes and both ways of drawing, then the promises."""
    options = arguments(__doc__, sets={"type": int, "default": SETS})
    sets = 20 if options.quick else options.sets
    true, probs, targets = truth()
    scores = probs[:, 0].astype(np.float64)
    figures: list[Figure] = []
    for n in SIZES:
        for stratified in (False, True):
            began = time.perf_counter()
            found = covered(true, n, stratified, sets)
            how = f"n = {n}, {'stratified' if stratified else 'drawn'}"
            for name, held in found.items():
                note = f"true {true[name]:.4f}; {len(held)} sets"
                share = 100 * float(np.mean(held))
                first = name == "accuracy"
                figures.append(
                    figure("coverage", f"{name}, {how}", "%", [share], bound=">= 93" if first else "", note=note)
                )
                if first and not stratified:
                    figures.append(figure("coverage", f"{name}, {how}", "%", [share], bound="<= 97", note=note))
            print(f"{how}: {time.perf_counter() - began:.0f} s", flush=True)
        figures += promises(scores, targets == 0, n, sets)
    finish(
        write("interval_coverage", figures, context("simulated", versions(("scikit-learn", "scipy"))), options.quick),
        options.quick,
    )


if __name__ == "__main__":
    main()
