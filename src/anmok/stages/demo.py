"""`anmok demo`: the whole job on 1,797 real handwritten digits that ship with scikit-learn."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from anmok.core.config import resolve
from anmok.core.errors import UsageError
from anmok.core.progress import say
from anmok.stages.config import TrainConfig

SETTINGS = {
    "model": "lenet", "image_size": 32, "channels": "gray", "epochs": 12, "batch_size": 64,
    "augment": {"policy": "none", "scale": (0.8, 1.0), "ratio": (0.9, 1.1), "rotate": 8},
    "optim": {"name": "adamw", "lr": 0.003}, "schedule": {"name": "one-cycle"},
}  # fmt: skip


def write_digits(folder: Path) -> int:
    """Write the digits (Alpaydin & Kaynak 1998) as folder/<digit>/<number>.png, 8×8, black on white; how many."""
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = 255 - np.rint(data.images * (255 / 16)).astype(np.uint8)
    for number, (image, label) in enumerate(zip(pixels, data.target, strict=True)):
        path = folder / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return len(pixels)


def demo(out: Path) -> None:
    """Audit, split, train, evaluate and predict the digits into `out`, which is replaced, and say where reports lie."""
    from anmok.data.sources import open_table
    from anmok.stages.audit import audit
    from anmok.stages.evaluate import evaluate
    from anmok.stages.predict import predict
    from anmok.stages.report import show
    from anmok.stages.split import split
    from anmok.stages.train import start

    if out.exists():
        if any(out.iterdir()) and not (out / "config.toml").is_file() and not (out / "data").is_dir():
            raise UsageError(
                f"{out} exists and is no run; the demo does not replace it.",
                remedy="Name another --out.",
                code="exists",
            )
        shutil.rmtree(out)
    images = out / "data"
    say(f"writing {write_digits(images):,} handwritten digits as PNG files to {images}")
    table = open_table(images)
    print(audit(table, out=out / "audit"))
    table = split(table)
    run = start(out, table, resolve(TrainConfig, SETTINGS), None)
    evaluation = evaluate(run)
    show(evaluation)
    predict(run.model, table.where(split="test"), out=out / "predictions.csv")
    print(f"predictions: {out / 'predictions.csv'}")
    print(f"report of the validation split: {out / 'report.html'}")
    print(f"report of the test split: {out / 'report-test.html'}")
