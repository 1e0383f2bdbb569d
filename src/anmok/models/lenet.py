"""LeNet-5 (LeCun et al. 1998), with ReLU and max pooling as it is taught today."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from anmok.models.norms import build_norm


class LeNet(nn.Module):
    """Two 5×5 convolutions of 6 and 16 channels, each with 2×2 max pooling, then 120, 84, num_classes.

    float[B, in_chans, H, W] to float[B, num_classes]; any H and W: a smaller image is padded with zeros to 32 as the
    authors padded 28, a larger one is averaged to the 5×5 cells that 32 would give. 61,706 parameters for one channel
    and ten classes. norm: of the two convolutions (`build_norm`); the paper has none.
    """

    def __init__(self, num_classes: int = 10, in_chans: int = 3, norm: str = "none"):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(in_chans, 6, 5), build_norm(norm, 6)
        self.conv2, self.norm2 = nn.Conv2d(6, 16, 5), build_norm(norm, 16)
        self.cells = nn.AdaptiveAvgPool2d(5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """float[B, C, H, W] to the last map, float[B, 16, h, w]."""
        height, width = max(0, 32 - images.shape[2]), max(0, 32 - images.shape[3])
        if height or width:
            images = F.pad(images, (width // 2, width - width // 2, height // 2, height - height // 2))
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(images))), 2)
        return F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """float[B, C, H, W] to logits [B, num_classes]."""
        x = self.cells(self.forward_features(images)).flatten(1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))
