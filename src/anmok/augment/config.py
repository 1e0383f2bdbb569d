"""Settings of the deterministic preprocessing and of the training augmentation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from anmok.core.config import Config
from anmok.core.errors import did_you_mean

POLICIES = (
    "none", "flip-crop", "light", "medium", "strong", "autoaugment", "autoaugment-cifar10", "autoaugment-svhn",
    "randaugment", "trivialaugment", "augmix",
)  # fmt: skip
FILES = (".toml", ".json")
OBJECT = "object:"  # an object of the user's program, given again to resume
Fit = Literal["squash", "crop", "letterbox"]
Equalize = Literal["none", "global", "luminance", "clahe"]
Colorspace = Literal["rgb", "bgr", "hsv", "hls", "lab", "luv", "ycrcb", "ycbcr", "xyz"]
Normalize = Literal["standard", "minmax", "zscore", "none"]


def fit_together(channels: str, colorspace: str, normalize: str) -> str:
    """Why these three settings do not fit together; '' where they do."""
    if channels == "gray" and colorspace != "rgb":
        return f"colorspace {colorspace} needs the three channels of rgb, and channels is gray"
    if normalize in ("minmax", "zscore") and colorspace in ("hsv", "hls"):
        return f"hue is an angle, so normalize {normalize} has no meaning with colorspace {colorspace}"
    return ""


class PreprocessConfig(Config):
    """What every image goes through, in training's validation, evaluation, predict, server and export alike."""

    image_size: int | None = Field(
        None, ge=4, le=4096, description="Side of the square the model sees, pixels; default: the model's own."
    )
    channels: Literal["rgb", "gray"] = Field("rgb", description="Colour channels the model sees.")
    fit: Fit = Field("squash", description="How a picture becomes a square: squash it, crop its centre, or pad it.")
    crop_pct: float = Field(1.0, gt=0.1, le=1, description="With fit=crop: share of the short side that is kept.")
    resample: Literal["bilinear", "bicubic"] = Field(
        "bilinear", description="Filter of the resize; CLIP and its kin have seen bicubic."
    )
    equalize: Equalize = Field("none", description="Equalise histograms: each channel's, the luminance's, or CLAHE.")
    clip_limit: float = Field(
        2.0, gt=0, le=256, description="With equalize=clahe: how far above its mean a histogram's bin may rise."
    )
    tiles: int = Field(8, ge=1, le=64, description="With equalize=clahe: tiles along each side of the image.")
    colorspace: Colorspace = Field("rgb", description="Colour space the model sees; others train from scratch.")
    normalize: Normalize = Field(
        "standard", description="Fixed mean and std; each image's own range or z-score; or [0, 1] as it is."
    )

    @model_validator(mode="after")
    def _together(self) -> PreprocessConfig:
        if problem := fit_together(self.channels, self.colorspace, self.normalize):
            raise ValueError(problem)
        return self


class AugmentConfig(Config):
    """A named policy, and every quantity of it to set apart."""

    policy: str = Field(
        "light",
        description=f"Training augmentation: {', '.join(POLICIES)} (randaugment:n=2,m=9 sets its numbers), or a file: "
        "a policy's .toml, Albumentations' .json.",
    )
    hflip: float | None = Field(None, ge=0, le=1, description="Probability of a left-right flip.")
    flip: Literal["random", "alternating"] | None = Field(
        None, description="Left-right flips by chance in every epoch, or of every image in every other epoch."
    )
    vflip: float | None = Field(None, ge=0, le=1, description="Probability of an up-down flip.")
    scale: tuple[float, float] | None = Field(None, description="Random-resized-crop: range of the area's share.")
    ratio: tuple[float, float] | None = Field(None, description="Random-resized-crop: range of width / height.")
    rotate: float | None = Field(None, ge=0, le=180, description="Largest rotation either way, degrees.")
    shear: float | None = Field(None, ge=0, le=45, description="Largest horizontal shear either way, degrees.")
    brightness: float | None = Field(None, ge=0, le=1, description="Brightness factor drawn from 1 ± this.")
    contrast: float | None = Field(None, ge=0, le=1, description="Contrast factor drawn from 1 ± this.")
    saturation: float | None = Field(None, ge=0, le=1, description="Saturation factor drawn from 1 ± this.")
    hue: float | None = Field(None, ge=0, le=0.5, description="Largest turn of the hue either way, of a whole turn.")
    translate: float | None = Field(None, ge=0, le=1, description="Largest move either way, share of each side.")
    perspective: float | None = Field(None, ge=0, le=1, description="Probability of a random perspective.")
    elastic: float | None = Field(None, ge=0, le=1, description="Probability of an elastic displacement.")
    blur: float | None = Field(None, ge=0, le=1, description="Probability of a Gaussian blur of up to 2 pixels.")
    noise: float | None = Field(None, ge=0, le=1, description="Probability of Gaussian noise of up to 5 %.")
    erase: float | None = Field(None, ge=0, le=1, description="Probability of erasing a rectangle of 2-25 %.")
    mixup: float | None = Field(None, ge=0, description="MixUp's alpha; 0 for none.")
    cutmix: float | None = Field(None, ge=0, description="CutMix's alpha; 0 for none.")
    mix: float | None = Field(None, ge=0, le=1, description="Share of batches that are mixed, where alpha is not 0.")

    @field_validator("policy")
    @classmethod
    def _known(cls, value: str) -> str:
        if (
            value.partition(":")[0] not in POLICIES
            and not value.lower().endswith(FILES)
            and not value.startswith(OBJECT)
        ):
            raise ValueError(f"no such policy. {did_you_mean(value.partition(':')[0], POLICIES)}".strip())
        return value

    @field_validator("scale", "ratio")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 < value[0] <= value[1]:
            raise ValueError("expected 0 < low <= high")
        return value
