from __future__ import annotations

import pytest
import torch

from anmok.models.airbench import FILTERS, AirBench, stem_for


@pytest.mark.parametrize(("size", "stem"), [(32, (2, 1)), (64, (4, 2))])
def test_any_multiple_of_32_pixels_gives_the_same_cells(size: int, stem: tuple[int, int]) -> None:
    assert stem_for(size) == stem
    net = AirBench(7, stem=stem).eval()
    assert net.stem(torch.zeros(1, 3, size, size)).shape == (1, 24, 31, 31)
    assert net(torch.randn(2, 3, size, size)).shape == (2, 7)


def test_parameters_by_hand() -> None:
    def stage(a: int, b: int) -> int:
        return 9 * a * b + 9 * b * b + 4 * b

    learning = stage(24, 32) + stage(32, 64) + stage(64, 128) + 256 * 10 + 10
    assert sum(p.numel() for p in AirBench(10).parameters() if p.requires_grad) == learning
    assert not any(p.requires_grad for part in (AirBench(10).stem, AirBench(10).norm) for p in part.parameters())


def test_the_first_filters_begin_by_passing_their_inputs_on() -> None:
    net = AirBench(10)
    x = torch.randn(1, 24, 8, 8)
    torch.testing.assert_close(net.stages[0][0](x)[:, :24], x)
    x = torch.randn(1, 64, 8, 8)
    torch.testing.assert_close(net.stages[1][4](x), x)


@pytest.mark.parametrize(("size", "stem"), [(32, (2, 1)), (64, (4, 2))])
def test_whitened_responses_are_uncorrelated_and_of_variance_one(size: int, stem: tuple[int, int]) -> None:
    torch.manual_seed(0)
    coarse = torch.randn(60, 3, 8, 8)
    images = torch.nn.functional.interpolate(coarse, size, mode="bicubic") + 0.2 * torch.randn(60, 3, size, size)
    net = AirBench(3, stem=stem)
    net.whiten(images)
    found = net.stem(images).permute(1, 0, 2, 3).reshape(2 * FILTERS, -1)
    cov = torch.cov(found)[:FILTERS, :FILTERS]
    torch.testing.assert_close(cov, torch.eye(FILTERS), atol=0.1, rtol=0)
    torch.testing.assert_close(found[:FILTERS], -found[FILTERS:])


def test_it_learns_a_few_images_by_heart() -> None:
    torch.manual_seed(0)
    images, targets = torch.randn(12, 3, 32, 32), torch.arange(12) % 3
    net = AirBench(3, (8, 8, 16))
    net.whiten(images)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(net(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (net.eval()(images).argmax(1) == targets).all()
