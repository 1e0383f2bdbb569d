from __future__ import annotations

import numpy as np
import pytest
import torch

from anmok.models.lenet import LeNet


def test_has_the_parameters_of_the_paper() -> None:
    # 6·(25+1) + 16·(6·25+1) + 120·(400+1) + 84·(120+1) + 10·(84+1)
    assert sum(p.numel() for p in LeNet(10, 1).parameters()) == 156 + 2_416 + 48_120 + 10_164 + 850 == 61_706


def naive(net: LeNet, image: np.ndarray) -> np.ndarray:
    """LeNet over one float64[C, H, W] image, with loops and no torch layers."""
    w = {k: v.double().numpy() for k, v in net.state_dict().items()}
    channels, height, width = image.shape
    if height < 32 or width < 32:
        full = np.zeros((channels, max(height, 32), max(width, 32)))
        top, left = max(0, 32 - height) // 2, max(0, 32 - width) // 2
        full[:, top : top + height, left : left + width] = image
        image = full
    for name in ("conv1", "conv2"):
        kernel, bias = w[f"{name}.weight"], w[f"{name}.bias"]
        windows = np.lib.stride_tricks.sliding_window_view(image, (5, 5), axis=(1, 2))
        image = np.maximum(np.einsum("chwij,ocij->ohw", windows, kernel) + bias[:, None, None], 0)
        high, wide = image.shape[1] // 2, image.shape[2] // 2
        image = image[:, : 2 * high, : 2 * wide].reshape(-1, high, 2, wide, 2).max(axis=(2, 4))
    high, wide = image.shape[1:]
    cells = np.array(
        [
            [
                image[:, i * high // 5 : -(-(i + 1) * high // 5), j * wide // 5 : -(-(j + 1) * wide // 5)].mean((1, 2))
                for j in range(5)
            ]
            for i in range(5)
        ]
    )
    x = cells.transpose(2, 0, 1).reshape(-1)
    for name in ("fc1", "fc2", "fc3"):
        x = w[f"{name}.weight"] @ x + w[f"{name}.bias"]
        x = x if name == "fc3" else np.maximum(x, 0)
    return x


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (28, 28), (32, 32), (64, 64), (65, 40), (30, 50)])
def test_equals_a_naive_computation_at_any_size(height: int, width: int, channels: int) -> None:
    net = LeNet(num_classes=7, in_chans=channels).eval()
    images = torch.randn(2, channels, height, width)
    with torch.no_grad():
        found = net(images)
    assert found.shape == (2, 7)
    for image, row in zip(images, found, strict=True):
        np.testing.assert_allclose(row.numpy(), naive(net, image.double().numpy()), atol=1e-5)
