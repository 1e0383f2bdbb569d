"""What the tests of networks share."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn


@pytest.fixture(autouse=True)
def _few_threads() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that is opened fails the test."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        pytest.fail(f"the network was touched: {args}")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, nn.Module], Path]:
    """Puts a network's weights where the hub's own cache would hold them; gives the file."""
    import huggingface_hub

    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    def put(repo: str, network: nn.Module) -> Path:
        commit, blob = "0123456789abcdef0123456789abcdef01234567", "deadbeef"
        base = cache / f"models--{repo.replace('/', '--')}"
        for name in ("refs", f"snapshots/{commit}", "blobs"):
            (base / name).mkdir(parents=True)
        (base / "refs" / "main").write_text(commit)
        save_file(network.state_dict(), base / "blobs" / blob, metadata={"format": "pt"})
        link = base / "snapshots" / commit / "model.safetensors"
        link.symlink_to(Path("../../blobs") / blob)
        return link

    return put
