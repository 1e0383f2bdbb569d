from __future__ import annotations

import torch
from torch import nn
from torchvision.transforms.v2.functional import normalize

from anmok.core.pixels import IMAGENET_MEAN, IMAGENET_STD
from anmok.models.adapt import freeze
from anmok.models.classifier import Classifier


class Net(nn.Module):
    """A convolution with batch normalisation and dropout, and a head."""

    def __init__(self, outputs: int = 3):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.ReLU())
        self.head = nn.Linear(4, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).mean((2, 3)))


def make(outputs: int = 3, task: str = "multiclass", classes: int = 3) -> Classifier:
    names = [str(i) for i in range(classes)]
    return Classifier(Net(outputs), names, task, IMAGENET_MEAN, IMAGENET_STD, outputs)  # type: ignore[arg-type]


def test_normalize_is_torchvisions() -> None:
    images = torch.randint(0, 256, (2, 5, 7, 3), dtype=torch.uint8)
    expected = normalize(images.permute(0, 3, 1, 2).float() / 255, list(IMAGENET_MEAN), list(IMAGENET_STD))
    found = make().normalize(images)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_normalize_leaves_float_pixels_alone() -> None:
    images = torch.rand(1, 4, 4, 3)
    before = images.clone()
    make().normalize(images)
    assert torch.equal(images, before)


def test_one_logit_and_two_give_the_same_probabilities() -> None:
    one, two = make(1, "binary", 2).eval(), make(2, "binary", 2).eval()
    state = one.backbone.state_dict()
    state["head.weight"] = torch.cat([torch.zeros(1, 4), state["head.weight"]])
    state["head.bias"] = torch.cat([torch.zeros(1), state["head.bias"]])
    two.backbone.load_state_dict(state)
    images = torch.randint(0, 256, (3, 8, 8, 3), dtype=torch.uint8)
    with torch.no_grad():
        p, z = one.probabilities(images), one(images)
        torch.testing.assert_close(two.probabilities(images), p)
    torch.testing.assert_close(p[:, 1:], z.sigmoid())
    torch.testing.assert_close(p.sum(1), torch.ones(3))


def test_multilabel_probabilities_stand_for_themselves() -> None:
    model = make(3, "multilabel").eval()
    logits = torch.tensor([[0.0, 100.0, -100.0]])
    torch.testing.assert_close(model.activate(logits), torch.tensor([[0.5, 1.0, 0.0]]))


def test_a_frozen_part_keeps_its_batch_statistics_and_drops_nothing() -> None:
    model = make()
    freeze(model.backbone, ("head",), "head")
    assert [n for n, p in model.backbone.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]
    model.train()
    norm = model.backbone.features[1]
    before = norm.running_mean.clone()
    images = torch.randint(0, 256, (4, 8, 8, 3), dtype=torch.uint8)
    first = model(images)
    assert torch.equal(model(images), first)  # dropout inside the frozen part is off
    assert torch.equal(norm.running_mean, before)
    assert model.backbone.head.training
    first.sum().backward()
    assert model.backbone.features[0].weight.grad is None


def test_what_learns_updates_its_statistics() -> None:
    model = make()
    freeze(model.backbone, ("head",), "full")
    model.train()
    before = model.backbone.features[1].running_mean.clone()
    model(torch.randint(0, 256, (4, 8, 8, 3), dtype=torch.uint8))
    assert not torch.equal(model.backbone.features[1].running_mean, before)
