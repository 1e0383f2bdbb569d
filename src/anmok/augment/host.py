"""The executor on the host: parameters and a decoded image in, augmented pixels out, written where they belong.

OpenCV does the work outside the interpreter lock: one warp, one table, one colour matrix.
"""

from __future__ import annotations

import numpy as np

from anmok.augment.policy import Params

_LUMA = np.array([0.299, 0.587, 0.114])


def augment_into(out: np.ndarray, image: np.ndarray, params: Params, fill: tuple[float, ...]) -> None:
    """Write the augmented uint8[H, W, C] `image` into `out` uint8[S, S, C]; params are those of one image (N = 1).

    What a rotation uncovers mirrors the image. fill: colour in [0, 255], one a channel, of what an erasure leaves.
    """
    import cv2

    size = out.shape[0]
    matrix = params.matrices(np.array([image.shape[:2]]), size)[0]
    # A warp samples four neighbours: where it shrinks more than a little, an area-averaging resize goes first.
    shrink = float(np.linalg.svd(matrix[:, :2], compute_uv=False).min())
    if shrink > 1.15:
        height, width = image.shape[:2]
        new = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        image = cv2.resize(image, new, interpolation=cv2.INTER_AREA).reshape(new[1], new[0], -1)
        scale = np.array([[new[0] / width], [new[1] / height]])
        matrix[:, :2] *= scale
        matrix[:, 2:] = (matrix[:, 2:] + 0.5) * scale - 0.5
    channels = image.shape[2]
    warped = cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    ).reshape(size, size, channels)  # fmt: skip
    _color_into(out, warped, params)
    _erase(out, params.erase[0], fill)


def _color_into(out: np.ndarray, image: np.ndarray, params: Params) -> None:
    """Brightness, then contrast about the image's own grey mean, then saturation, clamped between like Pillow's."""
    import cv2

    brightness, contrast, saturation = (
        float(params.brightness[0]),
        float(params.contrast[0]),
        float(params.saturation[0]),
    )
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
