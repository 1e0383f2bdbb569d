"""L*a*b* of sRGB and back, on the device; sRGB as IEC 61966-2-1, white point D65, exact (OpenCV's is 8 bits)."""

from __future__ import annotations

import torch

RGB_TO_XYZ = torch.tensor(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]],
    dtype=torch.float64,
)
_EPSILON, _KAPPA = 216 / 24389, 24389 / 27  # where the cube root turns into a line, and the line's slope


def rgb_to_lab(rgb: torch.Tensor) -> torch.Tensor:
    """L* in [0, 100], a*, b* of sRGB float[..., 3] in [0, 1]; white is what R = G = B = 1 gives."""
    light = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp_min(0) + 0.055) / 1.055) ** 2.4)
    matrix = RGB_TO_XYZ.to(rgb)
    t = light @ (matrix / matrix.sum(1, keepdim=True)).T
    f = torch.where(t > _EPSILON, t.clamp_min(1e-12) ** (1 / 3), (_KAPPA * t + 16) / 116)
    x, y, z = f.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-1)


def lab_to_rgb(lab: torch.Tensor) -> torch.Tensor:
    """sRGB in [0, 1] of L*a*b* float[..., 3]; what sRGB lacks is cut."""
    light, a, b = lab.unbind(-1)
    y = (light + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], dim=-1)
    t = torch.where(f**3 > _EPSILON, f**3, (116 * f - 16) / _KAPPA)
    matrix = RGB_TO_XYZ.to(lab)
    rgb = (t @ torch.linalg.inv(matrix / matrix.sum(1, keepdim=True)).T).clamp(0, 1)
    return torch.where(rgb <= 0.0031308, rgb * 12.92, 1.055 * rgb.clamp_min(1e-12) ** (1 / 2.4) - 0.055)
