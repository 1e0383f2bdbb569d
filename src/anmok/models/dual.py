"""Dual encoders: images and texts as unit vectors of one space.

CLIP (Radford et al. 2021, arXiv:2103.00020), SigLIP and SigLIP 2 (Zhai et al. 2023, arXiv:2303.15343; Tschannen et al.
2025, arXiv:2502.14786), ALIGN (Jia et al. 2021, arXiv:2102.05918), FLAVA (Singh et al. 2022, arXiv:2112.04482), by the
package transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional as F

from anmok.core.progress import warn
from anmok.models.dual_files import load_parts
from anmok.models.dual_kinds import Kind
from anmok.models.dual_pixels import Pixels

BATCH = 64  # texts at a time
SPACE = "\u2581"  # a piece that stands for a space alone


class DualEncoder(Protocol):
    """What zero-shot answers and search need of a model.

    kind: `softmax` where a text is chosen among texts, `sigmoid` where each pair is judged by itself. scale, bias: an
    image and a text belong together as far as scale · cosine + bias says.
    """

    kind: str

    @property
    def scale(self) -> float:
        """What a cosine is multiplied by."""
        ...

    @property
    def bias(self) -> float:
        """What is added to it."""
        ...

    @property
    def context_length(self) -> int:
        """Tokens of a text at most."""
        ...

    def encode_images(self, images: Any) -> np.ndarray:
        """Prepared images, uint8[N, S, S, 3] or a list of uint8[h, w, 3], to unit vectors float32[N, D]."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts to unit vectors float32[M, D]."""
        ...


class HubDual:
    """A dual encoder of transformers with its tokenizer and what its processor does to images.

    name: as it was asked for; folder: where it lies; hash: SHA-256 (hex) over its weights and configuration; languages:
    those it was trained in, as far as its kind says, () where that is not known.
    """

    def __init__(self, name: str, folder: Path, how: Kind, model: Any, tokenizer: Any, pixels: Pixels):
        self.name, self.folder, self.how, self.model = name, folder, how, model
        self.tokenizer, self.pixels = tokenizer, pixels
        self.kind, self.languages = how.loss, how.languages

    @property
    def scale(self) -> float:
        """What a cosine is multiplied by."""
        return self.how.scale(self.model)

    @property
    def bias(self) -> float:
        """What is added to it; 0 but for the sigmoid loss."""
        return self.how.bias(self.model)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.encode_texts(["a"]).shape[1]

    @property
    def context_length(self) -> int:
        """Tokens of a text at most, its marks included."""
        positions = int(self.model.config.text_config.max_position_embeddings)
        return min(int(self.tokenizer.model_max_length), self.how.longest or positions, positions)

    @property
    def hash(self) -> str:
        """SHA-256 (hex) over the weights and the configuration of text and images."""
        import hashlib

        from anmok.core.files import sha256

        files = sorted(f for f in self.folder.iterdir() if f.suffix in (".safetensors", ".json"))
        return hashlib.sha256("".join(f"{f.name} {sha256(f)}\n" for f in files).encode()).hexdigest()

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """uint8[H, W, 3] to what `encode_images` takes, uint8[S, S, 3]; of SigLIP 2's flexible form any sides.

        Resized and cropped as the model's own processor does it, by Pillow.
        """
        return self.pixels.prepare(image)

    def encode_images(self, images: Any) -> np.ndarray:
        """What `prepare` gave of N images, as an array or a list, to unit vectors float32[N, D]."""
        if not len(images):
            return np.zeros((0, self.dim), np.float32)
        with torch.inference_mode():
            inputs = self.pixels.inputs(images, self.model.device)
            return self._unit(self.how.pick(self.model.get_image_features(**inputs).pooler_output))

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts to unit vectors float32[M, D]; those longer than `context_length` are cut, with a warning."""
        texts, most = list(texts), self.context_length
        lengths = [len(ids) for ids in self.tokenizer(texts, verbose=False)["input_ids"]] if texts else []
        if long := [text for text, n in zip(texts, lengths, strict=True) if n > most]:
            warn(
                f"{len(long):,} text(s) are longer than the {most} tokens the model reads and are cut: {long[0][:60]}…"
            )
        padding = "max_length" if self.how.pads else True
        parts = []
        with torch.inference_mode():
            for start in range(0, len(texts), BATCH):
                inputs = self.tokenizer(
                    texts[start : start + BATCH], padding=padding, truncation=True, max_length=most, return_tensors="pt"
                ).to(self.model.device)
                parts.append(self._unit(self.how.pick(self.model.get_text_features(**inputs).pooler_output)))
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)

    def spelled(self, text: str) -> bool:
        """Whether the tokenizer knows no pieces of a text's writing, so that the model has hardly learned it.

        So it is where letters beyond ASCII become unknown tokens, single bytes, or more than one token a letter: a
        vocabulary learned from texts in a writing spends less than one on a letter.
        """
        words = [word for word in text.split() if any(c.isalpha() and not c.isascii() for c in word)]
        if not words:
            return False
        ids = self.tokenizer(" ".join(words), add_special_tokens=False, verbose=False)["input_ids"]
        own = {self.tokenizer.eos_token_id, self.tokenizer.bos_token_id, self.tokenizer.pad_token_id}
        unknown = {self.tokenizer.unk_token_id} - own
        pieces = [(i, p) for i, p in zip(ids, self.tokenizer.convert_ids_to_tokens(ids), strict=True) if p != SPACE]
        lost = sum(i in unknown or (len(p) == 6 and p.startswith("<0x")) for i, p in pieces)
        return 2 * lost >= len(pieces) or len(pieces) > sum(map(len, words))

    def _unit(self, vectors: torch.Tensor) -> np.ndarray:
        return F.normalize(vectors.float(), dim=-1).cpu().numpy()


def load_dual(name: str | Path, device: str | torch.device = "cpu") -> HubDual:
    """The dual encoder of a name on the hub or of a folder in its layout, in evaluation mode, float32.

    UsageError (code model) where there is none by that name, or what is there is no dual encoder; MachineError (codes
    offline, weights, missing-package); DataError (codes pickle, remote-code, damaged, weights-mismatch).
    """
    parts = load_parts(name)
    pixels = Pixels(parts.processor)
    return HubDual(str(name), parts.folder, parts.kind, parts.model.to(device), parts.tokenizer, pixels)
