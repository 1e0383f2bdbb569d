"""scikit-learn's logistic regression on features that anmok extracts once; prints one JSON object.

    own_logistic.py CSV WEIGHTS SIZE BATCH FOLDER

The features are those that a run with --adapt head keeps: the same loader, precision and network. Standardised, C as
scikit-learn has it. The test images are looked at behind the clock.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np


def main(csv: str, weights: str, size: int, batch: int, folder: str) -> None:
    """Extract, fit, stop the clock, and look at the test images."""
    began = time.perf_counter()
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from anmok.core.config import resolve
    from anmok.data.batches import Loader
    from anmok.data.sources import open_table
    from anmok.stages.config import TrainConfig
    from anmok.stages.features import FeatureBatches, keep_features
    from anmok.stages.learn import set_up
    from anmok.stages.prepare import prepare

    settings = {
        "model": "resnet18", "weights": weights, "image_size": size, "batch_size": batch, "adapt": "head",
        "augment": "none", "epochs": 1,
    }  # fmt: skip
    config = resolve(TrainConfig, settings)
    table = prepare(open_table(csv, config.data, config.labels), config)
    table.save(Path(folder) / "table.parquet")
    job = set_up(Path(folder), config, None)
    assert isinstance(job.train, FeatureBatches)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(features(job.train), job.train.table.targets())
    val = score(model, job.val)
    seconds = time.perf_counter() - began
    loader = Loader(table.labelled().where(split="test"), preprocess=job.preprocess, batch_size=batch)
    test = keep_features(loader, job.learner.model, job.runtime, 1)
    print(json.dumps({"seconds": seconds, "val": val, "test": score(model, test), "n": len(test.table)}))


def features(batches) -> np.ndarray:
    """float32[N, D] of the first view."""
    return batches.views[0][0].float().numpy()


def score(model, batches) -> float:
    """Share of the images that are right."""
    return float(model.score(features(batches), batches.table.targets()))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
