"""Several labels at once: collages of four CIFAR-10 images, beside torchvision and scikit-learn.  About 15 minutes.

    .venv/bin/python benchmarks/multilabel.py                # seeds 0, 1, 2
    .venv/bin/python benchmarks/multilabel.py --quick

A collage is 2 × 2 images of 32 pixels that show one to four classes; those of the test are made of CIFAR-10's test
images. They are written as PNG with a CSV that has a column for each class. Ours is recipes/multilabel.toml; the plain
pipeline is what one writes with torchvision (the same ResNet-18 and random initial weights, flips and padded crops,
binary cross-entropy, AdamW in one cycle) for the same epochs and batches. `ours, AdamW` differs from it in the library
alone. Of each: mAP, and macro-F1 at 0.5 and at per-label thresholds that maximise F1 on validation; all figures are
scikit-learn's.
"""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, SCRATCH, Figure, arguments, context, data_root, figure, finish, fresh, write

SIDE = 32
RECIPE = ROOT / "recipes" / "multilabel.toml"
SIZES = {"train": 3000, "val": 1000, "test": 2000}
QUICK = {"train": 160, "val": 80, "test": 80}
EPOCHS, BATCH, RATE = 10, 64, 1e-3
ADAMW: dict[str, Any] = {
    "optim": {"name": "adamw", "lr": RATE, "weight_decay": 0.01, "ema": None, "betas": [0.9, 0.999]},
    "schedule": {"name": "one-cycle"},
}
Scores = dict[str, float]


