"""The table of families, checked: a small member of each is built, trained, saved and loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st

from anmok.augment.preprocess import Preprocess
from anmok.core.errors import UsageError
from anmok.core.types import Batch
from anmok.data.batches import batch_bounds
from anmok.deploy.bundle import load_model, save_bundle
from anmok.models.build import build
from anmok.models.config import ModelConfig
from anmok.models.families import FAMILIES, MINIMUM, MULTIPLE, OURS, accepts, check_size, family_of
from anmok.models.networks import build_network
from anmok.models.own import OWN
from anmok.objectives.config import LossConfig
from anmok.objectives.losses import build_loss
from anmok.objectives.supervised import Supervised

ABC = ["a", "b", "c"]

# A small member of each family, the size it is built for, another size, its family.
MEMBERS = [
    ("lenet", 32, 48, "CNN"), ("speednet_small", 32, 40, "CNN"), ("test_resnet", 32, 48, "CNN"),
    ("test_efficientnet", 32, 40, "CNN"), ("torchvision/mobilenet_v3_small", 32, 48, "CNN"),
    ("test_convnext", 32, 64, "ConvNeXt"), ("test_vit", 32, 48, "ViT"),
    ("efficientvit_b0", 64, 96, "hybrid"), ("test_coatnet", 64, 96, "hybrid"), ("convit_tiny", 64, 80, "hybrid"),
    ("cvt_13", 32, 48, "hybrid"), ("localvit_tiny", 32, 48, "hybrid"),
    ("swin_tiny_patch4_window7_224", 32, 64, "windowed ViT"), ("gmlp_ti16_224", 32, 48, "MLP"),
]  # fmt: skip
NAMES = [name for name, *_ in MEMBERS]


def train_a_step(network: torch.nn.Module, height: int, width: int | None = None, images: int = 2) -> None:
    """One step of SGD; every parameter that learns has a finite gradient, and some have moved."""
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    out = network(torch.randn(images, 3, height, width or height))
    assert out.shape == (images, 3)
    torch.nn.functional.cross_entropy(out, torch.arange(images) % 3).backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in gradients)
    assert any((g != 0).any() for g in gradients)
    optimizer.step()


@pytest.mark.parametrize(("name", "size", "other", "family"), MEMBERS, ids=NAMES)
def test_a_member_is_built_trained_saved_and_loaded(
    name: str, size: int, other: int, family: str, tmp_path: Path
) -> None:
    takes = accepts(name)
    assert family_of(name) == family
    classifier = build(ModelConfig(name=name), ABC, "multiclass", 3, size).classifier
    train_a_step(classifier.backbone, size)
    if takes.variable:
        train_a_step(classifier.backbone, other)
        train_a_step(classifier.backbone, size, other)  # images that are not square
    images = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected = classifier.eval()(images)
    preprocess = Preprocess(size, mean=classifier.pixel_mean, std=classifier.pixel_std)
    save_bundle(tmp_path / "model", classifier, preprocess, architecture=name)
    with torch.no_grad():
        found = load_model(tmp_path / "model").classifier(images)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "cvt_13"])
def test_the_minimum_is_learned_from_and_less_is_refused(name: str) -> None:
    minimum = accepts(name).minimum
    train_a_step(build_network(name, 3, 3, minimum), minimum)
    if minimum > 1:
        with pytest.raises(UsageError, match=f"at least {minimum} pixels, found {minimum - 1}") as caught:
            build(ModelConfig(name=name), ABC, "multiclass", image_size=minimum - 1)
        assert caught.value.code == "image-size"


@pytest.mark.parametrize("name", ["convit_tiny", "torchvision/vit_b_32", "swin_tiny_patch4_window7_224"])
def test_what_takes_one_size_says_so(name: str) -> None:
    assert not accepts(name).variable
    network = build_network(name, 3, 3, 64).eval()
    for shape in ((96, 96), (64, 96)):
        with pytest.raises((AssertionError, RuntimeError), match=r"(?i)(height|width)"):
            network(torch.zeros(2, 3, *shape))


@pytest.mark.parametrize("name", [*NAMES, "vgg11", "densenet121"])
def test_one_channel(name: str) -> None:
    """Built without memory, as only shapes matter."""
    minimum = max(32, accepts(name).minimum)
    with torch.device("meta"):
        network = build_network(name, 3, 1, minimum)
    assert network(torch.zeros(2, 1, minimum, minimum, device="meta")).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("coatnet_0_rw_224", 64), ("convit_tiny", 64), ("vit_tiny_patch16_224", 64), ("vit_tiny_patch16_224", 100),
        ("convnext_atto", 33), ("swin_tiny_patch4_window7_224", 100),
    ],
)  # fmt: skip
def test_odd_sizes(name: str, size: int) -> None:
    with torch.device("meta"):
        network = build_network(name, 3, 3, size)
    assert network.eval()(torch.zeros(1, 3, size, size, device="meta")).shape == (1, 3)


def test_multiples_are_named() -> None:
    with pytest.raises(UsageError, match="multiple of 32 pixels, found 100") as caught:
        check_size("test_coatnet", 100)
    assert "--image-size 96 or 128" in str(caught.value)
    check_size("test_coatnet", 96)


def test_every_module_of_timm_has_one_family() -> None:
    listed = [module for modules in FAMILIES.values() for module in modules.split()]
    assert len(listed) == len(set(listed))
    assert set(timm.list_modules()) - set(listed) == set()
    assert {*MINIMUM, *MULTIPLE} - {"coatnet"} <= set(listed)  # a part of maxxvit's names
    assert set(OURS) == set(OWN)


def test_patches_are_in_the_name() -> None:
    assert accepts("vit_base_patch32_224").minimum == 32
    assert accepts("vit_tiny_patch16_224.augreg_in21k").minimum == 16
    assert accepts("eva02_tiny_patch14_224").minimum == 14
    assert accepts("torchvision/vit_b_16").minimum == 16
    assert accepts("somebody.code:network") == (True, 1, 1)
    assert family_of("somebody.code:network") == "other"


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    for name, near in (("resnet81", "resnet18"), ("torchvision/resnet81", "resnet18")):
        with pytest.raises(UsageError, match=near):
            accepts(name)
        with pytest.raises(UsageError, match=near):
            family_of(name)


@given(st.integers(1, 200), st.integers(2, 16))
def test_no_last_batch_is_of_one_image_where_it_can_join(n: int, size: int) -> None:
    sizes = [b - a for a, b in batch_bounds(n, size, join_single=True)]
    assert sum(sizes) == n
    assert min(sizes) >= min(2, n)


@pytest.mark.parametrize("name", ["lenet", "speednet_small", "localvit_tiny"])
def test_a_last_batch_of_one_trains_with_batch_normalisation(name: str) -> None:
    """Five images in batches of two: the last one joins the second batch, where its map has one cell."""
    config = ModelConfig(name=name, norm="batch")
    classifier = build(config, ABC, "multiclass", 3, 16).classifier
    learner = Supervised(classifier, build_loss(LossConfig(), "multiclass", [], 3)).train()
    images = torch.randint(0, 256, (5, 16, 16, 3), dtype=torch.uint8)
    sizes = []
    for low, high in batch_bounds(5, 2, join_single=True):
        outcome = learner(Batch(images[low:high], torch.arange(low, high) % 3, [""] * (high - low)))
        outcome.loss.backward()
        assert torch.isfinite(outcome.loss)
        sizes.append(high - low)
    assert sizes == [2, 3]
