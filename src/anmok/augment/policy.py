"""What is drawn for each image: a pure function of (seed, epoch, row id), so that any epoch can be replayed.

The draws are counter-based: every (row, quantity) hashes to its own uniform number (splitmix64, Steele et al. 2014), so
neither the batch an image falls into nor the number of threads or ranks changes what happens to it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from anmok.augment.config import AugmentConfig

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_U64 = np.uint64
DRAWS = 16


@dataclass(frozen=True)
class Policy:
    """Ranges to draw from; the neutral value of each leaves the image alone (but for the resize).

    relative: `ratio` multiplies the image's own aspect, as fits a model that sees images squashed to a square;
    otherwise it is the crop's width / height in pixels, as torchvision's RandomResizedCrop has it.
    """

    hflip: float = 0.0
    vflip: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    ratio: tuple[float, float] | None = None
    rotate: float = 0.0
    shear: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mix: float = 1.0
    relative: bool = True

    @property
    def neutral(self) -> bool:
        """Whether nothing is ever changed."""
        return self == Policy(mix=self.mix, relative=self.relative)

    @property
    def mixes(self) -> bool:
        """Whether batches are mixed, so that targets become soft."""
        return self.mix > 0 and (self.mixup > 0 or self.cutmix > 0)

    def draw(self, ids: Sequence[str], epoch: int, seed: int) -> Params:
        """The parameters of N images, plain arrays."""
        u = uniform(ids, epoch, seed, DRAWS)

        def span(column: int, low: float, high: float) -> np.ndarray:
            return low + (high - low) * u[:, column]

        n = len(ids)
        ratio = np.zeros(n) if self.ratio is None else span(3, np.log(self.ratio[0]), np.log(self.ratio[1]))
        factors = [
            span(8 + k, 1 - spread, 1 + spread)
            for k, spread in enumerate((self.brightness, self.contrast, self.saturation))
        ]
        return Params(
            area=span(2, *self.scale),
            log_ratio=ratio,
            relative=np.full(n, self.relative or self.ratio is None),
            place=u[:, 4:6].copy(),
            angle=np.deg2rad(span(6, -self.rotate, self.rotate)),
            shear=np.tan(np.deg2rad(span(7, -self.shear, self.shear))),
            hflip=u[:, 0] < self.hflip,
            vflip=u[:, 1] < self.vflip,
            brightness=factors[0],
            contrast=factors[1],
            saturation=factors[2],
            erase=np.where((u[:, 11] < self.erase)[:, None], u[:, 12:16], np.nan),
        )


@dataclass(frozen=True)
class Params:
    """The drawn augmentation of N images.

    area: share of the image's area in the crop; log_ratio: log(width / height) of the crop, where `relative` of the
    image's own; place: [N, 2] where the crop lies in what is left, in [0, 1]; angle: radians; shear: horizontal, as a
    factor; brightness, contrast, saturation: factors; erase: [N, 4] uniform numbers of a rectangle, NaN where none is
    erased.
    """

    area: np.ndarray
    log_ratio: np.ndarray
    relative: np.ndarray
    place: np.ndarray
    angle: np.ndarray
    shear: np.ndarray
    hflip: np.ndarray
    vflip: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    saturation: np.ndarray
    erase: np.ndarray

    def __len__(self) -> int:
        return len(self.area)

    def take(self, index: int | slice | np.ndarray) -> Params:
        """The parameters of some of the images."""
        return Params(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def matrix(self, index: int, height: int, width: int, out: int) -> np.ndarray:
        """Source-from-output affine matrix float64[2, 3] in pixel centres, of one image of this size.

        The crop's box comes first (Szegedy et al. 2015, as torchvision's RandomResizedCrop: a box that does not fit is
        clipped to the image), then rotation and shear about its centre, then the flips. Plain floats, as every image
        passes here while it holds the interpreter.
        """
        ratio = math.exp(self.log_ratio[index]) * (width / height if self.relative[index] else 1.0)
        area = float(self.area[index]) * width * height
        box_w, box_h = min(math.sqrt(area * ratio), width), min(math.sqrt(area / ratio), height)
        cx = (width - box_w) * float(self.place[index, 0]) + box_w / 2
        cy = (height - box_h) * float(self.place[index, 1]) + box_h / 2
        angle, shear = float(self.angle[index]), float(self.shear[index])
        cos, sin = math.cos(angle), math.sin(angle)
        # output (pixels from the centre) → turned, sheared → scaled to the box → placed on its centre
        fx, fy = (-1.0 if flip[index] else 1.0 for flip in (self.hflip, self.vflip))
        sx, sy, middle = box_w / out, box_h / out, (out - 1) / 2
        a, b = sx * cos * fx, sx * (cos * shear - sin) * fy
        c, d = sy * sin * fx, sy * (sin * shear + cos) * fy
        return np.array([[a, b, cx - 0.5 - (a + b) * middle], [c, d, cy - 0.5 - (c + d) * middle]])

    def matrices(self, sizes: np.ndarray, out: int) -> np.ndarray:
        """`matrix` of N images of sizes int[N, 2] (H, W): float64[N, 2, 3]."""
        found = [self.matrix(i, height, width, out) for i, (height, width) in enumerate(sizes.tolist())]
        return np.array(found).reshape(-1, 2, 3)


NAMED = {
    "none": Policy(),
    "flip-crop": Policy(hflip=0.5, scale=(0.35, 1.0), ratio=(3 / 4, 4 / 3)),
    "light": Policy(
        hflip=0.5, scale=(0.6, 1.0), ratio=(3 / 4, 4 / 3), rotate=10, brightness=0.2, contrast=0.2, saturation=0.2
    ),
    "medium": Policy(
        hflip=0.5, scale=(0.35, 1.0), ratio=(3 / 4, 4 / 3), rotate=15, shear=5,
        brightness=0.3, contrast=0.3, saturation=0.3, erase=0.25,
    ),
    "strong": Policy(
        hflip=0.5, scale=(0.25, 1.0), ratio=(3 / 4, 4 / 3), rotate=20, shear=10,
        brightness=0.4, contrast=0.4, saturation=0.4, erase=0.25, mixup=0.2, cutmix=1.0, mix=0.5,
    ),
}  # fmt: skip


def build_policy(config: AugmentConfig, relative: bool = True) -> Policy:
    """The named policy with the quantities that the configuration sets apart; relative: see Policy."""
    base = NAMED[config.policy]
    own = {name: value for name, value in config.model_dump(exclude={"policy"}).items() if value is not None}
    return replace(base, **own, relative=relative)


def row_keys(ids: Sequence[str]) -> np.ndarray:
    """uint64[N]: a stable 64-bit hash (BLAKE2b) of every id."""
    digest = b"".join(hashlib.blake2b(i.encode("utf-8", "surrogatepass"), digest_size=8).digest() for i in ids)
    return np.frombuffer(digest, "<u8")


def uniform(ids: Sequence[str], epoch: int, seed: int, draws: int) -> np.ndarray:
    """float64[N, draws] in [0, 1), a pure function of (seed, epoch, id, column)."""
    stream = _mix64(_mix64(np.array([seed % 2**64], _U64)) ^ np.array([epoch], _U64))
    start = _mix64(row_keys(ids) ^ stream)
    counter = start[:, None] + _GOLDEN * np.arange(1, draws + 1, dtype=_U64)
    return (_mix64(counter) >> _U64(11)) * (1.0 / (1 << 53))


def _mix64(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> _U64(30))) * _U64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> _U64(27))) * _U64(0x94D049BB133111EB)
    return x ^ (x >> _U64(31))
