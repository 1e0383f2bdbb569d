"""The deterministic way from a decoded image to the square a model sees; saved with the model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from anmok.core.errors import DataError, UsageError
from anmok.core.pixels import GRAY_MEAN, GRAY_STD, IMAGENET_MEAN, IMAGENET_STD, luma

Fit = Literal["squash", "crop", "letterbox"]
FILTER = "pillow-bilinear-antialias"
WHOLE = 4  # times the square that a resized image may cover before only its centre is resized


@dataclass(frozen=True)
class Preprocess:
    """Resize to image_size × image_size by Pillow's antialiased bilinear filter; normalisation follows on the device.

    fit: `squash` ignores the aspect; `crop` resizes the short side to image_size / crop_pct and keeps the centre, as
    timm does; `letterbox` resizes the long side and pads with `background`. mean, std: of pixels in [0, 1], one a
    channel (ImageNet's, where not given).  UsageError for another fit, or a number of channels that does not fit.
    """

    image_size: int
    channels: Literal["rgb", "gray"] = "rgb"
    fit: Fit = "squash"
    crop_pct: float = 1.0
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    background: tuple[int, int, int] = (255, 255, 255)

    def __post_init__(self) -> None:
        if self.channels == "gray" and (self.mean, self.std) == (IMAGENET_MEAN, IMAGENET_STD):
            object.__setattr__(self, "mean", GRAY_MEAN)
            object.__setattr__(self, "std", GRAY_STD)
        if self.fit not in ("squash", "crop", "letterbox") or self.channels not in ("rgb", "gray"):
            raise UsageError(
                f"no such fit or channels: {self.fit}, {self.channels}.", where="preprocess", code="setting"
            )
        if not len(self.mean) == len(self.std) == self.depth:
            raise UsageError(
                f"expected {self.depth} value(s) for {self.channels}, found {len(self.mean)} and {len(self.std)}.",
                where="preprocess.mean and std", code="setting",
            )  # fmt: skip

    @property
    def depth(self) -> int:
        """Number of channels, 1 or 3."""
        return 1 if self.channels == "gray" else 3

    def apply(self, image: np.ndarray) -> np.ndarray:
        """uint8[H, W, C] to uint8[S, S, C]."""
        size = self.image_size
        height, width = image.shape[:2]
        if self.fit == "squash":
            return resize(image, size, size)
        if self.fit == "crop":
            short = math.floor(size / self.crop_pct)
            if width <= height:
                new_width, new_height = short, int(short * height / width)
            else:
                new_width, new_height = int(short * width / height), short
            left, top = round((new_width - size) / 2), round((new_height - size) / 2)
            if new_width * new_height <= WHOLE * size * size:
                whole = resize(image, new_width, new_height)
                return np.ascontiguousarray(whole[top : top + size, left : left + size])
            # A long strip would grow without bound: only its centre is resized (equal but for rounding, ± 1).
            sx, sy = width / new_width, height / new_height
            return resize(image, size, size, box=(left * sx, top * sy, (left + size) * sx, (top + size) * sy))
        scale = size / max(height, width)
        new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
        color = self.background if self.depth == 3 else (luma(self.background),)
        out = np.empty((size, size, image.shape[2]), np.uint8)
        out[:] = np.array(color, np.uint8)
        top, left = (size - new_height) // 2, (size - new_width) // 2
        out[top : top + new_height, left : left + new_width] = resize(image, new_width, new_height)
        return out

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for preprocess.json."""
        return {
            "version": 1,
            "resize": FILTER,
            **{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocess:
        """Back from `to_dict`; DataError where it is of a version or form this release does not know."""
        own = {k: v for k, v in values.items() if k not in ("version", "resize")}
        kept: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in own.items()}
        try:
            if (values.get("version"), values.get("resize")) != (1, FILTER):
                raise TypeError(f"version {values.get('version')!r}, resize {values.get('resize')!r}")
            return cls(**kept)
        except (TypeError, UsageError) as error:
            raise DataError(f"unknown preprocessing ({error}).", where="preprocess.json", code="damaged") from error


def resize(
    image: np.ndarray, width: int, height: int, box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """Pillow's antialiased bilinear resize of uint8[H, W, C], or of its `box` (left, top, right, bottom)."""
    from PIL import Image

    if image.shape[:2] == (height, width) and box is None:
        return image
    gray = image.shape[2] == 1
    source = Image.fromarray(image[:, :, 0] if gray else image)
    out = np.asarray(source.resize((width, height), Image.Resampling.BILINEAR, box=box))
    return out[:, :, None] if gray else out
