"""Predicting image files as torchvision's documentation does it; run by benchmarks/inference.py, in the peers' place.

    peer_torchvision.py MODEL_FOLDER IMAGES_CSV WORKERS BATCH OUT.json

Pillow decodes, torchvision's v2 transforms resize (antialiased bilinear) and normalise, a DataLoader feeds its resnet18
in float32 under inference_mode. Prints one JSON object: images, seconds from the first file to the last answer.
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
from torchvision.models import resnet18
from torchvision.transforms import v2


class Files(Dataset):
    """The images of a CSV with a column `image`, relative to it."""

    def __init__(self, source: Path, size: int, mean: list[float], std: list[float]):
        self.root = source.parent
        self.names = [row["image"] for row in csv.DictReader(source.open())]
        self.transform = v2.Compose([
            v2.PILToTensor(), v2.Resize((size, size), antialias=True), v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(Image.open(self.root / self.names[index]).convert("RGB"))


def main() -> None:
    """Predict every image once."""
    folder, source, workers, batch, out = sys.argv[1:]
    pre = json.loads((Path(folder) / "preprocess.json").read_text())
    weights = load_file(Path(folder) / "model.safetensors")
    model = resnet18(num_classes=len(weights["fc.bias"]))
    model.load_state_dict(weights)
    model.eval()
    files = Files(Path(source), pre["image_size"], pre["mean"], pre["std"])
    began = time.perf_counter()
    with torch.inference_mode():
        loader = DataLoader(files, batch_size=int(batch), num_workers=int(workers))
        probs = torch.cat([model(images).softmax(1) for images in loader])
    seconds = time.perf_counter() - began
    Path(out).write_text(json.dumps(dict(zip(files.names, probs.tolist(), strict=True))))
    print(json.dumps({"images": len(files), "seconds": seconds}))


if __name__ == "__main__":
    main()
