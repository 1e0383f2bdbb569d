"""sRGB, linear light and the CIE's spaces as floating point: XYZ, L*a*b*, L*u*v*, exact where OpenCV interpolates.

sRGB as IEC 61966-2-1, observer of 2°, white point D65; L*a*b* and L*u*v* as CIE 15. White is what R = G = B = 1 gives,
so that every grey has a* = b* = u* = v* = 0.
"""

from __future__ import annotations

import numpy as np

RGB_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
XYZ_TO_RGB = np.linalg.inv(RGB_TO_XYZ)
WHITE = RGB_TO_XYZ.sum(axis=1)  # 0.950456, 1, 1.088754
_EPSILON, _KAPPA = 216 / 24389, 24389 / 27  # where the cube root turns into a line, and the line's slope


def linear(rgb: np.ndarray) -> np.ndarray:
    """Light of sRGB values, both in [0, 1]."""
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def encoded(light: np.ndarray) -> np.ndarray:
    """sRGB values of light, both in [0, 1]; what lies outside is cut."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def rgb_to_xyz(rgb: np.ndarray) -> np.ndarray:
    """XYZ float64[..., 3], Y of white 1, of sRGB float[..., 3] in [0, 1]."""
    return linear(rgb.astype(np.float64)) @ RGB_TO_XYZ.T


def xyz_to_rgb(xyz: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] of XYZ; colours that sRGB lacks are cut."""
    return encoded(xyz.astype(np.float64) @ XYZ_TO_RGB.T)


def rgb_to_lab(rgb: np.ndarray) -> np.ndarray:
    """L* in [0, 100], a* in [-87, 99], b* in [-108, 95] of sRGB in [0, 1]."""
    t = rgb_to_xyz(rgb) / WHITE
    f = np.where(t > _EPSILON, np.cbrt(t), (_KAPPA * t + 16) / 116)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def lab_to_rgb(lab: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] of L*a*b*."""
    light, a, b = np.moveaxis(lab.astype(np.float64), -1, 0)
    y = (light + 16) / 116
    f = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    cube = f**3
    return xyz_to_rgb(np.where(cube > _EPSILON, cube, (116 * f - 16) / _KAPPA) * WHITE)


def rgb_to_luv(rgb: np.ndarray) -> np.ndarray:
    """L* in [0, 100], u* in [-84, 176], v* in [-135, 108] of sRGB in [0, 1]."""
    xyz = rgb_to_xyz(rgb)
    y = xyz[..., 1]
    light = np.where(y > _EPSILON, 116 * np.cbrt(y) - 16, _KAPPA * y)
    u, v = _chromaticity(xyz)
    white_u, white_v = _chromaticity(WHITE)
    return np.stack([light, 13 * light * (u - white_u), 13 * light * (v - white_v)], axis=-1)


def luv_to_rgb(luv: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] of L*u*v*."""
    light, u, v = np.moveaxis(luv.astype(np.float64), -1, 0)
    y = np.where(light > _KAPPA * _EPSILON, ((light + 16) / 116) ** 3, light / _KAPPA)
    white_u, white_v = _chromaticity(WHITE)
    lit = np.where(light > 0, light, 1)
    u, v = u / (13 * lit) + white_u, v / (13 * lit) + white_v
    v = np.where(np.abs(v) < 1e-9, 1e-9, v)
    xyz = np.stack([y * 9 * u / (4 * v), y, y * (12 - 3 * u - 20 * v) / (4 * v)], axis=-1)
    return xyz_to_rgb(np.where(light[..., None] > 0, xyz, 0))


def _chromaticity(xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """u', v' of XYZ; those of black are white's, as its L* is 0."""
    x, y, z = np.moveaxis(np.where(xyz.sum(axis=-1, keepdims=True) > 0, xyz, WHITE), -1, 0)
    total = x + 15 * y + 3 * z
    return 4 * x / total, 9 * y / total
