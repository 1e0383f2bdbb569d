"""Real photos as a batch, small encoders, and a few steps of learning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from anmok.core.types import Batch
from anmok.models.encoder import Encoder
from anmok.models.networks import build_network

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def photos(data_dir: Path, n: int, side: int = 32) -> torch.Tensor:
    """uint8[n, side, side, 3] of the first photos."""
    from PIL import Image

    paths = sorted((data_dir / "photos").glob("*.JPEG"))[:n]
    return torch.from_numpy(np.stack([np.asarray(Image.open(p).convert("RGB").resize((side, side))) for p in paths]))


class Tiny(nn.Module):
    """Two strided convolutions and a head; takes any size."""

    def __init__(self, num_classes: int = 10, in_chans: int = 3):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_chans, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(32, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images).mean((2, 3)))


def encoder_of(name: str = "tiny", side: int = 32, channels: int = 3) -> Encoder:
    network = Tiny(10, channels) if name == "tiny" else build_network(name, 10, channels, side)
    return Encoder(network, 10, side, channels)


def batch_of(images: torch.Tensor) -> Batch:
    """Without labels."""
    return Batch(images, torch.full((len(images),), -1), [str(i) for i in range(len(images))])


def steps(learner: nn.Module, batch: Batch, many: int, lr: float = 3e-3) -> tuple[float, float]:
    """(mean loss of the first three steps, of the last three) of Adam on one batch."""
    optimizer = torch.optim.Adam(learner.parameters(), lr=lr)
    losses = []
    learner.train()
    for _ in range(many):
        optimizer.zero_grad()
        loss = learner(batch).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses[:3]) / 3, sum(losses[-3:]) / 3
