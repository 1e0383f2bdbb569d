"""What a training takes where nothing is said."""

from __future__ import annotations

from anmok.core.config import resolve
from anmok.stages.config import TrainConfig
from anmok.stages.defaults import HEAD_LR, is_set, with_defaults


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
