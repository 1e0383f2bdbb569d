"""What torch draws in one thread, drawn from a generator of its own.

Torch has one generator a process, and a network that trains in another thread draws its dropout from it: to seed it for
a transform, even for a moment, would change both. So the functions that draw are handed a generator instead, by a mode
that holds in the thread that entered it alone.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

# Functions and methods of tensors that take a generator. What draws without taking one (dropout) is not reached.
_FUNCTIONS = (
    "_sample_dirichlet", "_standard_gamma", "bernoulli", "binomial", "multinomial", "normal", "poisson", "rand",
    "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm",
)  # fmt: skip
_METHODS = (
    "bernoulli", "bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_", "multinomial", "normal_",
    "random_", "uniform_",
)  # fmt: skip


def torch_draws(seed: int) -> AbstractContextManager[Any]:
    """In this thread torch draws as after torch.manual_seed(seed); its own generator stays as it is.

    Nothing, where torch is not installed.
    """
    torch = _torch()
    if torch is None:
        return nullcontext()
    generator = torch.Generator()
    generator.manual_seed(seed)
    mode: AbstractContextManager[Any] = _mode()(generator)
    return mode


@cache
def drawing() -> frozenset[Any]:
    """The functions of torch that are handed the generator."""
    import torch

    return frozenset(
        [*(getattr(torch, name) for name in _FUNCTIONS), *(getattr(torch.Tensor, name) for name in _METHODS)]
    )


@cache
def _mode() -> Any:
    from torch.overrides import TorchFunctionMode

    class Draws(TorchFunctionMode):
        """Hands a generator to every function that draws and was given none."""

        def __init__(self, generator: Any):
            super().__init__()
            self.generator = generator

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            given = kwargs or {}
            if func in drawing() and given.get("generator") is None:
                given = {**given, "generator": self.generator}
            return func(*args, **given)

    return Draws


@cache
def _torch() -> Any:
    try:
        import torch
    except ImportError:
        return None
    return torch
