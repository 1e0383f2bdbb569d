"""Learning from images and their captions: each image is to be nearest to its own text, each text to its own image.

InfoNCE over the batch: Radford et al. 2021 (CLIP), arXiv:2103.00020, figure 3. A sigmoid for each pair: Zhai et al.
2023, "Sigmoid Loss for Language Image Pre-Training" (SigLIP), arXiv:2303.15343, equation 1.

Two images of a batch may have the same caption, word for word. Neither is then a negative of the other's text: such a
pair is left out of both losses, as its captions cannot say whether it belongs together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from anmok.core.errors import DataError
from anmok.core.types import Batch
from anmok.models.encoder import Encoder
from anmok.models.modes import settle_frozen
from anmok.models.text_tokens import Tokenizer, words_of
from anmok.models.two_towers import LARGEST, SMALLEST, TwoTowers
from anmok.objectives.contrastive import gathered
from anmok.objectives.objective import Shown, as_pixels
from anmok.objectives.supervised import Outcome


class Captions:
    """The texts of images by id, as tokens.

    texts: each image has one or more. tokens int64[T, L]; key int64[T]: equal for texts of the same words; cut: how
    many are longer than a row.
    """

    def __init__(self, texts: Mapping[str, Sequence[str]], tokenizer: Tokenizer):
        self.texts: list[str] = [text for own in texts.values() for text in own]
        tokens, self.cut = tokenizer.encode(self.texts)
        self.tokens = torch.from_numpy(tokens)
        numbers: dict[tuple[str, ...], int] = {}
        keys = [numbers.setdefault(tuple(words_of(text)), len(numbers)) for text in self.texts]
        self.key = torch.tensor(keys, dtype=torch.int64)
        self.rows: dict[str, tuple[int, int]] = {}
        start = 0
        for identity, own in texts.items():
            self.rows[identity] = (start, start := start + len(own))

    def pick(self, ids: Sequence[str], drawn: bool) -> torch.Tensor:
        """int64[B], one text of each image: a random one by torch's generator, or the first.

        DataError for an image without a text.
        """
        try:
            spans = torch.tensor([self.rows[i] for i in ids], dtype=torch.int64).reshape(-1, 2)
        except KeyError as error:
            raise DataError(f"the image {error.args[0]!r} has no caption.", code="caption") from error
        first, many = spans[:, 0], spans[:, 1] - spans[:, 0]
        if not drawn or bool((many == 1).all()):
            return first
        return first + (torch.rand(len(first), dtype=torch.float64) * many).long()


class ImageText(nn.Module):
    """forward(batch) with images uint8[B, H, W, C] on the device and ids that have captions gives an Outcome.

    The loss depends on which pairs share a batch: taken in parts (`optim.accumulate`) each part has fewer negatives, so
    it is another loss and not a cheaper way to the same one. Over several ranks the negatives are those of the whole
    global batch. The scale is learned as its logarithm and kept in [1, 100] (CLIP, section 2.5); the bias, of the
    sigmoid loss only, is learned freely.
    """

    whole_batch = "the pairs of a batch are each other's negatives, and parts have fewer"

    def __init__(self, towers: TwoTowers, captions: Captions):
        super().__init__()
        self.towers, self.captions = towers, captions

    @property
    def encoder(self) -> Encoder:
        """The image tower without its projection."""
        return self.towers.encoder

    def forward(self, batch: Batch) -> Outcome:
        """The loss of a batch, and how many of its images are nearest to a caption of theirs."""
        towers = self.towers
        if self.training:
            with torch.no_grad():
                towers.log_scale.clamp_(math.log(SMALLEST), math.log(LARGEST))
        device = batch.images.device
        chosen = self.captions.pick(batch.ids, self.training)
        keys = self.captions.key[chosen].to(device)
        images = towers.image_vectors(batch.images)
        texts = towers.text_vectors(self.captions.tokens[chosen].to(device))
        every_image, every_key, first = gathered(images, keys)
        every_text, _, _ = gathered(texts, keys)
        scale, bias = towers.log_scale.exp(), towers.offset
        to_texts, pairs, twins = pair_logits(images, every_text, every_key, first, scale, bias)
        if towers.kind == "sigmoid":
            loss = sigmoid_loss(to_texts, pairs, twins)
        else:
            to_images, _, _ = pair_logits(texts, every_image, every_key, first, scale, bias)
            loss = (info_nce(to_texts, pairs, twins) + info_nce(to_images, pairs, twins)) / 2
        with torch.no_grad():
            nearest = every_key[to_texts.argmax(1)] if len(keys) else keys
        return Outcome(loss, {"correct": (nearest == keys).sum()})

    def train(self, mode: bool = True) -> ImageText:
        """As in torch, but a part with parameters none of which learns stays in eval mode."""
        super().train(mode)
        if mode:
            settle_frozen(self)
        return self

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """uint8[B, H, W, C] to the image tower's vectors, float32[B, width]."""
        return self.encoder(self.towers.pixels.normalize(images)).float()

    def show(self, batch: Batch) -> list[list[Shown]]:
        """For each image of a batch: it with its caption, with the caption that it finds, and what its caption finds.

        Looked for among this batch.
        """
        towers = self.towers
        chosen = self.captions.pick(batch.ids, False)
        texts = [self.captions.texts[i] for i in chosen.tolist()]
        tokens = self.captions.tokens[chosen].to(batch.images.device)
        alike = towers.image_vectors(batch.images) @ towers.text_vectors(tokens).T
        caption, image, pixels = alike.argmax(1), alike.argmax(0), as_pixels(batch.images)
        return [
            [
                Shown(pixels[i], f"{texts[i]} ({alike[i, i]:.2f})"),
                Shown(pixels[i], f"finds: {texts[int(caption[i])]} ({alike[i, caption[i]]:.2f})"),
                Shown(pixels[int(image[i])], f"is found by: {texts[i]} ({alike[image[i], i]:.2f})"),
            ]
            for i in range(len(batch))
        ]  # fmt: skip


def pair_logits(
    anchors: torch.Tensor, others: torch.Tensor, keys: torch.Tensor, first: int, scale: torch.Tensor, bias: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(logits float32[A, M], pairs bool[A, M], twins bool[A, M]) of unit vectors float32[A, D] and [M, D].

    keys int64[M]: equal where captions are. Anchor i belongs to the other `first` + i. twins: of the same caption, but
    another pair.
    """
    with torch.autocast(anchors.device.type, enabled=False):  # bf16 would leave three digits of a cosine
        logits = anchors.float() @ others.float().T * scale + bias
    rows = torch.arange(len(others), device=others.device)
    own = rows[first : first + len(anchors)]
    pairs = own[:, None] == rows
    return logits, pairs, (keys[own, None] == keys) & ~pairs


def info_nce(logits: torch.Tensor, pairs: torch.Tensor, twins: torch.Tensor) -> torch.Tensor:
    """−log softmax(logits)_own, mean over the anchors; twins stand in no denominator."""
    if not len(logits):
        return logits.sum()
    return -logits.masked_fill(twins, float("-inf")).log_softmax(1)[pairs].mean()


def sigmoid_loss(logits: torch.Tensor, pairs: torch.Tensor, twins: torch.Tensor) -> torch.Tensor:
    """−Σ_j log σ(±logits_ij), + for a pair and − else, mean over the anchors i; twins count as 0."""
    if not len(logits):
        return logits.sum()
    signed = torch.where(pairs, logits, -logits)
    return -F.logsigmoid(signed).masked_fill(twins, 0.0).sum(1).mean()
