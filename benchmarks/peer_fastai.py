"""fastai epochs on a split.csv, run by the peers' Python; prints one JSON object.

It is the recipe of fastai's documentation: ImageDataLoaders.from_df with Resize(128) and aug_transforms(),
vision_learner(resnet18, pretrained=False), fit_one_cycle(epochs); no progress bar. On a CPU fastai has fp32 only (its
mixed precision is autocast('cuda')).
"""

from __future__ import annotations

import json
import sys
import time
import warnings

warnings.filterwarnings("ignore")

import pandas as pd  # noqa: E402
from fastai.vision.all import (  # noqa: E402
    Callback,
    ImageDataLoaders,
    Resize,
    accuracy,
    aug_transforms,
    resnet18,
    set_seed,
    vision_learner,
)


class Clock(Callback):
    """Of every epoch: seconds of training and with validation, images trained on, validation accuracy."""

    order = 1000

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def before_epoch(self) -> None:
        """An epoch begins."""
        self.began, self.images = time.perf_counter(), 0

    def before_train(self) -> None:
        """Its training begins."""
        self.train = time.perf_counter()

    def after_batch(self) -> None:
        """A training batch was learned from."""
        if self.training:
            self.images += len(self.x)

    def after_train(self) -> None:
        """Its training ends."""
        self.train = time.perf_counter() - self.train

    def after_epoch(self) -> None:
        """It ends, with validation."""
        wall = time.perf_counter() - self.began
        accuracy = self.learn.recorder.values[-1][-1]
        self.epochs.append({"images": self.images, "train_s": self.train, "wall_s": wall, "accuracy": float(accuracy)})


def main(csv: str, workers: int, size: int, batch: int, epochs: int, seed: int, rows: int) -> None:
    """Train and print what the clock saw."""
    table = pd.read_csv(csv)
    table = table[table.split.isin(["train", "val"])]
    if rows:
        table = table.groupby("split", group_keys=False).sample(rows, random_state=0)
    table["is_valid"] = table.split == "val"
    set_seed(seed)
    loaders = ImageDataLoaders.from_df(
        table, csv.rsplit("/", 1)[0], fn_col="image", label_col="label", valid_col="is_valid", item_tfms=Resize(size),
        batch_tfms=aug_transforms(), bs=batch, num_workers=workers,
    )  # fmt: skip
    clock = Clock()
    learner = vision_learner(loaders, resnet18, pretrained=False, metrics=accuracy, cbs=clock)
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(epochs)
    print(json.dumps({"epochs": clock.epochs, "classes": len(loaders.vocab)}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
