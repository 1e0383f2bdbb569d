"""The modes of a network of which only a part learns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def settle_frozen(module: nn.Module) -> None:
    """Evaluation mode for every part with parameters none of which learns: its batch statistics stay, and it drops
    nothing.
    """
    for part in module.modules():
        parameters = list(part.parameters())
        if part is not module and parameters and not any(p.requires_grad for p in parameters):
            part.eval()


@contextmanager
def untouched(module: nn.Module) -> Iterator[Any]:
    """Buffers, modes and torch's generators are as before after the block."""
    buffers = {n: b.clone() for n, b in module.named_buffers()}
    modes = {m: m.training for m in module.modules()}
    devices = {p.device for p in module.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield module
        finally:
            with torch.no_grad():
                for name, buffer in module.named_buffers():
                    buffer.copy_(buffers[name])
            for part, mode in modes.items():
                part.training = mode
