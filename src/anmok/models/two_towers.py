"""A dual encoder of one's own: images and texts as unit vectors of one space.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision" (CLIP), arXiv:2103.00020.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from anmok.core.progress import warn
from anmok.models.classifier import evaluating
from anmok.models.encoder import Encoder
from anmok.models.normalized import Normalized
from anmok.models.text_tokens import Tokenizer
from anmok.models.text_tower import TextTower

LARGEST = 100.0  # of the scale, as CLIP clips it
SMALLEST = 1.0
BATCH = 256


class TwoTowers(nn.Module):
    """An image encoder and a text tower, each followed by a linear map to `dim` numbers, and a learned scale and bias.

    `encode_images` and `encode_texts` answer in numpy; `image_vectors` and `text_vectors` are what training uses.
    scale, bias: an image and a text belong together as far as scale · cosine + bias says. mean, std: see `Normalized`.
    kind: what scale and bias mean, `softmax` over texts (InfoNCE) or `sigmoid` of each pair.
    """

    def __init__(
        self, encoder: Encoder, text: TextTower, tokenizer: Tokenizer, mean: tuple[float, ...], std: tuple[float, ...],
        dim: int = 128, kind: str = "softmax", scale: float = 1 / 0.07, bias: float = 0.0,
    ):  # fmt: skip
        super().__init__()
        self.pixels = Normalized(mean, std)  # not a base: its `scale` is the pixels', ours the cosines'
        self.encoder, self.text, self.tokenizer, self.dim, self.kind = encoder, text, tokenizer, dim, kind
        self.image_projection = nn.Linear(encoder.width, dim, bias=False)
        self.text_projection = nn.Linear(text.width, dim, bias=False)
        nn.init.normal_(self.image_projection.weight, std=encoder.width**-0.5)
        nn.init.normal_(self.text_projection.weight, std=text.width**-0.5)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.offset = nn.Parameter(torch.tensor(float(bias)), requires_grad=kind == "sigmoid")
        self.image_size = 0  # pixels, where it is known
        self.preprocess: dict[str, Any] = {}

    @property
    def scale(self) -> float:
        """What a cosine is multiplied by, in [1, 100]."""
        return float(self.log_scale.detach().exp().clamp(SMALLEST, LARGEST))

    @property
    def bias(self) -> float:
        """What is added to it; 0 but for the sigmoid loss."""
        return float(self.offset.detach())

    @property
    def context_length(self) -> int:
        """Tokens of a text at most, two of which are its marks."""
        return self.tokenizer.length

    def image_vectors(self, images: torch.Tensor) -> torch.Tensor:
        """uint8[B, H, W, C] to unit vectors float32[B, dim]."""
        return F.normalize(self.image_projection(self.encoder(self.pixels.normalize(images))).float(), dim=1)

    def text_vectors(self, tokens: torch.Tensor) -> torch.Tensor:
        """int64[B, L] to unit vectors float32[B, dim]."""
        return F.normalize(self.text_projection(self.text(tokens)).float(), dim=1)

    def encode_images(self, images: Any) -> np.ndarray:
        """uint8[N, S, S, C], prepared as `preprocess` says, to unit vectors float32[N, dim]."""
        return self._in_parts(torch.as_tensor(images), self.image_vectors)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts to unit vectors float32[M, dim]; those that are too long are cut, with a warning."""
        tokens, cut = self.tokenizer.encode(list(texts))
        if cut:
            warn(f"{cut} text(s) are longer than {self.context_length - 2} tokens, and their end is cut off")
        return self._in_parts(torch.from_numpy(tokens), self.text_vectors)

    def _in_parts(self, rows: torch.Tensor, vectors: Any) -> np.ndarray:
        """The vectors of all rows, computed BATCH at a time in evaluation mode."""
        device = self.log_scale.device
        with evaluating(self):
            parts = [vectors(rows[i : i + BATCH].to(device)).cpu().numpy() for i in range(0, len(rows), BATCH)]
        return np.concatenate([np.zeros((0, self.dim), np.float32), *parts])
