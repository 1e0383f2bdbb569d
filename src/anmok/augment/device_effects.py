"""Operations that are neither a warp nor a table, on a batch on the device: what `effects` does to one image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from anmok.augment.device_warp import Border, mirror_, sampled

if TYPE_CHECKING:
    import torch

# splitmix64 (see draws.py) in signed numbers, which wrap as unsigned ones do
_GOLDEN, _FIRST, _SECOND = (v - 2**64 for v in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def sharpened(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """uint8[k, H, W, C]: distance from Pillow's smoothed image times the factor float32[k, 1, 1, 1]."""
    import torch

    if min(images.shape[1:3]) <= 2:
        return images
    x = images.to(torch.int16)
    rows = x[:, :-2] + x[:, 1:-1] + x[:, 2:]
    middle = x[:, 1:-1, 1:-1]
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4 * middle
    smooth = ((2 * total + 13) // 26).to(torch.float32)
    out = images.clone()
    inner = torch.lerp(smooth, middle.to(torch.float32), factor).round_().clamp_(0, 255)
    out[:, 1:-1, 1:-1] = inner.to(torch.uint8)
    return out


def blurred(images: torch.Tensor, sigma: torch.Tensor, radius: int) -> torch.Tensor:
    """uint8[k, H, W, C]: Gaussian blur of sigma float32[k] pixels, cut at three sigmas, the border mirrored.

    radius: pixels that the widest of them reaches.
    """
    import torch

    x = smoothed(images.permute(0, 3, 1, 2).to(torch.float32), sigma, radius, twice=False)
    return x.add_(0.5).permute(0, 2, 3, 1).to(torch.uint8).contiguous()


def smoothed(x: torch.Tensor, sigma: torch.Tensor, radius: int, twice: bool) -> torch.Tensor:
    """float32[k, C, H, W] after a Gaussian of sigma float32[k]; twice: whether the mirror shows the edge twice."""
    import torch
    from torch.nn.functional import conv2d

    k, depth, height, width = x.shape
    away = torch.arange(-radius, radius + 1, device=x.device)
    own = (3 * sigma).round_().clamp_(min=1)[:, None]
    weights = torch.exp(-0.5 * (away / sigma[:, None]) ** 2) * (away.abs() <= own)
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(depth, 0)[:, None]
    y, x_ = (_mirrored(size, radius, twice, x.device) for size in (height, width))
    flat = x.index_select(3, x_).reshape(1, k * depth, height, -1)
    flat = conv2d(flat, weights[:, :, None, :], groups=k * depth)
    flat = conv2d(flat.index_select(2, y), weights[:, :, :, None], groups=k * depth)
    return flat.view(k, depth, height, width)


def _mirrored(size: int, radius: int, twice: bool, device: torch.device) -> torch.Tensor:
    """int64[size + 2 radius]: the pixel that is shown at each place from −radius on."""
    import torch

    places = torch.arange(-radius, size + radius, device=device)
    if twice:
        places = places.remainder(2 * size)
        return torch.minimum(places, 2 * size - 1 - places)
    period = max(1, 2 * (size - 1))
    places = places.remainder(period)
    return torch.minimum(places, period - places)


def noisy(images: torch.Tensor, std: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """uint8[k, H, W, C]: Gaussian noise of std float32[k, 1, 1, 1], of 255, drawn from int64[k] keys alone."""
    import torch

    noise = normals(keys, images[0].numel()).view(images.shape)
    return noise.mul_(std).add_(images).round_().clamp_(0, 255).to(torch.uint8)


def normals(keys: torch.Tensor, n: int) -> torch.Tensor:
    """float32[k, n] of the standard normal distribution, as effects.normals draws them from each key."""
    import torch

    half = -(-n // 2)
    u = spread(keys, 2 * half)
    radius, angle = u[:, :half].neg().log1p_().mul_(-2).sqrt_(), u[:, half:] * (2 * math.pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin_()], 1)[:, :n]


def spread(keys: torch.Tensor, draws: int) -> torch.Tensor:
    """float32[k, draws] in [0, 1): the first 24 bits of what draws.spread draws from uint64 keys, here int64[k]."""
    import torch

    x = torch.arange(1, draws + 1, device=keys.device).mul_(_GOLDEN) + keys[:, None]
    for shift, factor in ((30, _FIRST), (27, _SECOND), (31, 1)):
        # a shift of signed numbers repeats the sign, which the mask takes away
        x.bitwise_xor_((x >> shift).bitwise_and_((1 << (64 - shift)) - 1))
        if factor != 1:
            x.mul_(factor)
    return (x >> 40).bitwise_and_((1 << 24) - 1).to(torch.float32).mul_(2.0**-24)


def elastic(
    images: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor, keys: torch.Tensor, radius: int, border: Border
) -> torch.Tensor:
    """uint8[k, H, W, C] displaced by noise, uniform in ±alpha pixels, smoothed with Gaussians of sigma pixels."""
    import torch

    k, height, width, _ = images.shape
    noise = spread(keys, 2 * height * width).view(k, 2, height, width).mul_(2).sub_(1)
    moved = smoothed(noise, sigma, radius, twice=True).mul_(alpha[:, None, None, None])
    size = torch.stack([torch.full((), n, device=images.device) for n in (width, height)])
    at = torch.stack(torch.meshgrid(*(torch.arange(n, device=images.device) for n in (width, height)), indexing="xy"))
    places = ((moved + at).permute(0, 2, 3, 1) * 2 + 1) / size - 1
    if not border.cuts:
        low = 1 / size - 1
        mirror_(places, low, (-2 * low).clamp(min=1e-6))
    return sampled(images, places, border).to(torch.uint8).contiguous()


def erased(images: torch.Tensor, boxes: torch.Tensor, colour: torch.Tensor) -> torch.Tensor:
    """uint8[k, H, W, C] with rectangles int64[k, 4] (left, top, right, bottom) of the colour uint8[C]."""
    import torch

    x, y = torch.arange(images.shape[2], device=boxes.device), torch.arange(images.shape[1], device=boxes.device)
    wide, high = (x >= boxes[:, :1]) & (x < boxes[:, 2:3]), (y >= boxes[:, 1:2]) & (y < boxes[:, 3:])
    return torch.where((high[:, :, None] & wide[:, None])[..., None], colour, images)


def mixed(images: torch.Tensor, chains: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """uint8[k, H, W, C]: AugMix's mean of images and of chains uint8[k × W, H, W, C], by float32[k, 1 + W]."""
    import torch

    k, width = len(images), weights.shape[1] - 1
    found = chains.view(k, width, *images.shape[1:])
    w = weights[:, :, None, None, None]
    total = images * w[:, 0]
    for j in range(width):
        total.add_(found[:, j] * w[:, 1 + j])
    return total.clamp_(0, 255).to(torch.uint8)
