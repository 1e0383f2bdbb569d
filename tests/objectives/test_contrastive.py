"""NT-Xent and SupCon against naive double loops, over one rank and over two."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from contrastive_ranks import halves, rank
from hypothesis import given, settings
from hypothesis import strategies as st
from small_objectives import MEAN, STD, encoder_of, photos, steps
from torch.nn import functional as F

from anmok.core.errors import DataError, UsageError
from anmok.core.types import Batch
from anmok.objectives.contrastive import Contrastive, nt_xent, similarities, supervised_contrastive


def naive_nt_xent(first: torch.Tensor, second: torch.Tensor, temperature: float) -> float:
    """Equation 1 of Chen et al., image by image."""
    views = [v / v.norm() for pair in zip(first, second, strict=True) for v in pair]
    total = 0.0
    for i, anchor in enumerate(views):
        partner = i + 1 if i % 2 == 0 else i - 1
        others = [math.exp(float(anchor @ v) / temperature) for k, v in enumerate(views) if k != i]
        total += -math.log(math.exp(float(anchor @ views[partner]) / temperature) / sum(others))
    return total / len(views)


def naive_supcon(vectors: torch.Tensor, labels: list[int], temperature: float) -> float:
    """L_out of Khosla et al. (equation 2), image by image."""
    n, total = len(vectors), 0.0
    for i in range(n):
        below = sum(math.exp(float(vectors[i] @ vectors[a]) / temperature) for a in range(n) if a != i)
        mine = [p for p in range(n) if p != i and labels[p] == labels[i]]
        each = [math.log(math.exp(float(vectors[i] @ vectors[p]) / temperature) / below) for p in mine]
        total += -sum(each) / len(mine) if mine else 0.0
    return total / n


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 9), seed=st.integers(0, 1000), temperature=st.floats(0.1, 2.0))
def test_nt_xent_equals_the_double_loop(n: int, seed: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(n, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    mine = nt_xent(first, second, temperature).item()
    assert mine == pytest.approx(naive_nt_xent(first, second, temperature), rel=1e-4, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(labels=st.lists(st.integers(0, 3), min_size=2, max_size=10), seed=st.integers(0, 1000))
def test_with_labels_it_is_l_out(labels: list[int], seed: int) -> None:
    vectors = F.normalize(torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(seed)), dim=1)
    logits, positive = similarities(vectors, vectors, torch.tensor(labels), 0, 0.3)
    mine = supervised_contrastive(logits, positive).item()
    assert mine == pytest.approx(naive_supcon(vectors, labels, 0.3), rel=1e-4, abs=1e-5)


def test_equal_views_of_opposite_images_by_hand() -> None:
    views = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    expected = -math.log(math.exp(2) / (math.exp(2) + 2 * math.exp(-2)))  # temperature 0.5: cosines of 1 and twice -1
    assert nt_xent(views, views).item() == pytest.approx(expected, rel=1e-5)


def test_the_length_of_vectors_does_not_matter() -> None:
    first, second = torch.randn(4, 6), torch.randn(4, 6)
    assert nt_xent(3 * first, 0.2 * second).item() == pytest.approx(nt_xent(first, second).item(), abs=1e-5)


def test_the_learner_says_what_the_loss_says(data_dir: Path) -> None:
    torch.manual_seed(0)
    learner = Contrastive(encoder_of("lenet"), MEAN, STD, temperature=0.2, projection=8).eval()
    left, right = photos(data_dir, 6), photos(data_dir, 6).flip(2)
    batch = Batch((left, right), torch.full((6,), -1), [str(i) for i in range(6)])
    out = learner(batch)
    vectors = [learner.projector(learner.encoder(learner.normalize(v))) for v in (left, right)]
    assert out.loss.item() == pytest.approx(naive_nt_xent(*(v.detach() for v in vectors), 0.2), rel=1e-3)
    assert 0 <= float(out.logs["correct"]) <= 6


def test_unlabelled_images_are_their_own_class_beside_labels(data_dir: Path) -> None:
    torch.manual_seed(0)
    learner = Contrastive(encoder_of("lenet"), MEAN, STD, projection=8, labels=True).eval()
    left, right = photos(data_dir, 4), photos(data_dir, 4).flip(2)
    targets = torch.tensor([0, 0, -1, -1])
    out = learner(Batch((left, right), targets, list("abcd")))
    vectors = F.normalize(torch.cat([learner.projector(learner.encoder(learner.normalize(v))) for v in (left, right)]))
    expected = naive_supcon(vectors.detach(), [0, 0, 7, 8, 0, 0, 7, 8], 0.5)
    assert out.loss.item() == pytest.approx(expected, rel=1e-3)


def test_it_learns_eight_photos(data_dir: Path) -> None:
    torch.manual_seed(0)
    learner = Contrastive(encoder_of("lenet"), MEAN, STD, projection=16)
    images = photos(data_dir, 8)
    batch = Batch((images, images.flip(2)), torch.full((8,), -1), [str(i) for i in range(8)])
    first, last = steps(learner, batch, 30)
    assert last < 0.8 * first


def test_pictures_of_it(data_dir: Path) -> None:
    learner = Contrastive(encoder_of("lenet"), MEAN, STD).eval()
    images = photos(data_dir, 3)
    rows = learner.show(Batch((images, images.flip(2)), torch.full((3,), -1), list("abc")))
    assert [len(row) for row in rows] == [3, 3, 3]
    assert (rows[1][0].image == images[1].numpy()).all()


def test_one_view_is_refused(data_dir: Path) -> None:
    learner = Contrastive(encoder_of("lenet"), MEAN, STD)
    with pytest.raises(DataError, match="two views"):
        learner(Batch(photos(data_dir, 2), torch.full((2,), -1), ["a", "b"]))
    with pytest.raises(UsageError, match="other shapes"):
        nt_xent(torch.zeros(2, 3), torch.zeros(3, 3))


@pytest.mark.slow
def test_two_ranks_of_unequal_size_are_one_batch(tmp_path: Path) -> None:
    sizes = [3, 2]
    torch.multiprocessing.spawn(rank, (str(tmp_path / "meet"), sizes, str(tmp_path / "rank")), nprocs=2)
    found = [torch.load(tmp_path / f"rank-{r}.pt") for r in range(2)]
    first, second = (v.requires_grad_() for v in halves(5))
    vectors, keys = torch.cat([first, second]), torch.arange(5).repeat(2)
    whole = supervised_contrastive(*similarities(vectors, vectors, keys, 0, 0.5))
    whole.backward()
    together = sum(f["loss"].item() * n / 5 for f, n in zip(found, sizes, strict=True))
    assert together == pytest.approx(whole.item(), rel=1e-5)
    for f, start, n in zip(found, (0, 3), sizes, strict=True):
        expected = torch.cat([first.grad[start : start + n], second.grad[start : start + n]])
        torch.testing.assert_close(f["gradient"], expected)
