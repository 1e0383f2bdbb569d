"""Colorization: which colours belong to this grey picture?

Zhang, Isola & Efros 2016, "Colorful Image Colorization", arXiv:1603.08511: the lightness L* goes in, and for every
place of a map of a quarter of the size a distribution over bins of (a*, b*) comes out. Rare colours weigh more, so that
not everything is painted the grey that is never quite wrong.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch.nn import functional as F

from anmok.core.errors import UsageError
from anmok.core.types import Batch
from anmok.models.encoder import Encoder
from anmok.objectives.decoder import Decoder, map_rows
from anmok.objectives.lab import lab_to_rgb, rgb_to_lab
from anmok.objectives.objective import Objective, Shown, as_pixels
from anmok.objectives.supervised import Outcome

BIN = 10  # side of a bin in a*b*
NEAREST, SIGMA = 5, 5.0  # soft encoding: bins, and width of the Gaussian
LAMBDA = 0.5  # rebalancing: share of the uniform distribution
TEMPERATURE = 0.38  # of the annealed mean
LEAST = 64  # width of the decoder, as many bins are told apart from it
SMALLER = 4  # times: the map of colours


class Colorize(Objective):
    """Predicts a distribution over the ab bins of each place from the lightness alone.

    colors: how often the training data have each bin (`color_counts`); None: all alike. Needs three channels.
    """

    def __init__(
        self, encoder: Encoder, mean: tuple[float, ...], std: tuple[float, ...], image_size: int,
        colors: torch.Tensor | None = None,
    ):  # fmt: skip
        super().__init__(encoder, mean, std)
        if len(mean) != 3:
            raise UsageError("colorize needs images with colours.", where="--channels", code="setting")
        bins = torch.tensor(color_bins(), dtype=torch.float32)
        self.side = max(1, image_size // SMALLER)
        self.bins: torch.Tensor
        self.weights: torch.Tensor
        self.register_buffer("bins", bins, persistent=False)
        self.register_buffer("weights", rebalanced(torch.ones(len(bins)) if colors is None else colors, bins))
        rows = map_rows(encoder, 3, image_size)
        self.decoder = Decoder(encoder.grid_width, len(bins), rows, self.side, least=LEAST)

    def forward(self, batch: Batch) -> Outcome:
        """The rebalanced cross-entropy (eq. 2), mean over places and images."""
        lab = rgb_to_lab(batch.images.float() / 255)
        logits = self.predict(lab[..., 0])
        wanted = F.adaptive_avg_pool2d(lab[..., 1:].permute(0, 3, 1, 2), self.side).permute(0, 2, 3, 1)
        near, shares = soft_bins(wanted, self.bins)
        weight = self.weights[near[..., 0]]  # the nearest bin's
        each = -(shares * logits.log_softmax(-1).gather(-1, near)).sum(-1)
        return Outcome((weight * each).mean(), {})

    def predict(self, light: torch.Tensor) -> torch.Tensor:
        """L* float32[B, S, S] to logits float32[B, s, s, Q], s a quarter of S; the encoder sees L* as grey."""
        grey = (light[:, None].expand(-1, 3, -1, -1) * 2.55 - self.mean) * self.scale
        return self.decoder(self.encoder.grid(grey)).permute(0, 2, 3, 1).float()

    def paint(self, images: torch.Tensor, temperature: float = TEMPERATURE) -> torch.Tensor:
        """uint8[B, S, S, 3] to sRGB float32[B, S, S, 3] in [0, 255]: their own lightness, the colours predicted.

        Colours are the annealed mean of the prediction (section 2.3), enlarged bilinearly.
        """
        light = rgb_to_lab(images.float() / 255)[..., :1]
        colors = annealed_mean(self.predict(light[..., 0]), self.bins, temperature).permute(0, 3, 1, 2)
        full = F.interpolate(colors, size=images.shape[1:3], mode="bilinear", align_corners=False)
        return lab_to_rgb(torch.cat([light, full.permute(0, 2, 3, 1)], dim=-1)) * 255

    def show(self, batch: Batch) -> list[list[Shown]]:
        """Each image, its lightness, and its colours as predicted."""
        lab = rgb_to_lab(batch.images.float() / 255)
        gray = lab_to_rgb(torch.cat([lab[..., :1], torch.zeros_like(lab[..., 1:])], dim=-1)) * 255
        rows = [as_pixels(x) for x in (batch.images, gray, self.paint(batch.images))]
        names = ("image", "seen", "painted")
        return [[Shown(row[i], name) for row, name in zip(rows, names, strict=True)] for i in range(len(rows[0]))]


@functools.cache
def color_bins() -> np.ndarray:
    """int64[Q, 2]: centres, multiples of 10, of the ab bins that some 8-bit sRGB colour falls into.

    A line of equal (a*, b*) leaves the solid of sRGB colours through its surface, so the six faces of the cube have all
    that the whole has.
    """
    level, grid = np.arange(256) / 255, np.meshgrid(np.arange(256) / 255, np.arange(256) / 255)
    faces = [
        np.insert(np.stack([g.ravel() for g in grid], axis=1), axis, value, axis=1)
        for axis in range(3)
        for value in (level[0], level[-1])
    ]
    lab = rgb_to_lab(torch.from_numpy(np.concatenate(faces))).numpy()
    return np.unique(np.floor(lab[:, 1:] / BIN + 0.5).astype(np.int64), axis=0) * BIN


def soft_bins(colors: torch.Tensor, bins: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(indices int64[..., 5], shares float32[..., 5]) of ab colours [..., 2]: the nearest bins, nearest first.

    Shares follow a Gaussian of the distance, sigma 5, and sum to 1 (section 2.2).
    """
    distance, near = torch.cdist(colors.reshape(-1, 2), bins).topk(NEAREST, largest=False)
    shares = torch.exp(-(distance**2) / (2 * SIGMA**2)) + 1e-12
    shape = (*colors.shape[:-1], NEAREST)
    return near.view(shape), (shares / shares.sum(1, keepdim=True)).view(shape)


