"""The executor on the host: parameters and a decoded image in, augmented pixels out, written where they belong.

OpenCV does the work outside the interpreter lock: one warp, one table, one colour matrix.
"""

from __future__ import annotations

import math

import numpy as np

from anmok.augment.policy import Params

_LUMA = np.array([0.299, 0.587, 0.114])
ALIAS = 1.15  # source pixels an output pixel, above which an axis is smoothed before it is sampled
FAR = 2.25  # and above which three taps are too few: the axis is first averaged down to two


def augment_into(out: np.ndarray, image: np.ndarray, params: Params, fill: tuple[float, ...], index: int = 0) -> None:
    """Write the augmented uint8[H, W, C] `image` into `out` uint8[S, S, C]; index: whose of the params.

    What a rotation uncovers mirrors the image. fill: colour in [0, 255], one a channel, of what an erasure leaves.
    """
    import cv2

    size, (height, width, channels) = out.shape[0], image.shape
    matrix = params.matrix(index, height, width, size)
    image = _antialiased(image, matrix)
    if channels == 3:  # four channels warp to the same pixels in less than half the time of three
        image = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    warped = cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )  # fmt: skip
    if channels == 3:
        warped = cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB)
    _color_into(out, warped.reshape(size, size, channels), params, index)
    _erase(out, params.erase[index], fill)


def _antialiased(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The image smoothed, and where it shrinks a lot made smaller, so that a warp's four neighbours suffice.

    matrix, source from output, is adjusted in place. Three taps give what lies between output pixels the variance of
    Pillow's antialiased triangle: (s² − 1) / 6 beyond the warp's own, where s source pixels make one of the output.
    """
    import cv2

    height, width, channels = image.shape
    steps = [math.hypot(row[0], row[1]) for row in matrix.tolist()]  # source pixels an output pixel, along x and y
    if max(steps) <= ALIAS:
        return image
    lengths = (width, height)
    new = [max(1, round(2 * n / s)) if s > FAR else n for n, s in zip(lengths, steps, strict=True)]
    if new != [width, height]:
        image = cv2.resize(image, new, interpolation=cv2.INTER_AREA).reshape(new[1], new[0], channels)
        scale = np.array([[to / n] for to, n in zip(new, lengths, strict=True)])
        matrix[:, :2] *= scale
        matrix[:, 2:] = (matrix[:, 2:] + 0.5) * scale - 0.5
        steps = [s * to / n for s, to, n in zip(steps, new, lengths, strict=True)]
    side = [max(0.0, s * s - 1) / 12 for s in steps]
    taps = [np.array([w, 1 - 2 * w, w], np.float32) for w in side]
    return cv2.sepFilter2D(image, -1, taps[0], taps[1], borderType=cv2.BORDER_REFLECT_101).reshape(image.shape)


def _color_into(out: np.ndarray, image: np.ndarray, params: Params, index: int) -> None:
    """Brightness, then contrast about the image's own grey mean, then saturation, clamped between like Pillow's."""
    import cv2

    brightness, contrast = float(params.brightness[index]), float(params.contrast[index])
    saturation = float(params.saturation[index])
    if brightness != 1 or contrast != 1:
        levels = np.arange(256) * brightness
        table = np.floor(np.clip(levels, 0, 255))
        if contrast != 1:
            mean = float(
                np.dot(cv2.mean(cv2.LUT(image, table.astype(np.uint8)))[: image.shape[2]], _luma(image.shape[2]))
            )
            table = np.floor(np.clip(mean + (table - mean) * contrast, 0, 255))
        image = cv2.LUT(image, table.astype(np.uint8)).reshape(image.shape)
    if saturation != 1 and image.shape[2] == 3:
        matrix = saturation * np.eye(3) + (1 - saturation) * _LUMA[None, :]
        matrix = np.hstack([matrix, np.full((3, 1), -0.5)])  # Pillow cuts where OpenCV rounds
        cv2.transform(image, matrix, dst=out)
    else:
        out[:] = image


def _luma(channels: int) -> np.ndarray:
    return _LUMA if channels == 3 else np.ones(1)


def _erase(out: np.ndarray, u: np.ndarray, fill: tuple[float, ...]) -> None:
    """Random erasing (Zhong et al. 2020): a rectangle of 2-25 % of the area, aspect 0.3-3.3, filled with `fill`."""
    if np.isnan(u[0]):
        return
    size = out.shape[0]
    area, aspect = (0.02 + 0.23 * u[0]) * size * size, np.exp((u[1] * 2 - 1) * np.log(1 / 0.3))
    width, height = min(size, round(np.sqrt(area * aspect))), min(size, round(np.sqrt(area / aspect)))
    x, y = round((size - width) * u[2]), round((size - height) * u[3])
    out[y : y + height, x : x + width] = np.array(fill[: out.shape[2]], np.uint8)
