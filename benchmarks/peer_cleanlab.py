"""Cleanlab on given out-of-fold probabilities, run by the peers' Python; prints one JSON object.

usage: peer_cleanlab.py IN.npz OUT.npz. IN holds labels int64[N] and probs float32[N, K]. OUT gets every quality score
of get_label_quality_scores (score:METHOD, plain and with adjust_pred_probs; lower is worse), every candidate set of
find_label_issues (filter:METHOD), and the confident joint. The JSON has the seconds of each and the versions.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable

warnings.filterwarnings("ignore")

import cleanlab  # noqa: E402
import numpy as np  # noqa: E402
from cleanlab.count import compute_confident_joint  # noqa: E402
from cleanlab.filter import find_label_issues  # noqa: E402
from cleanlab.rank import get_label_quality_scores  # noqa: E402

SCORES = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
FILTERS = (
    "prune_by_noise_rate", "prune_by_class", "both", "confident_learning", "predicted_neq_given",
    "low_normalized_margin", "low_self_confidence",
)  # fmt: skip


def main(source: str, out: str) -> None:
    """Run every method once and keep what it says."""
    given = np.load(source)
    labels, probs = given["labels"], given["probs"]
    found: dict[str, np.ndarray] = {}
    seconds: dict[str, float] = {}

    def keep(name: str, compute: Callable[[], np.ndarray]) -> None:
        began = time.perf_counter()
        found[name] = compute()
        seconds[name] = time.perf_counter() - began

    for method in SCORES:
        keep(f"score:{method}", lambda m=method: get_label_quality_scores(labels, probs, method=m))
        if method != "confidence_weighted_entropy":  # which takes no adjustment
            adjusted = {"method": method, "adjust_pred_probs": True}
            keep(f"score:{method}, adjusted", lambda a=adjusted: get_label_quality_scores(labels, probs, **a))
    for method in FILTERS:
        keep(f"filter:{method}", lambda m=method: find_label_issues(labels, probs, filter_by=m, n_jobs=1))
    keep("joint", lambda: compute_confident_joint(labels, probs, calibrate=False))
    np.savez(out, **found)
    print(json.dumps({"seconds": seconds, "cleanlab": cleanlab.__version__, "numpy": np.__version__}))


if __name__ == "__main__":
    main(*sys.argv[1:])
