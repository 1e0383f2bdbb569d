"""What a user's transform gave, as pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from anmok.core.errors import UsageError

_MODES = {1: "L", 3: "RGB"}
_SLACK = 0.5 / 255  # beyond [0, 1]: what a bicubic resize of floats may overshoot


def pixels(result: Any, depth: int, name: str) -> np.ndarray:
    """uint8[H, W, depth] of a PIL image (RGB or L), an array [H, W, C] or [H, W], or a tensor [C, H, W].

    Numbers are uint8, or floats in [0, 1].  UsageError that names the transform for anything else: another rank or
    depth, NaN, other whole numbers, floats beyond [0, 1], as normalised ones are.
    """
    array = _array(result, depth, name)
    if array.ndim == 2 and depth == 1:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] != depth or not array.size:
        raise _refused(
            name, f"gave an array of shape {list(array.shape)}", f"Give [H, W, {depth}], or a tensor [{depth}, H, W]."
        )
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise _refused(name, f"gave {array.dtype} values", "Give uint8, or floats in [0, 1].")
    low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():
        raise _refused(name, "gave values that are no numbers", "Look for a division by 0 or a logarithm of 0 in it.")
    if low < -_SLACK or high > 1 + _SLACK:
        raise _refused(
            name, f"gave floats from {low:.3g} to {high:.3g}",
            "Leave normalisation out: anmok normalises on the device. Give uint8, or floats in [0, 1].",
        )  # fmt: skip
    return np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)


def _array(result: Any, depth: int, name: str) -> np.ndarray:
    from PIL import Image

    if isinstance(result, Image.Image):
        if result.mode != _MODES[depth]:
            raise _refused(name, f"gave a PIL image of mode {result.mode}", f"Give one of mode {_MODES[depth]}.")
        return np.asarray(result)
    if isinstance(result, np.ndarray):
        return result
    if hasattr(result, "detach") and hasattr(result, "numpy"):
        tensor = result.detach().cpu()
        tensor = tensor.float() if tensor.is_floating_point() else tensor  # numpy has no bfloat16
        array: np.ndarray = tensor.numpy()
        return array.transpose(1, 2, 0) if array.ndim == 3 else array
    raise _refused(name, f"gave {type(result).__name__}", "Give the image alone: an array, a PIL image or a tensor.")


def _refused(name: str, what: str, remedy: str) -> UsageError:
    return UsageError(f"{name} {what}.", where="augment", remedy=remedy, code="augment")
