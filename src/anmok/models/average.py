"""Averages of weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import nn


class EMA:
    """Exponential moving average of a module's floating-point parameters and buffers; other buffers are copied.

    w ← d w + (1 − d) θ with d = min(decay, (1 + t) / (10 + t)) at update t (the warm-up of TensorFlow's
    ExponentialMovingAverage), kept in float32.
    """

    def __init__(self, module: nn.Module, decay: float):
        self.decay, self.updates = decay, 0
        self.module = copy.deepcopy(module).eval()
        self.weights = self.module.state_dict()  # the tensors themselves: what changes them changes the module

    @torch.no_grad()
    def update(self, module: nn.Module, done: float = 0.0) -> None:
        """Take in the module's present weights, wherever in its course it is."""
        self.updates += 1
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        mine, theirs = [], []
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                mine.append(self.weights[name])
                theirs.append(value)
            else:
                self.weights[name].copy_(value)
        torch._foreach_lerp_(mine, theirs, 1 - keep)

    def restore(self, tensors: dict[str, torch.Tensor], updates: int) -> None:
        """Back to a checkpoint's state."""
        for name, value in tensors.items():
            self.weights[name].copy_(value)
        self.updates = updates


State = Mapping[str, torch.Tensor]


def soup(states: Sequence[State]) -> dict[str, torch.Tensor]:
    """The mean of several networks' weights (a uniform soup, Wortsman et al. 2022, arXiv:2203.05482).

    Of tensors that are no floating-point numbers the first network's. Means are taken in float64 and given in the
    tensors' own type.  ValueError: none, or of other names or shapes.
    """
    if not states:
        raise ValueError("no weights")
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    if any(other != shapes[0] for other in shapes):
        raise ValueError("the networks have other weights")
    out = {}
    for name, value in states[0].items():
        if not value.is_floating_point():
            out[name] = value.clone()
            continue
        total = torch.zeros(value.shape, dtype=torch.float64)
        for state in states:
            total += state[name].double().cpu()
        out[name] = (total / len(states)).to(value.dtype)
    return out


def greedy_soup(
    states: Sequence[State], score: Callable[[dict[str, torch.Tensor]], float]
) -> tuple[dict[str, torch.Tensor], list[int]]:
    """A soup of those that do not lower its score, and which they are (Wortsman et al. 2022, recipe 1).

    states: the best first, as they are tried.  score: of the validation images, higher is better.
    """
    kept, best = [0], soup(states[:1])
    least = score(best)
    for number in range(1, len(states)):
        tried = soup([states[i] for i in (*kept, number)])
        found = score(tried)
        if found >= least:
            kept, best, least = [*kept, number], tried, found
    return best, kept


@torch.no_grad()
def refresh_norms(module: nn.Module, batches: Iterable[torch.Tensor]) -> bool:
    """Measure the statistics of batch normalisation anew, as averaged weights need it; False where there is none.

    batches: what the module takes; all of them count alike (Izmailov et al. 2018, arXiv:1803.05407, § 3.3).  Everything
    else stays in evaluation mode.
    """
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        return False
    was, momenta = module.training, [m.momentum for m in norms]
    module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
        norm.training = True
    try:
        for batch in batches:
            module(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        module.train(was)
    return True
