"""A network in two halves: the same logits, gradients and statistics as the whole."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F
from torchvision import models as torchvision

from anmok.core.pixels import IMAGENET_MEAN, IMAGENET_STD
from anmok.models.adapt import freeze
from anmok.models.classifier import Classifier
from anmok.models.cut import Cannot
from anmok.models.heads import head_names
from anmok.models.lenet import LeNet
from anmok.models.split import GraphSplit, HeadSplit, split_at_frozen

IMAGES = torch.randint(0, 256, (6, 64, 64, 3), generator=torch.Generator().manual_seed(3)).to(torch.uint8)


def made(network: nn.Module, adapt: str) -> Classifier:
    model = Classifier(network, ["a", "b", "c"], "multiclass", IMAGENET_MEAN, IMAGENET_STD)
    heads = head_names(network, 3)
    freeze(network, heads, adapt)
    model.split = split_at_frozen(network, heads, model.normalize(IMAGES[:3]))
    return model


@pytest.mark.parametrize("adapt", ["head", "last:1", "last:2"])
@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet", "resnet10t"])
def test_the_halves_say_what_the_whole_says(name: str, adapt: str) -> None:
    drop = {"drop_path_rate": 0.3} if name == "resnet10t" and adapt != "head" else {}
    model = made(timm.create_model(name, num_classes=3, drop_rate=0.4, **drop), adapt)
    whole = copy.deepcopy(model)
    whole.split = None
    model.eval()
    with torch.no_grad():
        kept = model.front(IMAGES)
        torch.testing.assert_close(model(kept), whole.eval()(IMAGES))
    for one, given in ((model.train(), kept), (whole.train(), IMAGES)):
        torch.manual_seed(1)  # the same dropout
        F.cross_entropy(one(given), torch.tensor([0, 1, 2, 0, 1, 2])).backward()
    for (name_, a), b in zip(model.named_parameters(), whole.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name_
        if a.grad is not None and b.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, msg=name_)
    for (name_, a), b in zip(model.named_buffers(), whole.buffers(), strict=True):
        torch.testing.assert_close(a, b, msg=name_)


def test_the_border_is_after_the_pooling_for_a_head() -> None:
    model = made(timm.create_model("test_convnext", num_classes=3), "head")
    with torch.no_grad():
        assert [tuple(k.shape) for k in model.eval().front(IMAGES)] == [(6, 64)]


def test_transformers_and_two_headed_networks() -> None:
    model = made(timm.create_model("test_vit", num_classes=3, img_size=64), "last:1")
    with torch.no_grad():
        (kept,) = model.eval().front(IMAGES)
        assert kept.shape[::2] == (6, 64)
        torch.testing.assert_close(model((kept,)), model(IMAGES))
    two = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=3, img_size=64)
    model = made(two, "head")
    with torch.no_grad():
        kept = model.eval().front(IMAGES)
        assert [k.shape for k in kept] == [(6, 192)] * 2
        torch.testing.assert_close(model(kept), model(IMAGES))


def test_a_network_that_cannot_be_followed_is_split_at_its_head_only() -> None:
    model = made(LeNet(3, 3), "head")
    assert isinstance(model.split, HeadSplit)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(model.front(IMAGES)), model(IMAGES))
    with pytest.raises(Cannot, match="control flow"):
        made(LeNet(3, 3), "last:1")


def test_a_dropout_before_the_head_stays_with_the_rest() -> None:
    model = made(torchvision.mobilenet_v3_small(weights=None, num_classes=3), "head")
    assert isinstance(model.split, GraphSplit)
    with torch.no_grad():
        kept = model.eval().front(IMAGES)
        model.train()
        assert not torch.equal(model(kept), model(kept))


def test_what_cannot_be_split_says_why() -> None:
    with pytest.raises(Cannot, match="the images themselves"):
        made(timm.create_model("test_resnet", num_classes=3), "full")

    class After(LeNet):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images).log_softmax(1)

    with pytest.raises(Cannot, match="do not give the whole network's logits"):
        made(After(3, 3), "head")

    class Mixed(nn.Module):
        """Its frozen part sums over the batch."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.fc = nn.Conv2d(3, 3, 3), nn.Linear(3, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.fc(self.body(images).mean((0, 2, 3))[None].expand(len(images), -1))

    with pytest.raises(Cannot, match="depends on the others"):
        made(Mixed(), "head")


def test_trying_leaves_the_network_as_it_was() -> None:
    network = timm.create_model("test_resnet", num_classes=3, drop_rate=0.2)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    state = torch.get_rng_state()
    network.train()
    made(network, "last:1")
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert network.layer4.training


def test_a_copy_goes_on_with_weights_of_its_own() -> None:
    model = made(timm.create_model("test_resnet", num_classes=3), "last:1")
    head = made(LeNet(3, 3), "head")
    for one in (model, head):
        with torch.no_grad():
            kept = one.eval().front(IMAGES)
            before = one(kept)
            other = copy.deepcopy(one)
            for parameter in other.parameters():
                parameter.mul_(1.5)
            assert torch.equal(one(kept), before)
            assert not torch.allclose(other(kept), before)
            torch.testing.assert_close(other(other.front(IMAGES)), other(IMAGES))
    assert not any(k.startswith("split") for k in model.state_dict())
