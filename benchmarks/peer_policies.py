"""The same two policies in the peers' words: random-resized-crop and flip, with or without RandAugment(2, 9).

torchvision has RandAugment itself. Albumentations has not: two of torchvision's fourteen operations are drawn with
SomeOf, at the magnitudes that 9 of 30 means there, each by the transform that is fastest for it.
"""

from __future__ import annotations

import math
from typing import Any

SCALE, RATIO, FLIP = (0.08, 1.0), (3 / 4, 4 / 3), 0.5
N, M = 2, 9
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def torchvision_policy(randaugment: bool, size: int) -> list[Any]:
    """v2 transforms of PIL images or uint8 tensors [3, H, W], bilinear."""
    from torchvision.transforms import InterpolationMode, v2

    steps = [v2.RandomResizedCrop(size, SCALE, RATIO, antialias=True), v2.RandomHorizontalFlip(FLIP)]
    return [*steps, *([v2.RandAugment(N, M, interpolation=InterpolationMode.BILINEAR)] if randaugment else [])]


def albumentations_policy(randaugment: bool, size: int) -> list[Any]:
    """Transforms of uint8 arrays [H, W, 3]."""
    import albumentations as a
    import cv2

    linear = cv2.INTER_LINEAR
    steps = [a.RandomResizedCrop((size, size), SCALE, RATIO, linear, p=1), a.HorizontalFlip(p=FLIP)]
    if not randaugment:
        return steps
    share = M / 30
    shear, turn = math.degrees(math.atan(0.3 * share)), 30 * share
    move, factor = 150 / 331 * share, 0.9 * share

    def affine(**moved: Any) -> Any:
        return a.Affine(**({"shear": 0.0} | moved), interpolation=linear, border_mode=cv2.BORDER_CONSTANT, p=1)

    def either(low: float, high: float) -> tuple[float, float]:
        return (-low, high)

    ops = [
        a.NoOp(p=1),
        affine(shear={"x": either(shear, shear), "y": (0.0, 0.0)}),
        affine(shear={"x": (0.0, 0.0), "y": either(shear, shear)}),
        affine(translate_percent={"x": either(move, move), "y": (0.0, 0.0)}),
        affine(translate_percent={"x": (0.0, 0.0), "y": either(move, move)}),
        affine(rotate=either(turn, turn)),
        a.RandomBrightnessContrast(brightness_limit=either(factor, factor), contrast_limit=(0.0, 0.0), p=1),
        a.RandomBrightnessContrast(brightness_limit=(0.0, 0.0), contrast_limit=either(factor, factor), p=1),
        a.HueSaturationValue(0, round(100 * factor), 0, p=1),
        a.Sharpen(alpha=(0.0, factor), lightness=(1.0, 1.0), kernel_size=3, p=1),
        a.Posterize(8 - round(4 * share), p=1),
        a.Solarize((1 - share, 1 - share), p=1),
        a.AutoContrast(p=1),
        a.Equalize(p=1),
    ]
    return [*steps, a.SomeOf(ops, n=N, replace=True, p=1)]
