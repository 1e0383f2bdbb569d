"""Two processes learn what one does: the gradient of a step, to rounding."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

WORKER = Path(__file__).with_name("rank_worker.py")


@pytest.fixture(scope="module")
def gradients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what one process alone and each of two found."""
    out = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = []
    for world, rank in ((1, 0), (2, 0), (2, 1)):
        own = {"WORLD_SIZE": str(world), "RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        command = [sys.executable, str(WORKER), str(out)]
        processes.append(subprocess.Popen(command, env=os.environ | own, stderr=subprocess.PIPE, text=True))
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    return out


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_ranks_have_the_gradient_of_one(gradients: Path, dtype: str, bound: float, accumulate: int) -> None:
    alone = load_file(gradients / f"{dtype}-1-0-1.safetensors")
    first, second = (load_file(gradients / f"{dtype}-{accumulate}-{rank}-2.safetensors") for rank in (0, 1))
    for name, gradient in alone.items():
        assert gradient.norm() > 0
        assert (first[name] - gradient).norm() <= bound * gradient.norm()
        assert (first[name] == second[name]).all()
