"""What a network costs: its parameters, and the multiplications of one image."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Cost(NamedTuple):
    """parameters: of the network, learning or not. macs: multiply-accumulates of one image's forward pass."""

    parameters: int
    macs: int

    @property
    def gmacs(self) -> float:
        """Billions of them, as papers give them (often under the name of GFLOPs)."""
        return self.macs / 1e9


class _Counter(TorchDispatchMode):
    """Adds up the multiply-accumulates of the matrix products and convolutions that run inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.macs += formula(*args, **(kwargs or {}), out_val=out) // 2  # torch counts the addition, too
        return out


def cost_of(network: nn.Module, image_size: int | tuple[int, int], channels: int = 3) -> Cost:
    """The cost of a network on images of that side (or height, width), by running a blank one where its weights are.

    Matrix products, convolutions and attention are counted; norms, activations and sums are not, as is the custom.
    """
    height, width = image_size if isinstance(image_size, tuple) else (image_size, image_size)
    parameter = next(network.parameters(), torch.zeros(()))
    blank = torch.zeros(1, channels, height, width, device=parameter.device, dtype=parameter.dtype)
    was = network.training
    network.eval()
    try:  # attention in its plain form, so that a machine's kernels do not change the count
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), _Counter() as counter:
            network(blank)
    finally:
        network.train(was)
    return Cost(sum(p.numel() for p in network.parameters()), counter.macs)


def cost_by_name(name: str, image_size: int, channels: int = 3, outputs: int = 1000) -> Cost:
    """The cost of the network `name`, built without memory for its weights and without reading any.

    UsageError for an unknown name, or a size that it does not take.
    """
    from anmok.models.networks import build_network

    with torch.device("meta"):
        network = build_network(name, outputs, channels, image_size)
    return cost_of(network, image_size, channels)
