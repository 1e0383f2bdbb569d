"""scikit-learn's logistic regression on features that plain PyTorch extracts once; prints one JSON object.

    peer_plain_logistic.py CSV WEIGHTS WORKERS SIZE BATCH

What most people write: the photos and the frozen network of peer_plain_frozen.py, each photo sent through it once, in
fp32; the features standardised, C as scikit-learn has it. The test images are looked at behind the clock.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import torch
from peer_plain_frozen import frozen, opened
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader


def features(model: torch.nn.Module, loader: DataLoader) -> tuple[np.ndarray, np.ndarray]:
    """float32[N, 512], int64[N]: what the body makes of the photos, and their classes."""
    with torch.inference_mode():
        parts = [(model(x), y) for x, y in loader]
    return torch.cat([x for x, _ in parts]).numpy(), torch.cat([y for _, y in parts]).numpy()


def main(source: str, weights: str, workers: int, size: int, batch: int) -> None:
    """Extract, fit, stop the clock, and look at the test images."""
    began = time.perf_counter()
    loaders = opened(source, workers, size, batch, shuffle=False)
    body = frozen(weights)
    body.fc = torch.nn.Identity()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(*features(body, loaders["train"]))
    val = float(model.score(*features(body, loaders["val"])))
    seconds = time.perf_counter() - began
    test = float(model.score(*features(body, loaders["test"])))
    print(json.dumps({"seconds": seconds, "test": test, "n": len(loaders["test"].dataset), "val": val}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
