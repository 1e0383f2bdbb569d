"""Ranks as processes, as torchrun starts them or one by one, and a network that fails in one of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from torch.distributed import TCPStore

NET = '''
import os, signal
import torch
from torch import nn

class Failing(nn.Sequential):
    """RANK_FAILS="how:rank:step" (kill, nan or stop): what happens to a rank in a training step, from 1 on."""

    def forward(self, x):
        how, rank, step = (os.environ.get("RANK_FAILS") or "::").split(":")
        if self.training and how and os.environ.get("RANK", "0") == rank:
            self.steps = getattr(self, "steps", 0) + 1
            if self.steps == int(step):
                if how == "nan":
                    return super().forward(x) * float("nan")
                os.kill(os.getpid(), signal.SIGKILL if how == "kill" else signal.SIGTERM)
        return super().forward(x)

def net(num_classes, in_chans):
    return Failing(
        nn.Conv2d(in_chans, 6, 5, stride=2), nn.GELU(), nn.Conv2d(6, 8, 5, stride=2), nn.GELU(), nn.Flatten(),
        nn.Linear(8 * 25, num_classes),
    )
'''
SETTINGS: dict[str, Any] = {
    "model": "failing_net:net", "image_size": 32, "batch_size": 16, "plan": "none", "threads": 1, "seed": 5,
    "epochs": 3, "optim.name": "sgd", "training.checkpoint_every": "3 steps",
}  # fmt: skip


PATIENCE = 300  # seconds, half of the default of runtime.rank_timeout; a busy machine takes long to start ranks


class Ended(NamedTuple):
    """Exit codes and what was said on standard error: of each rank, or of torchrun alone."""

    codes: list[int]
    said: list[str]


def flags(settings: dict[str, Any]) -> list[str]:
    """Settings as the command line takes them."""
    return [text for key, value in settings.items() for text in (f"--{key.replace('_', '-')}", str(value))]


def train_ranks(folder: Path, *arguments: object, torchrun: bool = False, fails: str = "", ranks: int = 2) -> Ended:
    """`anmok train ARGUMENTS` on several ranks, in a folder with the network, to its end.

    It ends before the time for which a silent rank is waited for (`runtime.rank_timeout`), or the test fails.
    """
    common = {**os.environ, "ANMOK_QUIET": "", "RANK_FAILS": fails, "OMP_NUM_THREADS": "1"}
    verb = ["-m", "anmok", "train", *map(str, arguments)]
    if torchrun:
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
        started = [_start([*launch, *verb], folder, common)]
    else:
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # it outlives them, as torchrun's
        meet = {
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True",
            "WORLD_SIZE": str(ranks),
        }  # fmt: skip
        places = [meet | {"RANK": str(r), "LOCAL_RANK": str(r), "LOCAL_WORLD_SIZE": str(ranks)} for r in range(ranks)]
        started = [_start(verb, folder, common | place) for place in places]
    try:
        said = [process.communicate(timeout=PATIENCE)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    return Ended([process.returncode for process in started], said)


def _start(command: list[str], folder: Path, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, *command], cwd=folder, env=env, stderr=subprocess.PIPE, text=True)
