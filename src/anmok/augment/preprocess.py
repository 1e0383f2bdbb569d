"""The deterministic way from a decoded image to the square a model sees; saved with the model.

Four steps, one after the other, each of which may do nothing:

1. `prepare`: the histogram of the picture is equalised; of the whole picture, before anything is cut off, padded or
   drawn, on a working size that depends on the model alone.
2. `square`: squash, crop or letterbox to S × S. In training the drawn augmentation stands here, and mixing after it.
3. `finish`: the colour space, then the range or the spread of the single image's values. What came before, augmentation
   and padding included, has worked on RGB, as brightness, saturation and grey are defined there.
4. On the device: mean and std, of uint8 pixels as everywhere.

`apply` is the first three. Training calls the same `prepare` and `finish` around its augmentation, so that a step never
differs between training and use. Fitting to the square can: an augmented picture is warped where this one is resized.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from anmok.augment import contrast
from anmok.augment.color import convert
from anmok.augment.config import Colorspace, Equalize, Fit, Normalize, PreprocessConfig, fit_together
from anmok.augment.statistics import SIGMAS, usual_statistics
from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.core.pixels import luma

FILTERS = {"bilinear": "pillow-bilinear-antialias", "bicubic": "pillow-bicubic-antialias"}
VERSION = 2  # 1 knew no step but the resize
WHOLE = 4  # times the square that a resized image may cover before only its centre is resized
MARGIN = 1.3  # times the square's side: the working size, at which a picture may still be turned and cropped


@dataclass(frozen=True)
class Preprocess:
    """Equalise, resize to image_size × image_size, convert, normalise: see the module.

    The resize is Pillow's antialiased bilinear filter, or where `resample` says so its bicubic one, which CLIP has
    seen. fit: `squash` ignores the aspect; `crop` resizes the short side to image_size / crop_pct and keeps the
    centre, as timm does; `letterbox` resizes the long side and pads with `background`. mean, std: of uint8 pixels
    / 255, one a channel; where none is given, those of `usual_statistics`.
    equalize: `none`, `global` (every channel), `luminance`, or `clahe` with clip_limit and tiles × tiles tiles.
    colorspace: what the three channels are. normalize: `standard` (mean and std alone), or before them `minmax` (the
    image's values stretched to 0 to 255) or `zscore` (its mean to 127.5, its std to 255/8); `none`, mean 0 and std 1.

    UsageError for a name that is none of these (with the nearest), or what does not fit together.
    """

    image_size: int
    channels: Literal["rgb", "gray"] = "rgb"
    fit: Fit = "squash"
    crop_pct: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    background: tuple[int, int, int] = (255, 255, 255)
    equalize: Equalize = "none"
    clip_limit: float = 2.0
    tiles: int = 8
    colorspace: Colorspace = "rgb"
    normalize: Normalize = "standard"
    resample: Literal["bilinear", "bicubic"] = "bilinear"

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                raise UsageError(
                    f"no such {name} as {value}.", where=f"preprocess.{name}", remedy=did_you_mean(str(value), known),
                    code="setting",
                )  # fmt: skip
        if problem := fit_together(self.channels, self.colorspace, self.normalize):
            raise UsageError(f"{problem}.", where="preprocess", code="setting")
        if not (self.clip_limit > 0 and self.tiles >= 1):
            raise UsageError(
                f"clip_limit must be above 0 and tiles at least 1, found {self.clip_limit} and {self.tiles}.",
                where="preprocess", code="setting",
            )  # fmt: skip
        mean, std = usual_statistics(self.channels, self.colorspace, self.normalize)
        object.__setattr__(self, "mean", self.mean or mean)
        object.__setattr__(self, "std", self.std or std)
        if not len(self.mean) == len(self.std) == self.depth:
            raise UsageError(
                f"expected {self.depth} value(s) for {self.channels}, found {len(self.mean)} and {len(self.std)}.",
                where="preprocess.mean and std", code="setting",
            )  # fmt: skip

    @property
    def depth(self) -> int:
        """Number of channels, 1 or 3."""
        return 1 if self.channels == "gray" else 3

    @property
    def plain(self) -> bool:
        """Whether `apply` does no more than fit the picture to the square, which timm and transformers do too."""
        return self.equalize == "none" and not self.finishes

    @property
    def finishes(self) -> bool:
        """Whether `finish` does anything."""
        return self.colorspace != "rgb" or self.normalize in ("minmax", "zscore")

    def apply(self, image: np.ndarray) -> np.ndarray:
        """uint8[H, W, C], RGB or gray, to uint8[S, S, C] in the model's colour space."""
        return self.finish(self.square(self.prepare(image)))

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """uint8[H, W, C] equalised.

        A picture whose short side is more than 1.3 image_size is resized to that first: the same picture from a 12- and
        a 1-megapixel file then has the same tiles and noise, and the cost has a bound.
        """
        if self.equalize == "none":
            return image
        height, width = image.shape[:2]
        side = round(self.image_size * MARGIN)
        if min(height, width) > side:
            scale = side / min(height, width)
            image = resize(image, max(side, round(width * scale)), max(side, round(height * scale)))
        if self.equalize == "global":
            return contrast.equalize(image)
        if self.equalize == "luminance":
            return contrast.equalize_luminance(image)
        return contrast.clahe(image, self.clip_limit, self.tiles)

    def square(self, image: np.ndarray, side: int | None = None) -> np.ndarray:
        """uint8[H, W, C] to uint8[side, side, C] by the fit; side: by default image_size."""
        size, by = side or self.image_size, self.resample
        height, width = image.shape[:2]
        if self.fit == "squash":
            return resize(image, size, size, resample=by)
        if self.fit == "crop":
            short = math.floor(size / self.crop_pct)
            if width <= height:
                new_width, new_height = short, int(short * height / width)
            else:
                new_width, new_height = int(short * width / height), short
            cut = math.floor if by == "bicubic" else round  # half a pixel too much: as transformers cuts, and as timm
            left, top = cut((new_width - size) / 2), cut((new_height - size) / 2)
            if new_width * new_height <= WHOLE * size * size:
                whole = resize(image, new_width, new_height, resample=by)
                return np.ascontiguousarray(whole[top : top + size, left : left + size])
            # A long strip would grow without bound: only its centre is resized (equal but for rounding, ± 1).
            sx, sy = width / new_width, height / new_height
            box = (left * sx, top * sy, (left + size) * sx, (top + size) * sy)
            return resize(image, size, size, box=box, resample=by)
        scale = size / max(height, width)
        new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
        color = self.background if self.depth == 3 else (luma(self.background),)
        out = np.empty((size, size, image.shape[2]), np.uint8)
        out[:] = np.array(color, np.uint8)
        top, left = (size - new_height) // 2, (size - new_width) // 2
        out[top : top + new_height, left : left + new_width] = resize(image, new_width, new_height, resample=by)
        return out

    def finish(self, images: np.ndarray) -> np.ndarray:
        """uint8[S, S, C], or a batch [B, S, S, C], to the model's colour space and range, uint8 of the same shape.

        Range and spread are the image's own over the whole square: over all channels of RGB or gray, whose balance is
        kept, and channel by channel elsewhere, where they measure different things.
        """
        if self.colorspace != "rgb":
            images = convert(images, "rgb", self.colorspace)
        apart = self.colorspace not in ("rgb", "bgr")
        if self.normalize == "minmax":
            return contrast.minmax(images, per_channel=apart)
        if self.normalize == "zscore":
            z = contrast.zscore(images, per_channel=apart)
            return np.rint(np.clip(z * (127.5 / SIGMAS) + 127.5, 0, 255)).astype(np.uint8)
        return images

    def steps(self) -> list[str]:
        """What is done to a picture beyond fitting and standard normalisation, in order, as short texts."""
        equalized = {
            "none": "", "global": "equalised", "luminance": "luminance equalised",
            "clahe": f"CLAHE {self.clip_limit:g}, {self.tiles}×{self.tiles}",
        }[self.equalize]  # fmt: skip
        space = "" if self.colorspace == "rgb" else SHOWN.get(self.colorspace, self.colorspace.upper())
        spread = {"standard": "", "none": "not normalised", "minmax": "min-max", "zscore": "z-score"}[self.normalize]
        return [text for text in (equalized, space, spread) if text]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for preprocess.json."""
        return {
            "version": VERSION,
            "resize": FILTERS[self.resample],
            **{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items() if k != "resample"},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocess:
        """Back from `to_dict` of this release or of version 1; DataError for a version or form that is not known."""
        named = {v: k for k, v in FILTERS.items()}
        own = {k: v for k, v in values.items() if k not in ("version", "resize")}
        kept: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in own.items()}
        kept["resample"] = named.get(str(values.get("resize")))
        try:
            if values.get("version") not in (1, VERSION) or kept["resample"] is None:
                raise TypeError(f"version {values.get('version')!r}, resize {values.get('resize')!r}")
            return cls(**kept)
        except (TypeError, UsageError) as error:
            raise DataError(f"unknown preprocessing ({error}).", where="preprocess.json", code="damaged") from error


SHOWN = {"lab": "Lab", "luv": "Luv", "ycrcb": "YCrCb", "ycbcr": "YCbCr"}  # where upper case is not the usual form
_CHOICES: dict[str, tuple[str, ...]] = {
    "channels": ("rgb", "gray"), "fit": get_args(Fit), "equalize": get_args(Equalize),
    "colorspace": get_args(Colorspace), "normalize": get_args(Normalize), "resample": tuple(FILTERS),
}  # fmt: skip


def build_preprocess(
    config: PreprocessConfig, image_size: int, background: tuple[int, int, int] = (255, 255, 255),
    mean: tuple[float, ...] = (), std: tuple[float, ...] = (),
) -> Preprocess:  # fmt: skip
    """The preprocessing that the settings describe.

    mean, std: those of the network's weights, which hold for RGB or gray with standard normalisation and are passed
    over elsewhere.
    """
    own = config.model_dump(exclude={"image_size"})
    if config.colorspace != "rgb" or config.normalize != "standard":
        mean, std = (), ()
    return Preprocess(image_size, mean=mean, std=std, background=background, **own)


def resize(
    image: np.ndarray, width: int, height: int, box: tuple[float, float, float, float] | None = None,
    resample: str = "bilinear",
) -> np.ndarray:  # fmt: skip
    """Pillow's antialiased resize, bilinear or bicubic, of uint8[H, W, C] or its `box` (left, top, right, bottom)."""
    from PIL import Image

    if image.shape[:2] == (height, width) and box is None:
        return image
    gray = image.shape[2] == 1
    source = Image.fromarray(image[:, :, 0] if gray else image)
    how = Image.Resampling.BICUBIC if resample == "bicubic" else Image.Resampling.BILINEAR
    out = np.asarray(source.resize((width, height), how, box=box))
    return out[:, :, None] if gray else out
