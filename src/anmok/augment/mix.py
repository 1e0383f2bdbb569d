"""MixUp and CutMix on a uint8 batch, with soft targets; drawn from (seed, epoch, step)."""

from __future__ import annotations

from typing import Any

import numpy as np

from anmok.augment.guests import Guest
from anmok.augment.policy import Policy


def mix_batch(images: Any, targets: np.ndarray, policy: Policy | Guest, key: tuple[int, int, int]) -> np.ndarray:
    """Mix uint8[B, S, S, C], an array or a tensor, in place; soft targets float32[B, K] of targets float32[B, K].

    MixUp (Zhang et al. 2018, arXiv:1710.09412): λx + (1−λ)x', λ ~ Beta(α, α). CutMix (Yun et al. 2019,
    arXiv:1905.04899): a rectangle of area 1−λ comes from x'. Where both are on, a mixed batch takes one of them.
    key: (seed, epoch, step), so that a resumed run mixes the same images.
    """
    rng = np.random.default_rng([*key, 0x6D6978])
    chance, kind = rng.random(2)
    if len(images) < 2 or chance >= policy.mix:
        return targets
    partner = rng.permutation(len(images))
    use_cutmix = policy.cutmix > 0 and (policy.mixup == 0 or kind < 0.5)
    alpha = policy.cutmix if use_cutmix else policy.mixup
    share = float(rng.beta(alpha, alpha))
    others = images[partner]
    if use_cutmix:
        size = images.shape[1]
        side = size * np.sqrt(1 - share)
        cx, cy = rng.random(2) * size
        x0, x1 = (int(np.clip(round(cx + s * side / 2), 0, size)) for s in (-1, 1))
        y0, y1 = (int(np.clip(round(cy + s * side / 2), 0, size)) for s in (-1, 1))
        images[:, y0:y1, x0:x1] = others[:, y0:y1, x0:x1]
        share = 1 - (x1 - x0) * (y1 - y0) / size**2
    else:
        _blend(images, others, share)
    return (share * targets + (1 - share) * targets[partner]).astype(np.float32)


def _blend(images: Any, others: Any, share: float) -> None:
    """share × images + (1 − share) × others, rounded, into `images`."""
    if isinstance(images, np.ndarray):
        import cv2

        flat = images.reshape(len(images), -1)
        cv2.addWeighted(flat, share, others.reshape(len(images), -1), 1 - share, 0, dst=flat)
    else:
        images.copy_((images.float() * share).add_(others.float(), alpha=1 - share).round_())
