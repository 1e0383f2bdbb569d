"""fastai's frozen fine-tuning on a split.csv, run by the peers' Python; prints one JSON object.

    peer_fastai_frozen.py CSV WEIGHTS AUGMENT WORKERS SIZE BATCH EPOCHS SEED

vision_learner(resnet18) with the given weights in its body, frozen as fine_tune begins, fit_one_cycle; with
aug_transforms() or without any. No progress bar. On a CPU fastai has fp32 only. The test images are looked at behind
the clock.
"""

from __future__ import annotations

import json
import sys
import time
import warnings

warnings.filterwarnings("ignore")

import pandas as pd  # noqa: E402
from fastai.vision.all import (  # noqa: E402
    ImageDataLoaders,
    Normalize,
    Resize,
    ResizeMethod,
    accuracy,
    aug_transforms,
    imagenet_stats,
    resnet18,
    set_seed,
    vision_learner,
)
from safetensors.torch import load_file  # noqa: E402


def load_body(learner, path: str) -> None:
    """torchvision's names (and timm's) to the numbers of fastai's body, which has the children in their order."""
    order = [name for name, _ in resnet18(weights=None).named_children()]
    state = {k: v for k, v in load_file(path).items() if not k.startswith("fc.")}
    numbered = {f"{order.index(k.split('.')[0])}.{k.split('.', 1)[1]}": v for k, v in state.items()}
    learner.model[0].load_state_dict(numbered)


def main(csv: str, weights: str, augment: int, workers: int, size: int, batch: int, epochs: int, seed: int) -> None:
    """Train, stop the clock, and look at the test images."""
    began = time.perf_counter()
    whole = pd.read_csv(csv)
    table = whole[whole.split.isin(["train", "val"])].copy()
    table["is_valid"] = table.split == "val"
    root = csv.rsplit("/", 1)[0]
    set_seed(seed)
    loaders = ImageDataLoaders.from_df(
        table, root, fn_col="image", label_col="label", valid_col="is_valid",
        item_tfms=Resize(size, method=ResizeMethod.Squish), bs=batch, num_workers=workers,
        batch_tfms=[*(aug_transforms() if augment else []), Normalize.from_stats(*imagenet_stats)],
    )  # fmt: skip
    learner = vision_learner(loaders, resnet18, pretrained=False, metrics=accuracy)
    load_body(learner, weights)
    learner.freeze()
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(epochs)
    seconds = time.perf_counter() - began
    test = whole[whole.split == "test"]
    probs, _ = learner.get_preds(dl=loaders.test_dl(test), inner=True)
    right = [loaders.vocab[i] == label for i, label in zip(probs.argmax(1).tolist(), test.label, strict=True)]
    val = float(learner.recorder.values[-1][2])
    print(json.dumps({"seconds": seconds, "test": sum(right) / len(right), "n": len(right), "val": val}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
