"""What a training takes where nothing is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anmok.augment.named import build_policy
from anmok.augment.params import Op
from anmok.augment.policy import Policy
from anmok.core.config import resolve
from anmok.stages.config import TrainConfig
from anmok.stages.defaults import HEAD_LR, for_labels, is_set, with_defaults


def test_a_head_alone_learns_at_its_own_rate() -> None:
    head = resolve(TrainConfig, {"adapt": "head", "weights": "pretrained"})
    assert not is_set(head, "optim.lr")
    filled = with_defaults(head)
    assert filled.optim.lr == HEAD_LR
    assert is_set(filled, "optim.lr")
    assert filled.model_copy(update={"optim": head.optim}) == head


def test_what_is_set_or_learns_otherwise_stays() -> None:
    for given in (
        {"adapt": "head", "optim": {"lr": 0.3}},
        {"adapt": "head", "optim": {"name": "sgd"}},
        {"adapt": "last:1"},
        {},
    ):
        config = resolve(TrainConfig, given)
        assert with_defaults(config) is config


def test_several_labels_keep_the_picture_whole() -> None:
    config = resolve(TrainConfig, {"epochs": 2})
    assert for_labels(config, several=False) is config
    whole = for_labels(config, several=True)
    assert (whole.augment.policy, whole.augment.scale, whole.augment.translate) == ("light", (1.0, 1.0), 0.0625)
    assert whole.model_copy(update={"augment": config.augment}) == config


@pytest.mark.parametrize("given", [{"policy": "light"}, {"scale": (0.5, 1.0)}, {"translate": 0.0}])
def test_an_augmentation_that_is_set_stays(given: dict[str, Any]) -> None:
    config = resolve(TrainConfig, {"augment": given})
    assert for_labels(config, several=True) is config


def test_what_is_drawn_then_cuts_nothing_but_by_moves() -> None:
    augment = for_labels(resolve(TrainConfig, {}), several=True).augment
    policy = build_policy(augment)
    assert isinstance(policy, Policy)
    drawn = policy.draw([str(i) for i in range(200)], epoch=1, seed=0)
    boxes = drawn.values[drawn.ops == Op.CROP]
    assert len(boxes) == 200
    np.testing.assert_allclose(boxes[:, :2], [[1.0, 0.0]] * 200, atol=1e-6)  # all of the area, the picture's own shape
    assert (drawn.ops == Op.TRANSLATE).any()
