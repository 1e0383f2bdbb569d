"""The best that fastai's documented recipe learns in some minutes, from scratch; prints one JSON object.

    peer_fastai_auto.py CSV SIZE MINUTES SEED

ImageDataLoaders.from_df with Resize(SIZE) and aug_transforms(), vision_learner(resnet18, pretrained=False), the rate of
its own lr_find(), fit_one_cycle for as many epochs as the minutes hold, by the time of one epoch, and the weights of
the best validation accuracy. The test images are looked at behind the clock.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
BEGAN = time.perf_counter()

import pandas as pd  # noqa: E402
import torch  # noqa: E402
from fastai.vision.all import (  # noqa: E402
    ImageDataLoaders,
    Learner,
    Resize,
    SaveModelCallback,
    accuracy,
    aug_transforms,
    resnet18,
    set_seed,
    vision_learner,
)

SPARED = 10  # seconds of the minutes, for what comes after the last epoch


def main(csv: str, size: int, minutes: float, seed: int) -> None:
    """Measure an epoch, train, stop the clock, and look at the test images."""
    table, folder = pd.read_csv(csv), Path(csv).parent
    known = table[table.split != "test"].assign(is_valid=table.split == "val")
    set_seed(seed)
    workers = len(os.sched_getaffinity(0))
    loaders = ImageDataLoaders.from_df(
        known, folder, fn_col="image", label_col="label", valid_col="is_valid", item_tfms=Resize(size),
        batch_tfms=aug_transforms(), bs=64, num_workers=workers,
    )  # fmt: skip
    rate = quiet(loaders).lr_find(show_plot=False).valley
    trial = quiet(loaders)
    began = time.perf_counter()
    with trial.no_bar(), trial.no_logging():
        trial.fit(1)
    epoch = time.perf_counter() - began
    epochs = max(1, int((60 * minutes - SPARED - (time.perf_counter() - BEGAN)) / epoch))
    learner = quiet(loaders)
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(epochs, rate, cbs=SaveModelCallback(monitor="accuracy", fname=f"auto-{os.getpid()}"))
    seconds = time.perf_counter() - BEGAN
    test = table[table.split == "test"]
    with learner.no_bar(), learner.no_logging(), torch.inference_mode():
        found = learner.get_preds(dl=loaders.test_dl(test))[0].argmax(1)
    right = sum(loaders.vocab[int(k)] == label for k, label in zip(found, test.label, strict=True))
    found = {"seconds": seconds, "right": right, "n": len(test), "epochs": epochs}
    print(json.dumps(found | {"what": f"{epochs} epochs at {rate:.2g}"}))


def quiet(loaders: ImageDataLoaders) -> Learner:
    """A new learner."""
    return vision_learner(loaders, resnet18, pretrained=False, metrics=accuracy, model_dir="/tmp")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
