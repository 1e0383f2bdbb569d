"""AutoGluon's MultiModalPredictor in some minutes, from scratch; prints one JSON object.

    peer_autogluon.py CSV SIZE MINUTES SEED EPOCHS

timm's resnet18 at SIZE pixels, from random weights, which AutoGluon is given as a folder of its own form; its defaults
but for what suits weights that know nothing: a rate of 1e-3 for all layers, and EPOCHS, which its cosine is drawn over.
Its time_limit is MINUTES less what its imports took. The test images are looked at behind the clock.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
BEGAN = time.perf_counter()

import pandas as pd  # noqa: E402
import timm  # noqa: E402
import torch  # noqa: E402
from autogluon.multimodal import MultiModalPredictor  # noqa: E402


def random_weights(folder: Path, seed: int) -> Path:
    """A folder with a resnet18 that knows nothing, as AutoGluon reads it."""
    torch.manual_seed(seed)
    model = timm.create_model("resnet18", pretrained=False, num_classes=0)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    known = {k: v for k, v in model.default_cfg.items() if isinstance(v, str | int | float | tuple | list)}
    config = known | {"architecture": "resnet18", "num_features": model.num_features}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def main(csv: str, size: int, minutes: float, seed: int, epochs: int) -> None:
    """Train, stop the clock, and look at the test images."""
    table = pd.read_csv(csv)
    table["image"] = [str(Path(csv).parent / name) for name in table.image]
    train, val, test = (table[table.split == s][["image", "label"]] for s in ("train", "val", "test"))
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "weights").mkdir()
        weights = random_weights(Path(place) / "weights", seed)
        predictor = MultiModalPredictor(label="label", problem_type="multiclass", eval_metric="accuracy",
                                        path=str(Path(place) / "model"), verbosity=1)  # fmt: skip
        predictor.fit(
            train, tuning_data=val, time_limit=60 * minutes - (time.perf_counter() - BEGAN), seed=seed,
            hyperparameters={
                "model.names": ["timm_image"], "model.timm_image.checkpoint_name": str(weights),
                "model.timm_image.image_size": size, "optim.lr": 1e-3, "optim.lr_decay": 1.0,
                "optim.max_epochs": epochs, "env.num_workers": len(os.sched_getaffinity(0)),
            },
        )  # fmt: skip
        seconds = time.perf_counter() - BEGAN
        found = predictor.predict(test.drop(columns="label"))
    right = int((found.to_numpy() == test.label.to_numpy()).sum())
    print(json.dumps({"seconds": seconds, "right": right, "n": len(test), "what": f"at most {epochs} epochs"}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), *map(int, sys.argv[4:]))
