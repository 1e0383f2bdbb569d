"""What torch draws for a transform is what it draws after its seed was set, and its own generator is left alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from anmok.augment.guest_calls import seeded
from anmok.augment.guest_torch import drawing


def test_the_generators_are_set_back() -> None:
    torch = pytest.importorskip("torch")
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()

    def fails() -> None:
        random.random()
        np.random.random()
        torch.randn(3)
        raise KeyError

    with pytest.raises(KeyError), seeded(2**64 - 1):
        fails()
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.parametrize(
    "draw",
    [
        lambda t: t.rand(5), lambda t: t.randn(2, 3), lambda t: t.randint(9, (4,)), lambda t: t.randint(3, 9, (4,)),
        lambda t: t.randperm(7), lambda t: t.empty(4).uniform_(2, 3), lambda t: t.empty(4).normal_(),
        lambda t: t.multinomial(t.ones(5), 3), lambda t: t.bernoulli(t.full((9,), 0.5)),
        lambda t: t.rand_like(t.ones(3)),
        lambda t: t.randn_like(t.ones(3)), lambda t: t.randint_like(t.ones(3), 5), lambda t: t.normal(0.0, 1.0, (3,)),
        lambda t: t.empty(4).random_(9), lambda t: t.empty(4).exponential_(), lambda t: t.poisson(t.ones(4)),
        lambda t: t.empty(9).bernoulli_(0.5), lambda t: t.full((9,), 0.5).bernoulli(),
        lambda t: t.ones(5).multinomial(3),
        lambda t: t.binomial(t.full((9,), 5.0), t.full((9,), 0.5)), lambda t: t.empty(4).geometric_(0.3),
        lambda t: t.empty(4).log_normal_(), lambda t: t.empty(4).cauchy_(), lambda t: t.normal(t.ones(3), t.ones(3)),
        lambda t: t.distributions.Gamma(2.0, 1.0).sample((2,)), lambda t: t.nn.init.trunc_normal_(t.empty(9)),
        lambda t: t.distributions.Beta(0.5, 0.5).sample(), lambda t: t.distributions.Normal(0, 1).sample((2,)),
    ],
)  # fmt: skip
def test_every_way_of_torch_to_draw(draw: Callable[[Any], Any]) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(7)
    expected = draw(torch)
    torch.manual_seed(8)
    state = torch.get_rng_state()
    with seeded(7):
        found = draw(torch)
    assert torch.equal(found, expected)
    assert torch.equal(torch.get_rng_state(), state)


def test_no_function_of_torch_that_takes_a_generator_is_forgotten() -> None:
    torch = pytest.importorskip("torch")
    takes = set()
    for name in dir(torch.ops.aten):
        packet = getattr(torch.ops.aten, name)
        for overload in packet.overloads() if hasattr(packet, "overloads") else ():
            if any(a.name == "generator" for a in getattr(packet, overload)._schema.arguments):
                takes.add(name)
    public = {getattr(home, name) for home in (torch, torch.Tensor) for name in takes if hasattr(home, name)}
    assert public - drawing() <= {torch._fused_dropout, torch.rrelu, torch.rrelu_}  # of networks
    assert {torch.rand, torch.randperm, torch.Tensor.uniform_} <= public