def collages(folder: Path, sizes: dict[str, int]) -> Path:
    """Write the collages and labels.csv, unless they are there; the same ones every time."""
    if (folder / "labels.csv").is_file():
        return folder
    import polars as pl
    from PIL import Image

    import anmok
    from anmok.data.decode import decode

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    table = anmok.open(data_root() / "cifar10")
    train, test = (table.take(pl.col("split") == name) for name in ("train", "test"))
    order = rng.permutation(len(train))
    cut = round(len(order) * sizes["train"] / (sizes["train"] + sizes["val"]))
    pools = {"train": train.take(order[:cut]), "val": train.take(order[cut:]), "test": test}
    rows = []
    for split, n in sizes.items():
        pool = pools[split]
        targets, images = pool.targets(), pool.rows["image"].to_list()
        by_class = [np.flatnonzero(targets == k) for k in range(len(table.classes))]
        for i in range(n):
            shown = rng.choice(len(table.classes), int(rng.integers(1, 5)), replace=False)
            tiles = rng.permutation(np.r_[shown, rng.choice(shown, 4 - len(shown))])
            canvas = Image.new("RGB", (2 * SIDE, 2 * SIDE))
            for place, k in enumerate(tiles):
                pixels = decode(pool.storage.read(images[int(rng.choice(by_class[k]))]))
                canvas.paste(Image.fromarray(pixels), (SIDE * (place % 2), SIDE * (place // 2)))
            name = f"{split}-{i:05d}.png"
            canvas.save(folder / name)
            rows.append([name, split, *(int(k in shown) for k in range(len(table.classes)))])
    with (folder / "labels.csv").open("w", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows([["image", "split", *table.classes], *rows])
    return folder


def ours(folder: Path, seed: int, epochs: int, name: str, **settings: Any) -> tuple[Scores, float]:
    """Scores on the test, and seconds of training."""
    import anmok

    began = time.perf_counter()
    run = anmok.train(
        folder / "labels.csv", out=fresh(f"multilabel-{name}-{seed}"), config=RECIPE, seed=seed, epochs=epochs,
        **settings,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    anmok.evaluate(run)
    val, test = run.predictions("val"), run.predictions("test")
    return scored(val.targets, val.probs, test.targets, test.probs), seconds


def plain(folder: Path, seed: int, epochs: int) -> tuple[Scores, float]:
    """The same with torchvision and scikit-learn alone."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import models
    from torchvision.transforms import v2

    with (folder / "labels.csv").open() as handle:
        head, *rows = csv.reader(handle)
    to_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True),
                 v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]  # fmt: skip
    augment = [v2.RandomHorizontalFlip(), v2.RandomCrop(2 * SIDE, padding=4)]

    class Collages(Dataset):  # type: ignore[type-arg]
        def __init__(self, split: str):
            self.rows = [row for row in rows if row[1] == split]
            self.transform = v2.Compose(augment + to_tensor if split == "train" else to_tensor)

        def __len__(self) -> int:
            return len(self.rows)

        def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
            image = Image.open(folder / self.rows[i][0]).convert("RGB")
            return self.transform(image), torch.tensor([float(v) for v in self.rows[i][2:]])

    began = time.perf_counter()
    torch.manual_seed(seed)
    loader = DataLoader(Collages("train"), BATCH, shuffle=True, num_workers=2, persistent_workers=True)
    network = models.resnet18(num_classes=len(head) - 2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, epochs * len(loader))
    loss = torch.nn.BCEWithLogitsLoss()
    for _ in range(epochs):
        for images, targets in loader:
            optimizer.zero_grad()
            loss(network(images), targets).backward()
            optimizer.step()
            schedule.step()
    seconds = time.perf_counter() - began
    network.eval()
    found = []
    with torch.inference_mode():
        for split in ("val", "test"):
            batches = list(DataLoader(Collages(split), 256))
            found += [torch.cat([y for _, y in batches]).numpy()]
            found += [torch.cat([network(x).sigmoid() for x, _ in batches]).numpy()]
    return scored(*found), seconds


def scored(val_targets: Any, val_probs: Any, targets: Any, probs: Any) -> Scores:
    """mAP, macro-F1 at 0.5, and at the thresholds that maximise each label's F1 on validation."""
    from sklearn.metrics import average_precision_score, f1_score

    limits = np.array([best_threshold(val_targets[:, k], val_probs[:, k]) for k in range(targets.shape[1])])
    return {
        "mAP": float(average_precision_score(targets, probs, average="macro")),
        "macro-F1 at 0.5": float(f1_score(targets, probs >= 0.5, average="macro", zero_division=0)),
        "macro-F1, thresholds of validation": float(f1_score(targets, probs >= limits, average="macro")),
    }


def best_threshold(targets: np.ndarray, probs: np.ndarray) -> float:
    """Where F1 is highest."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(targets, probs)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(thresholds[f1[:-1].argmax()])


def main() -> None:
    """Every subject with every seed, in turns."""
    options = arguments(__doc__, seeds={"type": int, "nargs": "+", "default": [0, 1, 2]})
    sizes, epochs = (QUICK, 1) if options.quick else (SIZES, EPOCHS)
    seeds = options.seeds[:1] if options.quick else options.seeds
    folder = collages(SCRATCH / f"collages-{sum(sizes.values())}", sizes)
    found: dict[str, list[tuple[Scores, float]]] = {"torchvision + scikit-learn": [], "ours": [], "ours, AdamW": []}
    for seed in seeds:
        found["torchvision + scikit-learn"].append(plain(folder, seed, epochs))
        found["ours"].append(ours(folder, seed, epochs, "recipe"))
        found["ours, AdamW"].append(ours(folder, seed, epochs, "adamw", **ADAMW))
    figures: list[Figure] = []
    peer = "torchvision + scikit-learn"
    for name, results in found.items():
        for quantity in results[0][0]:
            values = [scores[quantity] for scores, _ in results]
            against = None if name == peer else (peer, float(np.median([s[quantity] for s, _ in found[peer]])))
            bound = ">= 1" if name == "ours" else ""
            figures.append(figure(name, quantity, "share", values, against=against, bound=bound, seeds=seeds))
        figures.append(figure(name, "training", "s", [seconds for _, seconds in results], seeds=seeds))
    where = context(f"collages of cifar10, {sizes['train']}/{sizes['val']}/{sizes['test']}, {epochs} epochs")
    finish(write("multilabel", figures, where, options.quick), options.quick)


if __name__ == "__main__":
    main()
