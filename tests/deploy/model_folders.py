"""Pictures and fresh networks for the tests of model folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from anmok.augment.preprocess import Preprocess
from anmok.models.classifier import Classifier

KOREAN = ["유리", "종이", "금속"]
Make = Callable[..., tuple[Path, Classifier, Preprocess]]


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8[H, W, 3]: smooth colours with some edges, like a photo."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [np.sin(rng.uniform(2, 12) * x + rng.uniform(2, 12) * y + rng.uniform(0, 6)) for _ in range(3)]
    image = 127 + 90 * np.stack(waves, -1) + 30 * (x > 0.4)[..., None]
    return np.clip(image, 0, 255).astype(np.uint8)


def wake(classifier: Classifier) -> None:
    """Give every part of a fresh network a say: batch statistics, norms and a head that separates."""
    generator = torch.Generator().manual_seed(1)
    for name, value in classifier.backbone.state_dict().items():
        if name.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        elif value.is_floating_point() and value.ndim <= 1:
            value.add_(torch.randn(value.shape, generator=generator) * 0.1)
    with torch.no_grad():
        for parameter in list(classifier.backbone.parameters())[-2:]:
            parameter.mul_(3)
