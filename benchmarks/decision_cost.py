"""What a decision costs on TrashNet, 'trash' against the rest: fp=1, fn=20, repeated 5-fold.  About 15 minutes.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/decision_cost.py

Features of random patches (anmok's, made from images alone), a logistic regression for all. In each fold's training
images the same inner five folds give out-of-fold probabilities; from these our decision is fitted (`fit_decision`, the
calibration chosen by its log loss as `anmok decide` does), beside scikit-learn's TunedThresholdClassifierCV on the same
inner folds with the cost as its score, and beside 0.5. All three thresholds stand on the same model, refitted on the
fold's training images. An image is tested once a repeat; its cost is the mean over repeats, and the paired intervals
draw images (95 %, bootstrap). They do not hold the chance of which images train, which all three share.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from common import SCRATCH, Figure, arguments, context, data_root, fingerprint, finish, met, rounded, write

from anmok.core.progress import bar
from anmok.core.types import Predictions
from anmok.evaluate.costs import ErrorCosts
from anmok.evaluate.decide import fit_decision
from anmok.evaluate.scaling import choose_calibration

POSITIVE, COSTS, FOLDS, SIDE = "trash", ErrorCosts(1, 20), 5, 64
CLASSES = ["rest", POSITIVE]


def vectors(quick: bool) -> tuple[np.ndarray, np.ndarray]:
    """(features float32[N, D], positive int64[N]) of TrashNet, kept in runs/bench."""
    import anmok
    from anmok.augment.preprocess import Preprocess
    from anmok.data.batches import Loader
    from anmok.stages.fold_features import patch_features

    table = anmok.open(data_root() / "trashnet" / "split.csv")
    if quick:
        table = table.take(np.arange(0, len(table), 5))
    file = SCRATCH / f"decision-{len(table)}-{table.fingerprint[:12]}.npz"
    if file.is_file():
        kept = np.load(file)
        return kept["features"], kept["positive"]
    loader = Loader(table, preprocess=Preprocess(SIDE), batch_size=256)
    batches = list(loader.epoch())
    pixels, targets = (np.concatenate([getattr(b, name) for b in batches]) for name in ("images", "targets"))
    with bar("features", len(pixels)) as progress:
        features = patch_features(pixels, 0, progress)
    positive = (targets == table.classes.index(POSITIVE)).astype(np.int64)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, features=features, positive=positive)
    return features, positive


def regression() -> Any:
    """The estimator of all routes."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1e-3, max_iter=200, tol=1e-3)


def cost_of(truth: np.ndarray, alarm: np.ndarray) -> np.ndarray:
    """float64[N], the cost of each answer."""
    return COSTS.fp * ((truth == 0) & alarm) + COSTS.fn * ((truth == 1) & ~alarm)


def answers(features: np.ndarray, truth: np.ndarray, test: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Of one fold: which test images each route calls trash, bool[n]."""
    from sklearn.metrics import make_scorer
    from sklearn.model_selection import StratifiedKFold, TunedThresholdClassifierCV, cross_val_predict

    train = np.setdiff1d(np.arange(len(truth)), test)
    x, y = features[train], truth[train]
    inner = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    oof = cross_val_predict(regression(), x, y, cv=inner, method="predict_proba")
    probs = regression().fit(x, y).predict_proba(features[test])
    ids = [str(i) for i in train]
    known = Predictions(ids, CLASSES, oof.astype(np.float32), y, "binary", ["oof"] * len(ids))
    calibration, *_ = choose_calibration(known)
    decision = fit_decision(known, costs=COSTS, positive=POSITIVE, calibration=calibration)
    score = make_scorer(lambda a, b: -cost_of(a, b == 1).mean())
    tuned = TunedThresholdClassifierCV(regression(), scoring=score, cv=inner).fit(x, y)
    return {
        "anmok": decision.decide(probs.astype(np.float32)) == 1,
        "0.5": probs[:, 1] >= 0.5,
        "TunedThresholdClassifierCV": tuned.predict(features[test]) == 1,
    }


def paired(a: np.ndarray, b: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """(mean of a - b, low, high): 95 % bootstrap over images."""
    d = a - b
    rng = np.random.default_rng(seed)
    draws = [d[rng.integers(0, len(d), len(d))].mean() for _ in range(10_000)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(d.mean()), float(low), float(high)


def main() -> None:
    """Ten repeats (two where quick) of five folds."""
    from sklearn.model_selection import StratifiedKFold

    options = arguments(__doc__, repeats={"type": int, "default": 10})
    features, truth = vectors(options.quick)
    repeats = 2 if options.quick else options.repeats
    spent: dict[str, np.ndarray] = {}
    with bar("folds", repeats * FOLDS) as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for repeat in range(repeats):
            for _, test in StratifiedKFold(FOLDS, shuffle=True, random_state=repeat).split(features, truth):
                for name, alarm in answers(features, truth, test, repeat).items():
                    spent.setdefault(name, np.zeros(len(truth)))[test] += cost_of(truth[test], alarm) / repeats
                progress.advance()
    figures = [
        Figure(name, "cost of 100 images", "", rounded(float(100 * cost.mean())), note=f"{repeats} x {FOLDS} folds")
        for name, cost in spent.items()
    ]
    for other, end in (("0.5", "high"), ("TunedThresholdClassifierCV", "low")):
        value, low, high = (100 * v for v in paired(spent["anmok"], spent[other]))
        figures.append(Figure(
            f"anmok less {other}", "cost of 100 images, paired", "", rounded(value), rounded(low), rounded(high),
            bound=f"{end} <= 0", met=met("<= 0", high if end == "high" else low), note="95 % interval",
        ))  # fmt: skip
    data = f"trashnet {fingerprint(data_root() / 'trashnet')}"
    finish(write("decision_cost", figures, context(data), options.quick), options.quick)


if __name__ == "__main__":
    main()
