"""Frozen fine-tuning as a plain PyTorch loop on a split.csv; prints one JSON object.

    peer_plain_frozen.py CSV WEIGHTS WORKERS SIZE BATCH EPOCHS SEED

What most people write: torchvision's resnet18 with the given weights, its body frozen and in eval mode, a new last
layer learned by Adam at 0.01 with cosine decay, every photo decoded and sent through the whole network in every epoch,
in fp32, validation behind each. The test images are looked at behind the clock.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.models import resnet18

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Photos(Dataset):
    """The rows of one split: (float32[3, SIZE, SIZE], number of its class)."""

    def __init__(self, root: Path, rows: list[dict[str, str]], classes: list[str], size: int):
        self.root, self.rows, self.classes = root, rows, classes
        steps = [transforms.Resize((size, size)), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        self.prepare = transforms.Compose(steps)

    def __len__(self) -> int:
        """Photos."""
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        """One photo, decoded anew."""
        row = self.rows[i]
        with Image.open(self.root / row["image"]) as image:
            return self.prepare(image.convert("RGB")), self.classes.index(row["label"])


def accuracy(model: torch.nn.Module, loader: DataLoader) -> float:
    """Share of the photos that are right."""
    with torch.no_grad():
        return sum(int((model(x).argmax(1) == y).sum()) for x, y in loader) / len(loader.dataset)


def opened(source: str, workers: int, size: int, batch: int, shuffle: bool) -> dict[str, DataLoader]:
    """A loader of each split; shuffle: the training photos."""
    with Path(source).open() as file:
        rows = list(csv.DictReader(file))
    classes = sorted({row["label"] for row in rows})
    return {
        split: DataLoader(
            Photos(Path(source).parent, [row for row in rows if row["split"] == split], classes, size), batch,
            shuffle=shuffle and split == "train", num_workers=workers,
        )
        for split in ("train", "val", "test")
    }  # fmt: skip


def frozen(weights: str) -> torch.nn.Module:
    """The body with these weights, in eval mode; its last layer is anew."""
    model = resnet18(weights=None)
    model.load_state_dict({k: v for k, v in load_file(weights).items() if not k.startswith("fc.")}, strict=False)
    return model.requires_grad_(False).eval()


def main(source: str, weights: str, workers: int, size: int, batch: int, epochs: int, seed: int) -> None:
    """Train, stop the clock, and look at the test images."""
    began = time.perf_counter()
    torch.manual_seed(seed)
    loaders = opened(source, workers, size, batch, shuffle=True)
    model = frozen(weights)
    model.fc = torch.nn.Linear(model.fc.in_features, len(loaders["train"].dataset.classes))
    optimizer = torch.optim.Adam(model.fc.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loaders["train"]))
    val = 0.0
    for _ in range(epochs):
        for x, y in loaders["train"]:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            schedule.step()
        val = accuracy(model, loaders["val"])
    seconds = time.perf_counter() - began
    test = accuracy(model, loaders["test"])
    print(json.dumps({"seconds": seconds, "test": test, "n": len(loaders["test"].dataset), "val": val}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
