"""Mean and standard deviation of pixels where nobody has measured them on the data at hand."""

from __future__ import annotations

from anmok.core.pixels import GRAY_MEAN, GRAY_STD, IMAGENET_MEAN, IMAGENET_STD

SIGMAS = 4.0  # a z-score's range in a uint8: -4 is 0, +4 is 255

# Of the uint8 codes / 255, over 200 ImageNet photos of as many classes at 224 pixels; RGB and gray are the usual ones.
PHOTOS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "rgb": (IMAGENET_MEAN, IMAGENET_STD),
    "bgr": (IMAGENET_MEAN[::-1], IMAGENET_STD[::-1]),
    "gray": (GRAY_MEAN, GRAY_STD),
    "hsv": ((0.208, 0.289, 0.534), (0.192, 0.244, 0.268)),
    "hls": ((0.208, 0.464, 0.258), (0.193, 0.256, 0.236)),
    "lab": ((0.501, 0.505, 0.531), (0.262, 0.045, 0.065)),
    "luv": ((0.499, 0.392, 0.563), (0.262, 0.054, 0.077)),
    "ycrcb": ((0.474, 0.514, 0.476), (0.258, 0.063, 0.065)),
    "ycbcr": ((0.474, 0.476, 0.514), (0.258, 0.065, 0.063)),
    "xyz": ((0.273, 0.272, 0.245), (0.262, 0.263, 0.271)),
}


def usual_statistics(channels: str, colorspace: str, normalize: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of uint8 pixels / 255, one a channel each.

    For `standard` those of photos in the colour space; after `minmax` and for `none` values stay as they are, in
    [0, 1]; after `zscore` the uint8 code becomes the score again.
    """
    depth = 1 if channels == "gray" else 3
    if normalize in ("minmax", "none"):
        return (0.0,) * depth, (1.0,) * depth
    if normalize == "zscore":
        return (0.5,) * depth, (0.5 / SIGMAS,) * depth
    return PHOTOS["gray" if channels == "gray" else colorspace]