def rebalanced(counts: torch.Tensor, bins: torch.Tensor, share: float = LAMBDA) -> torch.Tensor:
    """Weights float32[Q] ∝ 1 / ((1 − λ) p̃ + λ / Q), whose mean under p̃ is 1 (eq. 4).

    counts: float[Q], of the training data; p̃: smoothed by a Gaussian of sigma 5 in ab.
    """
    near = torch.exp(-(torch.cdist(bins, bins) ** 2) / (2 * SIGMA**2))
    smooth = (near / near.sum(0)) @ counts.to(bins).clamp_min(0)
    p = smooth / smooth.sum().clamp_min(1e-12)
    weights = 1 / ((1 - share) * p + share / len(bins))
    return weights / (p * weights).sum().clamp_min(1e-12)


def color_counts(images: torch.Tensor) -> torch.Tensor:
    """float32[Q]: pixels of uint8[N, S, S, 3] in each ab bin, at a quarter of the size as the loss sees them."""
    bins = torch.tensor(color_bins(), dtype=torch.float32)
    counts = torch.zeros(len(bins))
    for part in images.split(64):
        lab = rgb_to_lab(part.float() / 255)[..., 1:].permute(0, 3, 1, 2)
        small = F.adaptive_avg_pool2d(lab, max(1, part.shape[1] // SMALLER)).permute(0, 2, 3, 1).reshape(-1, 2)
        counts += torch.bincount(torch.cdist(small, bins).argmin(1), minlength=len(bins))
    return counts


def annealed_mean(logits: torch.Tensor, bins: torch.Tensor, temperature: float = TEMPERATURE) -> torch.Tensor:
    """ab colours float32[..., 2]: the mean of the bins under softmax(log p / T) of logits [..., Q] (eq. 5).

    T = 1 is the mean, T → 0 the mode.
    """
    return (logits.log_softmax(-1) / temperature).softmax(-1) @ bins
