"""Bilinear pooling, against the outer products written out, and in networks that are saved and loaded again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from anmok.augment.preprocess import Preprocess
from anmok.core.errors import UsageError
from anmok.core.files import read_json
from anmok.deploy.bundle import load_model, save_bundle
from anmok.models.bilinear import TINY, BilinearHead
from anmok.models.build import build, model_options
from anmok.models.config import ModelConfig


@settings(max_examples=20, deadline=None)
@given(width=st.integers(2, 12), side=st.integers(1, 4), seed=st.integers(0, 999))
def test_products_of_all_pairs(width: int, side: int, seed: int) -> None:
    features = torch.randn(2, width, side, side, generator=torch.Generator().manual_seed(seed))
    head = BilinearHead(width, 3)
    got = head.pooled(features)
    d = width * (width + 1) // 2
    assert got.shape == (2, d)
    np.testing.assert_allclose(got.norm(dim=1).numpy(), d**0.5, rtol=1e-4)
    for image, vector in zip(features, got, strict=True):
        outer = sum(torch.outer(image[:, y, x], image[:, y, x]) for y in range(side) for x in range(side)) / side**2
        rows, columns = torch.triu_indices(width, width)
        want = outer[rows, columns] * torch.where(rows == columns, 1.0, 2**0.5)  # type: ignore[index]
        want = want.sign() * ((want.abs() + TINY).sqrt() - TINY**0.5)
        np.testing.assert_allclose(vector.numpy(), (d**0.5 * want / want.norm()).numpy(), rtol=1e-3, atol=1e-4)


def test_the_order_of_places_does_not_matter_and_zero_has_a_slope() -> None:
    head = BilinearHead(6, 2)
    features = torch.randn(1, 6, 3, 3, generator=torch.Generator().manual_seed(1))
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    moved = features.flatten(2)[:, :, order].unflatten(2, (3, 3))
    torch.testing.assert_close(head(features), head(moved))
    nothing = torch.zeros(1, 6, 3, 3, requires_grad=True)
    head(nothing).sum().backward()
    assert torch.isfinite(nothing.grad).all()  # type: ignore[arg-type]


def test_wide_features_are_mixed_first() -> None:
    head = BilinearHead(512, 5)
    assert isinstance(head.mix, nn.Conv2d)
    assert head.fc.weight.shape == (5, 128 * 129 // 2)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_saved_and_loaded_with_it(tmp_path: Path, task: str) -> None:
    classes = ["a", "b"] if task == "binary" else ["a", "b", "c"]
    config = ModelConfig(name="resnet10t", pool="bilinear")
    built = build(config, classes, task, image_size=32)  # type: ignore[arg-type]
    preprocess = Preprocess(32)
    folder = save_bundle(
        tmp_path / "model", built.classifier, preprocess, architecture="resnet10t", model_args=model_options(config)
    )
    assert read_json(folder / "config.json")["anmok"]["options"] == {"pool": "bilinear"}
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    with torch.inference_mode():
        want = built.classifier.eval().probabilities(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(load_model(folder).probabilities(images), want, atol=1e-6)
    plain = build(ModelConfig(name="resnet10t"), classes, task, image_size=32)  # type: ignore[arg-type]
    save_bundle(tmp_path / "plain", plain.classifier, preprocess, architecture="resnet10t")
    from_plain = ModelConfig(name="resnet10t", pool="bilinear", weights=str(tmp_path / "plain"), adapt="head")
    taken = build(from_plain, ["x", "y", "z"], "multiclass", image_size=32)
    first, second = (b.classifier.backbone.state_dict()["conv1.0.weight"] for b in (taken, plain))
    torch.testing.assert_close(first, second)
    learning = {n.partition(".")[0] for n, p in taken.classifier.backbone.named_parameters() if p.requires_grad}
    assert learning == {"fc"}


@pytest.mark.parametrize("name", ["lenet", "test_vit", "torchvision/resnet18"])
def test_networks_without_a_map_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="does not take bilinear pooling"):
        build(ModelConfig(name=name, pool="bilinear"), ["a", "b", "c"], "multiclass")


def test_an_object_pools_as_it_does() -> None:
    with pytest.raises(UsageError, match="pools as it does"):
        build(ModelConfig(pool="bilinear"), ["a", "b", "c"], "multiclass", module=nn.Flatten())
