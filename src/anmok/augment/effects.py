"""Operations that are neither a warp nor a table, on one uint8[H, W, C] image."""

from __future__ import annotations

import numpy as np

from anmok.augment.draws import spread
from anmok.augment.tables import LUMA

_SHARP = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13  # Pillow's SMOOTH


def histogram(image: np.ndarray) -> np.ndarray:
    """float64[C, 256]: how often each channel has each value."""
    import cv2

    depth = image.shape[2]
    return np.stack([cv2.calcHist([image], [c], None, [256], [0, 256]).ravel() for c in range(depth)]).astype(float)


def saturated(image: np.ndarray, factor: float) -> np.ndarray:
    """Each pixel's distance from its grey times the factor."""
    import cv2

    matrix = factor * np.eye(3) + (1 - factor) * np.array(LUMA)
    return cv2.transform(image, np.hstack([matrix, np.full((3, 1), 2**-9 - 0.5)]))  # Pillow cuts where OpenCV rounds


def hue_turned(image: np.ndarray, turns: float) -> np.ndarray:
    """The hue turned in HSV, by a share of a whole turn, in steps of 1/256."""
    import cv2

    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    table = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
    table[:, 0] += np.uint8(round(turns * 256) % 256)
    return cv2.cvtColor(cv2.LUT(hsv, table[None]), cv2.COLOR_HSV2RGB_FULL)


def sharpened(image: np.ndarray, factor: float) -> np.ndarray:
    """Distance from Pillow's smoothed image times the factor; the outermost pixels stay as they are."""
    import cv2

    if min(image.shape[:2]) <= 2:
        return image
    smooth = cv2.filter2D(image, -1, _SHARP).reshape(image.shape)
    out = cv2.addWeighted(image, factor, smooth, 1 - factor, 0).reshape(image.shape)
    out[[0, -1]], out[:, [0, -1]] = image[[0, -1]], image[:, [0, -1]]
    return out


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of sigma pixels, cut at three sigmas, the border mirrored."""
    import cv2

    radius = blur_radius(sigma)
    kernel = (2 * radius + 1,) * 2
    return cv2.GaussianBlur(image, kernel, sigma, borderType=cv2.BORDER_REFLECT_101).reshape(image.shape)


def blur_radius(sigma: float) -> int:
    """Pixels on either side that a blur reaches."""
    return max(1, round(3 * sigma))


def noisy(image: np.ndarray, std: float, key: int) -> np.ndarray:
    """Gaussian noise of a standard deviation, of 255, drawn from the key alone."""
    return np.clip(np.rint(image + std * normals(key, image.size).reshape(image.shape)), 0, 255).astype(np.uint8)


def elastic(image: np.ndarray, alpha: float, sigma: float, key: int, cuts: bool, fill: tuple[float, ...]) -> np.ndarray:
    """Displaced by noise, uniform in ±alpha pixels, smoothed with a Gaussian of sigma pixels (Simard et al. 2003)."""
    import cv2

    height, width = image.shape[:2]
    dx, dy = displacement(alpha, sigma, key, height, width)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    border = cv2.BORDER_CONSTANT if cuts else cv2.BORDER_REFLECT_101
    out = cv2.remap(image, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=border, borderValue=fill)
    return out.reshape(image.shape)


def displacement(alpha: float, sigma: float, key: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """float32[H, W] by which each pixel's source lies to the right and below."""
    import cv2

    u = spread(np.array([key], np.uint64), 2 * height * width).reshape(2, height, width).astype(np.float32)
    kernel = (2 * blur_radius(sigma) + 1,) * 2
    smooth = [cv2.GaussianBlur(2 * part - 1, kernel, sigma, borderType=cv2.BORDER_REFLECT) for part in u]
    return alpha * smooth[0], alpha * smooth[1]


def normals(key: int, n: int) -> np.ndarray:
    """float32[n] of the standard normal distribution, drawn from the key alone (Box and Muller 1958)."""
    u = spread(np.array([key], np.uint64), 2 * -(-n // 2))[0].reshape(2, -1)
    radius, angle = np.sqrt(-2 * np.log1p(-u[0])), 2 * np.pi * u[1]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:n].astype(np.float32)
