"""The losses over pairs against naive sums, and the objective around two small towers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from anmok.core.errors import DataError
from anmok.core.types import Batch
from anmok.models.encoder import Encoder
from anmok.models.lenet import LeNet
from anmok.models.text_tokens import learn_tokenizer
from anmok.models.text_tower import TextTower
from anmok.models.two_towers import TwoTowers
from anmok.objectives.image_text import Captions, ImageText, info_nce, pair_logits, sigmoid_loss

ONE, NONE = torch.tensor(1.0), torch.tensor(0.0)


def unit(n: int, seed: int, d: int = 5) -> torch.Tensor:
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1)


@given(st.integers(0, 1000), st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_losses_against_naive_sums(seed: int, keys: list[int]) -> None:
    n, scale, bias = len(keys), 7.0, -2.0
    images, texts = unit(n, seed).float(), unit(n, seed + 1).float()
    cosines = images.numpy().astype(np.float64) @ texts.numpy().T.astype(np.float64)
    nce, sig = 0.0, 0.0
    for i in range(n):
        others = [j for j in range(n) if j == i or keys[j] != keys[i]]
        nce -= scale * cosines[i, i] - math.log(sum(math.exp(scale * cosines[i, j]) for j in others))
        for j in others:
            z = scale * cosines[i, j] + bias
            sig += math.log1p(math.exp(-z if i == j else z))
    key = torch.tensor(keys)
    plain = pair_logits(images, texts, key, 0, torch.tensor(scale), NONE)
    assert float(info_nce(*plain)) == pytest.approx(nce / n, rel=1e-4, abs=1e-5)
    biased = pair_logits(images, texts, key, 0, torch.tensor(scale), torch.tensor(bias))
    assert float(sigmoid_loss(*biased)) == pytest.approx(sig / n, rel=1e-4, abs=1e-5)


def test_different_captions_give_clips_loss() -> None:
    images, texts = unit(6, 0).float(), unit(6, 1).float()
    logits, pairs, twins = pair_logits(images, texts, torch.arange(6), 0, torch.tensor(10.0), NONE)
    assert not twins.any()
    assert torch.allclose(info_nce(logits, pairs, twins), F.cross_entropy(10 * images @ texts.T, torch.arange(6)))


def test_a_part_of_the_anchors_finds_its_own() -> None:
    images, texts = unit(6, 0).float(), unit(6, 1).float()
    keys = torch.tensor([0, 1, 2, 0, 3, 4])
    whole = pair_logits(images, texts, keys, 0, ONE, NONE)
    parts = [pair_logits(images[i : i + 3], texts, keys, i, ONE, NONE) for i in (0, 3)]
    for kind in (info_nce, sigmoid_loss):
        mean = (kind(*parts[0]) + kind(*parts[1])) / 2  # as two ranks would have it
        assert torch.allclose(kind(*whole), mean)


def towers(kind: str = "softmax", texts: tuple[str, ...] = ("a red can", "a blue can")) -> TwoTowers:
    torch.manual_seed(0)
    encoder = Encoder(LeNet(10, 3), 10, 32)
    tokenizer = learn_tokenizer(texts, 100, 12)
    text = TextTower(tokenizer.size, 12, 16, 1, 2)
    start = (1 / 0.07, 0.0) if kind == "softmax" else (10.0, -10.0)
    return TwoTowers(encoder, text, tokenizer, (0.5,) * 3, (0.25,) * 3, 8, kind, *start)


def batch(n: int) -> Batch:
    images = torch.randint(0, 256, (n, 32, 32, 3), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    return Batch(images, torch.full((n,), -1), [str(i) for i in range(n)])


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_it_learns_which_belongs_to_which(kind: str) -> None:
    names = ["red can", "blue cup", "green pot", "old bottle"]
    said = {str(i): [name] for i, name in enumerate(names)}
    shades = torch.tensor([[250, 20, 20], [20, 20, 250], [20, 250, 20], [120, 120, 120]], dtype=torch.uint8)
    pixels = shades[:, None, None].expand(4, 32, 32, 3)
    flat = Batch(pixels, torch.full((4,), -1), list(said))
    both = towers(kind, tuple(names))
    learner = ImageText(both, Captions(said, both.tokenizer)).train()
    optimizer = torch.optim.Adam([p for p in learner.parameters() if p.requires_grad], 1e-3)
    first = None
    for _ in range(150):
        outcome = learner(flat)
        first = first if first is not None else float(outcome.loss.detach())
        optimizer.zero_grad()
        outcome.loss.backward()
        optimizer.step()
    assert float(outcome.loss.detach()) < 0.5 * first
    assert int(outcome.logs["correct"]) == 4
    assert (both.bias == 0) == (kind == "softmax")
    assert both.bias != -10


def test_the_scale_is_kept_within_its_bounds() -> None:
    both = towers()
    learner = ImageText(both, Captions({"0": ["a red can"], "1": ["a blue can"]}, both.tokenizer)).train()
    with torch.no_grad():
        both.log_scale.fill_(9.0)
    learner(batch(2))
    assert both.scale == pytest.approx(100.0)
    assert float(both.log_scale.detach()) == pytest.approx(math.log(100))


def test_vectors_have_length_one_and_agree_with_training() -> None:
    both = towers().eval()
    images = batch(3).images
    vectors = both.encode_images(images.numpy())
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert np.allclose(vectors, both.image_vectors(images).detach().numpy(), atol=1e-6)
    prepared = (images.permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    direct = both.encoder(prepared) @ both.image_projection.weight.T
    assert np.allclose(vectors, F.normalize(direct, dim=1).detach().numpy(), atol=1e-5)
    texts = both.encode_texts(["a red can", "병"])
    assert texts.shape == (2, 8)
    assert np.allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-6)
    assert both.encode_texts([]).shape == (0, 8)


def test_captions() -> None:
    both = towers()
    captions = Captions({"a": ["A red can", "a blue can"], "b": ["a red  can"]}, both.tokenizer)
    assert captions.key.tolist() == [0, 1, 0]  # of the same words
    assert captions.pick(["b", "a"], False).tolist() == [2, 0]
    torch.manual_seed(0)
    drawn = {int(captions.pick(["a"], True)) for _ in range(40)}
    assert drawn == {0, 1}
    with pytest.raises(DataError, match="'c' has no caption"):
        captions.pick(["c"], False)


def test_what_it_shows() -> None:
    both = towers().eval()
    learner = ImageText(both, Captions({"0": ["a red can"], "1": ["a blue can"]}, both.tokenizer)).eval()
    with torch.no_grad():
        shown = learner.show(batch(2))
    assert [len(row) for row in shown] == [3, 3]
    assert shown[0][0].caption.startswith("a red can (")
    assert np.array_equal(shown[0][0].image, batch(2).images[0].numpy())
