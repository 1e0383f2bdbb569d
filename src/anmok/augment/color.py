"""Colour spaces: any to any, for uint8 in OpenCV's encodings and for floating point in physical ranges.

| space | uint8, 0 to 255 where nothing else is said | float |
|---|---|---|
| rgb, bgr | R, G, B | sRGB, [0, 1] |
| hsv, hls | hue in steps of 2 degrees, 0 to 179; S and V, L and S | hue in degrees, [0, 360); the others [0, 1] |
| lab | 255/100 L*, a* + 128, b* + 128 | L* in [0, 100], a* and b* about -110 to 110 |
| luv | 255/100 L*, 255/354 (u* + 134), 255/262 (v* + 140) | L* in [0, 100], u* and v* about -135 to 176 |
| ycrcb, ycbcr | Y, then Cr and Cb (or Cb and Cr) with 128 for none: full range, as in a JPEG | [0, 1], 0.5 for none |
| xyz | X, Y, Z, each as a share of white's | Y of white 1: X to 0.9505, Z to 1.0888 |
| gray | luma of ITU-R 601, rounded as Pillow does | luma, [0, 1] |

RGB is sRGB; Lab, Luv and XYZ are those of its linear light under D65 (see cie.py). XYZ alone is not OpenCV's, which
multiplies the encoded values as if they were light, and cuts Z. The 8-bit code of a wide space is coarse: there and
back, a channel is off by at most 1 of 255 by ycrcb and ycbcr, by 6 by hsv and hls, and by lab, luv and xyz by 1 in the
mean but by up to 29 where a colour is dark.
"""

from __future__ import annotations

import numpy as np

from anmok.augment import cie
from anmok.core.errors import UsageError, did_you_mean

SPACES = ("rgb", "bgr", "hsv", "hls", "lab", "luv", "ycrcb", "ycbcr", "xyz", "gray")
_OPENCV = {"hsv": "HSV", "hls": "HLS", "lab": "Lab", "luv": "Luv", "ycrcb": "YCrCb"}
_CIE = {
    "lab": (cie.rgb_to_lab, cie.lab_to_rgb),
    "luv": (cie.rgb_to_luv, cie.luv_to_rgb),
    "xyz": (cie.rgb_to_xyz, cie.xyz_to_rgb),
}
_SLACK = 1e-3  # by which a floating value may leave [0, 1], as resizing does


def convert(image: np.ndarray, source: str, target: str) -> np.ndarray:
    """The image in another colour space (a name of SPACES), by way of rgb where there is no direct one.

    image: uint8 or floating [H, W, 3], a batch [N, H, W, 3], or for gray [H, W], [H, W, 1] or [N, H, W, 1]; the result
    is uint8 or float32, [..., 3] or [..., 1]. Colours that sRGB lacks are cut on the way back; gray becomes three equal
    channels.  UsageError for an unknown space (with the nearest), another shape or type, floating rgb, bgr or gray
    outside [0, 1], or NaN.
    """
    source, target = _known(source), _known(target)
    pixels = checked(image, (1,) if source == "gray" else (3,))
    if pixels.dtype != np.uint8:
        _check_range(pixels, source in ("rgb", "bgr", "gray"))
    if source == target:
        return pixels.copy()
    if not pixels.size:
        return np.empty((*pixels.shape[:-1], 1 if target == "gray" else 3), pixels.dtype)
    if {source, target} == {"ycrcb", "ycbcr"}:
        return np.ascontiguousarray(pixels[..., [0, 2, 1]])
    flat = pixels.reshape(-1, *pixels.shape[-2:])  # OpenCV takes one image: a batch is a tall one
    out = _from_rgb(_to_rgb(flat, source), target)
    return out.reshape(*pixels.shape[:-1], -1)


