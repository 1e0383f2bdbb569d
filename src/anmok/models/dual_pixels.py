"""What a dual encoder's own image processor does, in two steps: its resize on uint8, its values on the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from anmok.core.errors import DataError

FIRST: dict[str, Any] = {"return_tensors": "np", "input_data_format": "channels_last"}
BLANK = 32  # side in pixels of the images that its values are measured with


class Pixels:
    """The steps of an image processor of transformers (its Pillow form).

    factor, offset: float32[3], what the processor makes of a channel: value · factor + offset. They are measured on
    plain images, as processors differ in how they write it down. patch: side of a patch in pixels where images keep
    their aspect (SigLIP 2's flexible form), else 0.  DataError: the processor does something else to values.
    """

    def __init__(self, processor: Any):
        self.processor = processor
        self.patch = int(processor.patch_size) if hasattr(processor, "max_num_patches") else 0
        self._raw = FIRST | {"do_rescale": False, "do_normalize": False}
        if hasattr(processor, "include_top"):
            self._raw["include_top"] = False
        low, middle, high = (self._values(value) for value in (0, 128, 255))
        self.factor, self.offset = ((high - low) / 255).astype(np.float32), low.astype(np.float32)
        if not (np.allclose(self.factor * 128 + self.offset, middle, atol=1e-5) and (self.factor > 0).all()):
            raise DataError("its processor does more to pixels than scale them.", where="--model", code="processor")

    def _values(self, value: int) -> np.ndarray:
        """What the processor makes of a plain image, float64[3]."""
        made = self.processor(np.full((BLANK, BLANK, 3), value, np.uint8), **FIRST)["pixel_values"][0]
        return np.asarray(made[0, :3] if self.patch else made[:, made.shape[1] // 2, made.shape[2] // 2], np.float64)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """uint8[H, W, 3] to uint8[S, S, 3], or [h, w, 3] of whole patches."""
        made = self.processor(image, **self._raw)
        pixels = np.asarray(made["pixel_values"][0])
        if not self.patch:
            return np.ascontiguousarray(pixels.transpose(1, 2, 0))
        (h, w), p = made["spatial_shapes"][0], self.patch
        return pixels[: h * w].reshape(h, w, p, p, 3).transpose(0, 2, 1, 3, 4).reshape(h * p, w * p, 3)

    def inputs(self, images: Any, device: torch.device) -> dict[str, torch.Tensor]:
        """Prepared images as what `get_image_features` takes; they travel as uint8."""
        factor, offset = (torch.from_numpy(x).to(device) for x in (self.factor, self.offset))
        if not self.patch:
            pixels = torch.from_numpy(np.ascontiguousarray(np.stack(list(images)))).to(device)
            return {"pixel_values": (pixels.float() * factor + offset).permute(0, 3, 1, 2)}
        p, most = self.patch, int(self.processor.max_num_patches)
        shapes = [(len(image) // p, image.shape[1] // p) for image in images]
        values = torch.zeros(len(shapes), most, p * p * 3, device=device)
        mask = torch.zeros(len(shapes), most, dtype=torch.int32, device=device)
        for row, (image, (h, w)) in enumerate(zip(images, shapes, strict=True)):
            pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device).float() * factor + offset
            values[row, : h * w] = pixels.reshape(h, p, w, p, 3).permute(0, 2, 1, 3, 4).reshape(h * w, -1)
            mask[row, : h * w] = 1
        return {
            "pixel_values": values, "pixel_attention_mask": mask, "spatial_shapes": torch.tensor(shapes, device="cpu"),
        }  # fmt: skip