def checked(image: np.ndarray, depths: tuple[int, ...]) -> np.ndarray:
    """The image as contiguous uint8 or float32 [..., H, W, C] with C of `depths`; [H, W] where a single channel may be.

    UsageError for what is no array of that kind.
    """
    if not isinstance(image, np.ndarray) or (image.dtype != np.uint8 and image.dtype.kind != "f"):
        found = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise UsageError(
            f"expected an array of uint8, or of float in [0, 1], found {found}.", code="image",
            remedy="anmok.data.decode.to_rgb makes one of a file or of other numbers.",
        )  # fmt: skip
    pixels = image[:, :, None] if image.ndim == 2 and 1 in depths else image
    if pixels.ndim not in (3, 4) or pixels.shape[-1] not in depths:
        last = " or ".join(map(str, depths))
        raise UsageError(
            f"expected an image [H, W, {last}] or a batch [N, H, W, {last}], found {list(image.shape)}.", code="image"
        )
    return np.ascontiguousarray(pixels, np.uint8 if pixels.dtype == np.uint8 else np.float32)


def _known(name: str) -> str:
    space = name.lower() if isinstance(name, str) else name
    if space not in SPACES:
        raise UsageError(
            f"no such colour space as {name}.", remedy=did_you_mean(str(name).lower(), SPACES), code="setting"
        )
    return space


def _check_range(pixels: np.ndarray, unit: bool) -> None:
    if not np.isfinite(pixels).all():
        raise UsageError("the image holds NaN or infinite values.", code="image")
    if unit and pixels.size and (pixels.min() < -_SLACK or pixels.max() > 1 + _SLACK):
        raise UsageError(
            f"floating pixels lie in [0, 1], found {pixels.min():.4g} to {pixels.max():.4g}.", code="image",
            remedy="Divide them by 255, or pass uint8.",
        )  # fmt: skip


def _to_rgb(pixels: np.ndarray, space: str) -> np.ndarray:
    """[H, W, 3] of any space to rgb, type kept."""
    import cv2

    if space == "rgb":
        return pixels
    if space == "bgr":
        return np.ascontiguousarray(pixels[..., ::-1])
    if space == "gray":
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    if space == "ycbcr":
        return _to_rgb(np.ascontiguousarray(pixels[..., [0, 2, 1]]), "ycrcb")
    if space == "xyz" and pixels.dtype == np.uint8:
        return _as_bytes(cie.xyz_to_rgb(pixels / 255 * cie.WHITE))
    if space in _CIE and pixels.dtype != np.uint8:
        return _CIE[space][1](pixels).astype(np.float32)
    out = cv2.cvtColor(pixels, getattr(cv2, f"COLOR_{_OPENCV[space]}2RGB"))
    return out if out.dtype == np.uint8 else np.clip(out, 0, 1)


def _from_rgb(rgb: np.ndarray, space: str) -> np.ndarray:
    """[H, W, 3] of rgb to [H, W, 3] of any space, or [H, W, 1] of gray, type kept."""
    import cv2

    if space == "rgb":
        return rgb
    if space == "bgr":
        return np.ascontiguousarray(rgb[..., ::-1])
    if space == "gray":
        return _luma(rgb)
    if space == "ycbcr":
        return np.ascontiguousarray(_from_rgb(rgb, "ycrcb")[..., [0, 2, 1]])
    if space == "xyz" and rgb.dtype == np.uint8:
        return _as_bytes(cie.rgb_to_xyz(rgb / 255) / cie.WHITE)
    if space in _CIE and rgb.dtype != np.uint8:
        return _CIE[space][0](rgb).astype(np.float32)
    return cv2.cvtColor(rgb, getattr(cv2, f"COLOR_RGB2{_OPENCV[space]}"))


def _luma(rgb: np.ndarray) -> np.ndarray:
    import cv2
    from PIL import Image

    if rgb.dtype == np.uint8:
        return np.asarray(Image.fromarray(rgb).convert("L"))[:, :, None]
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[:, :, None]


def _as_bytes(shares: np.ndarray) -> np.ndarray:
    """uint8 of shares in [0, 1]."""
    return np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)
